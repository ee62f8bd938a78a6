//! Looking at the file without opening it as ours, which would make it, narrow it and turn its log on.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::{Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{OpenError, Step, accounts::SCHEMA, refusal};
use crate::{
    config::folder,
    told::{Examined, Told},
};

/// Examines the tables of `owner` in the file at `path`; changes nothing. With `migrate` they are made and upgraded at a
/// start, so that their absence is no trouble.
pub(crate) async fn examine(path: &Path, owner: &'static str, steps: &'static [Step], migrate: bool) -> Examined {
    let tables = look(path).await?;
    let found = tables.as_ref().and_then(|tables| tables.get(owner).copied()).unwrap_or(0);
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let at = path.to_owned();
    if found > known {
        return Err(Told::parse(OpenError::Newer { path: at, owner, found, known }));
    }
    if found < known && !migrate {
        return Err(Told::parse(OpenError::Older { path: at, owner, found, known }));
    }
    let state = match &tables {
        None => "there is no file yet, and its folder can be written",
        Some(_) => "the file is ours and can be written",
    };
    Ok(crate::directory::examine::with_schema(state, found, known))
}

/// Examines the tables of the accounts.
pub(crate) async fn examine_accounts(path: &Path, migrate: bool) -> Examined {
    examine(path, "account", SCHEMA, migrate).await
}

/// The schema of each owner; `None` when there is no file, or an empty one.
async fn look(path: &Path) -> Result<Option<BTreeMap<String, i64>>, Told> {
    if !is_there(path).map_err(Told::parse)? {
        return Ok(None);
    }
    let read = async {
        let mut file = SqliteConnection::connect_with(&options(path)).await?;
        let tables = schemas(&mut file).await?;
        file.close().await?;
        Ok(tables)
    };
    match read.await.map_err(|error: sqlx::Error| Told::parse(refusal(path, &error)))? {
        Some(tables) => Ok(Some(tables)),
        None => Err(Told::new(
            format!("{} is the database of another program", path.display()),
            "set directory.file to another path",
        )),
    }
}

/// Whether a file with something in it is there. Neither it nor its folder may refuse to be written.
fn is_there(path: &Path) -> Result<bool, OpenError> {
    let refused = |why: io::Error| OpenError::Refused { path: path.to_owned(), why: why.to_string() };
    // SQLite keeps its log beside the file, so the folder counts, too.
    folder::takes_files(folder::of(path)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NoFolder { path: path.to_owned() },
        _ => refused(error),
    })?;
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => Ok(file.metadata().map_err(refused)?.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(refused(error)),
    }
}

/// How to open it without changing it. Where there is a log, somebody has the file open, or died over it, and the log is
/// part of what it holds. Where there is none, reading would leave an empty one behind, unless SQLite is told that
/// nobody writes.
fn options(path: &Path) -> SqliteConnectOptions {
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true).immutable(!log)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// What the table `schema` says; `None` where there are tables, but not that one.
async fn schemas(file: &mut SqliteConnection) -> Result<Option<BTreeMap<String, i64>>, sqlx::Error> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'").fetch_all(&mut *file).await?;
    if names.is_empty() {
        return Ok(Some(BTreeMap::new()));
    }
    if !names.iter().any(|name| name == "schema") {
        return Ok(None);
    }
    let rows = sqlx::query("SELECT owner, step FROM schema").fetch_all(file).await?;
    rows.iter().map(|row| Ok((row.try_get("owner")?, row.try_get("step")?))).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::{super::SqliteFile, *};

    const ONE: &[Step] = &["CREATE TABLE thing (id INTEGER PRIMARY KEY) STRICT;"];
    const TWO: &[Step] = &[ONE[0], "ALTER TABLE thing ADD COLUMN name TEXT;"];

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn looking_makes_nothing_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.db");
        let sound = examine(&path, "things", ONE, true).await.unwrap();
        assert!(sound.detail.contains("no file yet"), "{sound:?}");
        assert_eq!(names(folder.path()), [""; 0]);
        let file = SqliteFile::open(&path).await.unwrap();
        file.bring_up("things", ONE).await.unwrap();
        // While it is open, and after.
        assert!(examine(&path, "things", ONE, true).await.unwrap().detail.contains("schema 1"));
        file.close().await;
        let before = (fs::read(&path).unwrap(), names(folder.path()));
        assert!(examine(&path, "things", ONE, true).await.unwrap().warnings.is_empty());
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), before);
    }

    #[tokio::test]
    async fn an_older_a_newer_and_a_foreign_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.db");
        let file = SqliteFile::open(&path).await.unwrap();
        file.bring_up("things", ONE).await.unwrap();
        let sound = examine(&path, "things", TWO, true).await.unwrap();
        assert!(sound.warnings[0].remedy.contains("brama directory migrate"), "{sound:?}");
        let told = examine(&path, "things", TWO, false).await.unwrap_err();
        assert!(told.remedy.contains("brama directory migrate"), "{told:?}");
        let told = examine(&path, "things", &[], true).await.unwrap_err();
        assert!(told.remedy.contains("run the newer version"), "{told:?}");
        let other = folder.path().join("other.db");
        let options = SqliteConnectOptions::new().filename(&other).create_if_missing(true);
        let mut foreign = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE invoices (id)").execute(&mut foreign).await.unwrap();
        foreign.close().await.unwrap();
        let told = examine(&other, "things", ONE, true).await.unwrap_err();
        assert!(told.what.contains("another program"), "{told:?}");
        fs::write(&other, "no database ".repeat(100)).unwrap();
        let told = examine(&other, "things", ONE, true).await.unwrap_err();
        assert!(told.what.contains("not a sound SQLite database"), "{told:?}");
    }

    #[tokio::test]
    async fn a_missing_folder_is_told_with_its_remedy() {
        let told = examine(Path::new("/nonexistent/brama.db"), "things", ONE, true).await.unwrap_err();
        assert!(told.remedy.starts_with("create it"), "{told:?}");
    }
}
