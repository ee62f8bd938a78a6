//! The configuration file, read whole: every mistake at once, each with its place and remedy.
//!
//! One section, one file, one struct. What was written becomes what it means here, once, at start; components receive
//! their section, never the whole. `section!` ([`value`]) derives reading, reference and schema from one definition.

pub mod directory;
pub mod listen;
pub mod portal;
pub mod problem;
pub mod provider;
pub mod session;
pub mod value;
