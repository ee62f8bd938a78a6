//! The one SQLite file: opened, its schema made, its failures put into words.
//!
//! The file holds accounts and, with the embedded store, sessions; each owner brings its own list of schema
//! steps. There is one writer connection, so that writes queue here rather than collide in SQLite, and a few
//! readers that never wait for it (write-ahead log). `synchronous = FULL`: a write that returned is on the disk.
//!
//! The schema only grows. A binary that meets a schema newer than it knows refuses to start instead of guessing.

pub(super) mod accounts;
pub(crate) mod examine;

use std::{
    cmp::Ordering,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::OnceCell;

use crate::told;

/// How long a write waits for its turn, here or in SQLite, before it is given up as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readers beside the writer. Reads are short; more would only be threads.
const READERS: u32 = 4;

/// The open file. Clones share it.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Where the file is, opened when somebody first needs it: with accounts and sessions elsewhere there is none.
#[derive(Debug)]
pub struct LazyFile {
    path: PathBuf,
    opened: OnceCell<SqliteFile>,
}

impl LazyFile {
    /// Opens nothing yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), opened: OnceCell::new() }
    }

    /// The file, opened now if it is not yet.
    ///
    /// # Errors
    /// As [`SqliteFile::open`].
    pub async fn file(&self) -> Result<SqliteFile, OpenError> {
        self.opened.get_or_try_init(|| SqliteFile::open(&self.path)).await.cloned()
    }
}

/// One step of an owner's schema: SQL that takes it from the step before to this one. Steps are only ever appended.
pub(crate) type Step = &'static str;

/// Why the file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be read or written.
    #[error(
        "cannot open the database {}: {why}; give this user write access to the file and its folder, or set directory.file to another path",
        path.display()
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The folder is not there.
    #[error("the folder of the database {} does not exist; create it, or set directory.file to another path", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// It is not a database, or a damaged one.
    #[error(
        "{} is not a sound SQLite database ({why}); move it away and restore the last backup, or set directory.file to another path",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the {owner} tables of {} are of schema {found}, this program knows up to {known}; run the newer version, or restore the backup made before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        owner: &'static str,
        /// The schema in the file.
        found: i64,
        /// The newest schema we know.
        known: i64,
    },
    /// An older version wrote it, or nobody, and we may not upgrade it.
    #[error(
        "the {owner} tables of {} are of schema {found}, this program needs {known}; run `brama directory migrate`, or set directory.migrate = true",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        owner: &'static str,
        /// The schema in the file; 0 when there are no tables.
        found: i64,
        /// The schema we need.
        known: i64,
    },
}

/// Why the open file did not do what was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Busy, full, read-only or gone: later may succeed.
    Unavailable(String),
    /// Damaged, or holds what we cannot read.
    Corrupt(String),
}

impl SqliteFile {
    /// Opens `path`, creating it (readable by its owner alone) when it is not there. The folder must exist.
    ///
    /// # Errors
    /// [`OpenError`] names the path and what to do.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let damaged = |error: &sqlx::Error| refusal(path, error);
        // The writer first: it turns the write-ahead log on, which a reader could not.
        let writer = pool(1).connect_with(options.clone()).await.map_err(|error| damaged(&error))?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await.map_err(|error| damaged(&error))?;
        Ok(Self { path: path.to_owned(), writer, readers })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the tables of `owner` to the newest of `steps`, in one transaction.
    ///
    /// # Errors
    /// [`OpenError::Newer`] when the file has been further already.
    pub(crate) async fn bring_up(&self, owner: &'static str, steps: &'static [Step]) -> Result<(), OpenError> {
        let found = self.step_up(owner, steps).await.map_err(|error| refusal(&self.path, &error))?;
        let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(OpenError::Newer { path: self.path.clone(), owner, found, known });
        }
        Ok(())
    }

    /// Asks for the tables of `owner` as they are after the last of `steps`, and changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Older`] or [`OpenError::Newer`] when they are not.
    pub(crate) async fn require(&self, owner: &'static str, steps: &'static [Step]) -> Result<(), OpenError> {
        let found = self.step_of(owner).await.map_err(|error| refusal(&self.path, &error))?;
        let (path, known) = (self.path.clone(), i64::try_from(steps.len()).unwrap_or(i64::MAX));
        match found.cmp(&known) {
            Ordering::Less => Err(OpenError::Older { path, owner, found, known }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(OpenError::Newer { path, owner, found, known }),
        }
    }

    /// The schema the tables of `owner` have; 0 when there are none.
    async fn step_of(&self, owner: &'static str) -> Result<i64, sqlx::Error> {
        let made: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema'")
                .fetch_one(&self.readers)
                .await?;
        if made == 0 {
            return Ok(0);
        }
        let step = sqlx::query_scalar("SELECT step FROM schema WHERE owner = $1").bind(owner);
        Ok(step.fetch_optional(&self.readers).await?.unwrap_or(0))
    }

    /// Takes the missing steps; gives the schema the file had before.
    async fn step_up(&self, owner: &'static str, steps: &'static [Step]) -> Result<i64, sqlx::Error> {
        let mut writing = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema (owner TEXT PRIMARY KEY, step INTEGER NOT NULL) STRICT")
            .execute(&mut *writing)
            .await?;
        let found: i64 = sqlx::query("SELECT step FROM schema WHERE owner = $1")
            .bind(owner)
            .fetch_optional(&mut *writing)
            .await?
            .map_or(Ok(0), |row| row.try_get(0))?;
        let missing = steps.iter().skip(usize::try_from(found).unwrap_or(0));
        for step in missing {
            sqlx::raw_sql(*step).execute(&mut *writing).await?;
        }
        sqlx::query(
            "INSERT INTO schema VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET step = max(step, excluded.step)",
        )
        .bind(owner)
        .bind(i64::try_from(steps.len()).unwrap_or(i64::MAX))
        .execute(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(found)
    }

    /// Where single statements are written.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Where is only read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins several statements that take effect together. Takes the write lock at once: a transaction that began by
    /// reading could find, at its first write, that what it read is old, and would have to start over.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Asks whether the file can be read and written.
    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        sqlx::query("SELECT count(*) FROM schema").execute(&self.readers).await?;
        // Takes and gives back the write lock: fails on a disk turned read-only or a writer that hangs.
        self.write().await?.commit().await?;
        Ok(())
    }

    /// Closes all connections, folding the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(PATIENCE)
        // Connections to a file do not go stale: no lifetime, no test on each use.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes sure the file is there and its owner's alone. SQLite gives its log and index the mode of the file.
fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NoFolder { path: path.to_owned() },
        _ => OpenError::Refused { path: path.to_owned(), why: error.to_string() },
    })?;
    narrow(&file).map_err(|error| OpenError::Refused { path: path.to_owned(), why: error.to_string() })
}

