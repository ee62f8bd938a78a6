//! `[directory]`: where accounts live.

use std::path::PathBuf;

use super::value::{Check, section};

section! {
    /// Accounts and the embedded store.
    pub struct Directory {
        /// The one SQLite file that holds accounts, and sessions when session.store = "embedded".
        file: PathBuf = PathBuf::from("brama.db"),
    }
}

impl Check for Directory {}
