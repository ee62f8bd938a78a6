//! gateway (being built).

pub mod forward;
