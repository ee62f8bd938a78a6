//! `[event.sink.NAME.file]`: a file of JSON lines.

use std::path::PathBuf;

use crate::config::value::{Check, section};

section! {
    /// A file of JSON lines, one event each, on the disk before the event counts as delivered. It is opened again after it was renamed or removed, so that it can be rotated. Each replica needs a file of its own.
    pub struct File {
        /// The file; it is made when it is not there.
        path: PathBuf,
    }
}

impl Check for File {}
