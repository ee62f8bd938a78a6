//! portal (being built).
