//! The data plane: the steps a request goes through.

pub mod assertion;
pub mod enrich;
pub mod forward;
pub mod intercept;
pub mod peer;
pub mod route;
pub mod target;
