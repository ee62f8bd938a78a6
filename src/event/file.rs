//! A file of JSON lines as a sink.
//!
//! A batch is appended and is on the disk before it counts as delivered. A batch that was cut short (no room, a crash)
//! leaves no half line behind: the file is cut back to where it was, and a file that ends in the middle of a line gets a
//! line break before anything else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::sink::{EventSink, Letter, Undelivered, Why};
use crate::{
    config::{event::file::File as Config, folder},
    told::{Examined, Sound, Told},
};

/// Events as lines of a file.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    path: PathBuf,
    /// The open file; partitions take turns.
    file: Arc<Mutex<Option<File>>>,
}

impl FileSink {
    /// The sink `name`. The file is opened when there is something to write.
    pub fn open(name: &str, config: &Config) -> Self {
        Self { name: name.to_owned(), path: config.path.clone(), file: Arc::default() }
    }

    /// Does something with the file on a thread that may wait for the disk.
    async fn with_file(&self, work: impl FnOnce(&mut File) -> io::Result<()> + Send + 'static) -> Result<(), String> {
        let (path, file) = (self.path.clone(), Arc::clone(&self.file));
        let done = tokio::task::spawn_blocking(move || {
            let mut held = file.lock().unwrap_or_else(PoisonError::into_inner);
            // Rotation renames the file away; we go on in a new one of the same name.
            let open = match held.take() {
                Some(open) if is_same(&path, &open) => Ok(open),
                _ => append_to(&path),
            };
            open.and_then(|open| work(held.insert(open)))
        });
        let outcome = done.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        outcome.map_err(|error| cannot_write(&self.path, &error))
    }
}

#[async_trait]
impl EventSink for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        let mut lines = Vec::with_capacity(letters.iter().map(|letter| letter.body.len() + 1).sum());
        for letter in letters {
            // JSON as we write it holds no line break.
            lines.extend_from_slice(&letter.body);
            lines.push(b'\n');
        }
        self.with_file(move |file| append(file, &lines))
            .await
            .map_err(|why| Undelivered { delivered: 0, why: Why::Unavailable(why) })
    }

    async fn ping(&self) -> Result<(), String> {
        self.with_file(|_| Ok(())).await
    }

    async fn examine(&self) -> Examined {
        match may_append(&self.path) {
            Ok(true) => Ok(Sound::new(format!("{} can be written", self.path.display()))),
            Ok(false) => {
                let path = self.path.display();
                Ok(Sound::new(format!("{path} is not there yet, and its folder can be written")))
            }
            Err(error) => Err(Told::parse(cannot_write(&self.path, &error))),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "create its folder, or let the user who runs brama write there",
        _ => "make room, or let the user who runs brama write there",
    };
    format!("cannot write events to {} ({error}); {remedy}", path.display())
}

/// Whether the file is there; neither it nor its folder may refuse to be written. Makes and changes nothing.
fn may_append(path: &Path) -> io::Result<bool> {
    // Rotation takes the file away, and then the folder must take a new one.
    folder::takes_files(folder::of(path))?;
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Appends all or nothing.
fn append(file: &mut File, lines: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Should this fail as well, the next one to open the file ends the line.
        let _ = file.set_len(before);
    }
    written
}

/// Opens for appending; what is in it is for the operator only. A line that a crash cut short is ended.
fn append_to(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    // The name of a new file is on the disk only once its folder is.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn is_same(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::Timestamp;

    fn letter(id: &str) -> Letter {
        Letter {
            id: id.into(),
            kind: "io.brama.session.begun".into(),
            key: "key".into(),
            at: Timestamp::from_secs(0),
            body: format!("{{\"id\":\"{id}\"}}").into(),
        }
    }

    fn sink(path: &Path) -> FileSink {
        FileSink::open("lines", &Config { path: path.to_owned() })
    }

    #[tokio::test]
    async fn events_are_appended_in_order_also_to_a_new_file_after_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let sink = sink(&path);
        sink.deliver(&[letter("1"), letter("2")]).await.unwrap();
        fs::rename(&path, folder.path().join("events.1")).unwrap();
        sink.deliver(&[letter("3")]).await.unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("events.1")).unwrap(), "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"3\"}\n");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "not for everyone");
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_short_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, "{\"id\":\"1\"}\n{\"id\":").unwrap();
        sink(&path).deliver(&[letter("2")]).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"id\":\"1\"}\n{\"id\":\n{\"id\":\"2\"}\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_told_with_what_to_do_and_works_once_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/events.jsonl");
        let sink = sink(&path);
        let failure = sink.deliver(&[letter("1")]).await.unwrap_err();
        assert!(matches!(&failure.why, Why::Unavailable(why) if why.contains("events.jsonl")), "{failure}");
        assert!(sink.ping().await.unwrap_err().contains("let the user who runs brama write there"));
        fs::create_dir(folder.path().join("missing")).unwrap();
        sink.ping().await.unwrap();
        sink.deliver(&[letter("1")]).await.unwrap();
    }
}
