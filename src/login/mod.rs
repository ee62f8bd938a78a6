//! login (being built).