/// Takes the file from group and others, should it have been made by hand.
#[cfg(unix)]
fn narrow(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 { file.set_permissions(fs::Permissions::from_mode(mode & 0o700)) } else { Ok(()) }
}

#[cfg(not(unix))]
fn narrow(_: &fs::File) -> io::Result<()> {
    Ok(())
}

/// The primary result codes that mean damage (SQLite result codes: SQLITE_CORRUPT, SQLITE_NOTADB).
const DAMAGE: [i32; 2] = [11, 26];

/// SQLite's primary result code: the low byte of the extended one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

fn refusal(path: &Path, error: &sqlx::Error) -> OpenError {
    let (path, why) = (path.to_owned(), error.to_string());
    match primary_code(error) {
        Some(code) if DAMAGE.contains(&code) => OpenError::Damaged { path, why },
        // SQLITE_ERROR: a table of ours has another form than our steps give it.
        Some(1) => OpenError::Damaged { path, why },
        _ => OpenError::Refused { path, why },
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let advice = match (primary_code(&error), &error) {
            (Some(code), _) if DAMAGE.contains(&code) => {
                return Self::Corrupt(format!("{error}; restore the database from the last backup"));
            }
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_)) => {
                return Self::Corrupt(error.to_string());
            }
            (Some(13), _) => "the disk is full; make room",
            (Some(8 | 14), _) => {
                "the database cannot be written; check the file's owner and whether the disk is mounted read-only"
            }
            (Some(10), _) => "the disk gives errors; check it",
            (Some(5 | 6), _) | (_, sqlx::Error::PoolTimedOut) => {
                "the database is busy; does another program hold the file, or is the disk too slow?"
            }
            _ => "the embedded database failed",
        };
        Self::Unavailable(told::quoting(advice, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_STEP: &[Step] = &["CREATE TABLE thing (id INTEGER PRIMARY KEY) STRICT;"];
    const TWO_STEPS: &[Step] = &[ONE_STEP[0], "ALTER TABLE thing ADD COLUMN name TEXT;"];

    #[tokio::test]
    async fn a_schema_grows_and_an_older_program_refuses_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.db");
        let file = SqliteFile::open(&path).await.unwrap();
        file.bring_up("things", ONE_STEP).await.unwrap();
        file.bring_up("things", TWO_STEPS).await.unwrap();
        sqlx::query("INSERT INTO thing (name) VALUES ('a')").execute(file.writer()).await.unwrap();
        let error = file.bring_up("things", ONE_STEP).await.unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("run the newer version"), "{error}");
        file.bring_up("things", TWO_STEPS).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_with_its_path_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let text = "not a database, but long enough to be read as a header of one ".repeat(20);
        fs::write(&path, &text).unwrap();
        let error = SqliteFile::open(&path).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("notes.txt") && error.to_string().contains("backup"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[tokio::test]
    async fn a_missing_folder_and_a_path_that_is_a_folder_are_told_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = SqliteFile::open(&folder.path().join("missing/brama.db")).await.unwrap_err();
        assert!(matches!(error, OpenError::NoFolder { .. }), "{error}");
        let error = SqliteFile::open(folder.path()).await.unwrap_err();
        assert!(matches!(error, OpenError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("directory.file"), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_and_its_log_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.db");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = SqliteFile::open(&path).await.unwrap();
        file.bring_up("things", ONE_STEP).await.unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }

    #[tokio::test]
    async fn every_connection_is_durable_and_logged_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
        let sync: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(file.writer()).await.unwrap();
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(file.writer()).await.unwrap();
        assert_eq!((sync, mode.as_str()), (2, "wal"));
        assert!(sqlx::query("CREATE TABLE x (y)").execute(file.readers()).await.is_err(), "readers only read");
    }
}
