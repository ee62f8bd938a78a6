//! Folders in which files are to be made.

use std::{io, path::Path};

/// The folder of a file.
pub fn of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether files can be made in `folder`: makes one without a name (`O_TMPFILE`), which is gone as soon as it is closed.
/// Permission bits alone do not tell, for the disk may be mounted read-only or be full.
///
/// # Errors
/// What the operating system says.
pub fn takes_files(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}
