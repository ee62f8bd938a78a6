//! login (being built).

pub mod return_to;
