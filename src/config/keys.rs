//! `[keys]`: the keys that seal sessions, pending logins and provider tokens.
//!
//! Several keys at once make rotation possible: put the new one first, restart, and drop the old one once the longest
//! session sealed with it has ended. Without any key, a single gateway makes one beside its database.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _, alphabet,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use zeroize::Zeroizing;

use super::{
    folder,
    problem::Problems,
    secrets,
    value::{At, Check, section},
};
use crate::{
    secret::{KeyRing, Secret, random},
    told::{Examined, Sound, Told},
};

section! {
    /// Keys that seal sessions, pending logins and provider tokens. The first writes, all of them read.
    /// Without any, one is made in brama.key beside the database; replicas must share theirs.
    pub struct Keys {
        /// 256-bit keys in base64 as `brama keys new` prints them; better given as sealing_file or "${NAME}".
        sealing: Vec<Secret> = vec![],
        /// File with one key a line, the first of which writes; empty lines and lines that begin with # are ignored.
        sealing_file: Option<PathBuf> = None,
    }
}

impl Keys {
    /// True when no key is given.
    pub fn is_empty(&self) -> bool {
        self.sealing.is_empty() && self.sealing_file.is_none()
    }
}

impl Check for Keys {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if !self.sealing.is_empty() && self.sealing_file.is_some() {
            at.problem_at("sealing", problems, "the keys are given twice", "keep sealing_file and drop sealing");
            return;
        }
        let place = if self.sealing_file.is_some() { "sealing_file" } else { "sealing" };
        if let Err(error) = given(self) {
            let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            at.problem_at(place, problems, format!("{error}{why}"), "make a key with `brama keys new`");
        }
        if let (Some(path), Some(file)) = (&self.sealing_file, at.child("sealing_file"))
            && secrets::is_world_readable(path)
        {
            problems.warn(
                file.span(),
                file.key(),
                "everyone on this host may read the keys",
                format!("run chmod 600 {}", path.display()),
            );
        }
    }
}

/// Why there are no keys to seal with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file cannot be read.
    #[error("cannot read the keys from {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A key file cannot be made beside the database.
    #[error("cannot make the key file {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A key is malformed or weak. Counted from 1.
    #[error("key {position} {why}")]
    Weak {
        /// Which key.
        position: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file holds no key at all.
    #[error("there is no key in {}", .0.display())]
    Empty(PathBuf),
}

impl KeysError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "let the user who runs brama read the file",
            Self::Unwritable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create the folder, or give keys.sealing_file"
            }
            Self::Unwritable { .. } => "let the user who runs brama write there, or give keys.sealing_file",
            Self::Weak { .. } | Self::Empty(_) => "make a key with `brama keys new`",
        }
    }
}

/// The keys as configured; without any, those of `brama.key` in `data_dir`, which is made when it is not there.
///
/// # Errors
/// [`KeysError`] when a key is weak, or the file cannot be read or made.
pub fn load_or_create(keys: &Keys, data_dir: &Path) -> Result<KeyRing, KeysError> {
    if let Some(path) = &keys.sealing_file
        && secrets::is_world_readable(path)
    {
        tracing::warn!(file.path = %path.display(), "everyone on this host may read the keys; run chmod 600 on it");
    }
    if let Some(ring) = given(keys)? {
        return Ok(ring);
    }
    let path = data_dir.join("brama.key");
    match create(&path) {
        Ok(()) => {
            tracing::info!(file.path = %path.display(), "made a new sealing key; keep a copy of it with the database")
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(KeysError::Unwritable { path, source }),
    }
    read_file(&path)
}

/// Looks at what [`load_or_create`] would load or create, for `brama doctor`; creates nothing.
///
/// # Errors
/// What is wrong and what to do.
pub fn examine(keys: &Keys, data_dir: &Path) -> Examined {
    let told = |error: KeysError| {
        let why = std::error::Error::source(&error).map(|source| format!(" ({source})")).unwrap_or_default();
        Told::new(format!("{error}{why}"), error.remedy())
    };
    if given(keys).map_err(told)?.is_some() {
        let place = keys.sealing_file.as_ref().map_or("keys.sealing".to_owned(), |path| path.display().to_string());
        return Ok(Sound::new(format!("the keys in {place} can be used")));
    }
    let path = data_dir.join("brama.key");
    if !path.exists() {
        folder::takes_files(data_dir).map_err(|source| told(KeysError::Unwritable { path: path.clone(), source }))?;
        return Ok(Sound::new(format!("{} is not there yet; the first start makes it", path.display())));
    }
    read_file(&path).map_err(told)?;
    let mut sound = Sound::new(format!("the key in {} can be used", path.display()));
    if secrets::is_world_readable(&path) {
        let remedy = format!("run chmod 600 {}", path.display());
        sound.warnings.push(Told::new("everyone on this host may read the key", remedy));
    }
    Ok(sound)
}

/// A fresh key as text.
pub fn fresh() -> Secret {
    Secret::new(STANDARD.encode(Zeroizing::new(random::<32>()).as_slice()))
}

fn given(keys: &Keys) -> Result<Option<KeyRing>, KeysError> {
    match &keys.sealing_file {
        Some(path) => read_file(path).map(Some),
        None => ring(keys.sealing.iter().map(Secret::expose)),
    }
}

fn read_file(path: &Path) -> Result<KeyRing, KeysError> {
    let text = secrets::read_file(path).map_err(|source| KeysError::Unreadable { path: path.to_owned(), source })?;
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    ring(lines)?.ok_or_else(|| KeysError::Empty(path.to_owned()))
}

fn ring<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Option<KeyRing>, KeysError> {
    let keys = texts
        .enumerate()
        .map(|(index, text)| parse(text).map_err(|why| KeysError::Weak { position: index + 1, why }))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(keys.split_first().map(|(first, older)| KeyRing::new(*first, older.iter().copied())))
}

/// Reads one key: base64 in either alphabet, with or without padding, and random to all appearance.
fn parse(text: &str) -> Result<[u8; 32], &'static str> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = text.trim().replace('-', "+").replace('_', "/");
    let bytes = GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(Zeroizing::new(standard).as_bytes());
    let bytes = Zeroizing::new(bytes.map_err(|_| "is not base64")?);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| "does not hold 256 bits (44 characters of base64)")?;
    let mut distinct = key.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    // 32 random bytes are nearly all different and hardly ever all printable (odds of 1 in 10^13 for the latter).
    if distinct.len() < 16 {
        return Err("is not random");
    }
    if key.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("is text in base64, not random bytes");
    }
    Ok(key)
}

/// Makes the file with one fresh key, readable by its owner only; fails with `AlreadyExists` when it is there.
///
/// It is written under another name first, so that a second process starting now never reads half a key.
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("key.{}", crate::secret::random_text()));
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "# Seals this gateway's sessions and tokens. Keep it secret, and a copy with the database.")?;
        writeln!(file, "{}", fresh().expose())?;
        file.sync_all()?;
        fs::hard_link(&draft, path)
    })();
    let _ = fs::remove_file(&draft);
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Purpose;

    fn keys(texts: &[&str]) -> Keys {
        Keys { sealing: texts.iter().map(|text| Secret::new(*text)).collect(), sealing_file: None }
    }

    #[test]
    fn weak_keys_are_refused_without_being_shown() {
        for (text, expected) in [
            ("not base64!", "is not base64"),
            ("c2hvcnQ=", "256 bits"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "is not random"),
            // "abcdefghijklmnopqrstuvwxyz012345"
            ("YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=", "is text"),
        ] {
            let error = load_or_create(&keys(&[text]), Path::new("/nonexistent")).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(text), "{error}");
        }
    }

    #[test]
    fn either_alphabet_with_or_without_padding_is_read() {
        for _ in 0..20 {
            let key = fresh();
            let url_safe = key.expose().replace('+', "-").replace('/', "_").replace('=', "");
            assert_eq!(parse(key.expose()).unwrap(), parse(&url_safe).unwrap());
        }
    }

    #[test]
    fn the_first_key_of_a_file_writes_and_all_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (new, old) = (fresh(), fresh());
        fs::write(&path, format!("# rotated\n{}\n\n{}\n", new.expose(), old.expose())).unwrap();
        let rotated = load_or_create(&Keys { sealing: vec![], sealing_file: Some(path) }, folder.path()).unwrap();
        let before = load_or_create(&keys(&[old.expose()]), folder.path()).unwrap();
        let after = load_or_create(&keys(&[new.expose()]), folder.path()).unwrap();
        assert!(rotated.open(Purpose::Notice, b"", b"", &before.seal(Purpose::Notice, b"", b"", b"x")).is_ok());
        assert!(after.open(Purpose::Notice, b"", b"", &rotated.seal(Purpose::Notice, b"", b"", b"x")).is_ok());
    }

    #[test]
    fn a_key_file_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let first = load_or_create(&keys(&[]), &data).unwrap();
        let second = load_or_create(&keys(&[]), &data).unwrap();
        let sealed = first.seal(Purpose::Notice, b"", b"", b"x");
        assert!(second.open(Purpose::Notice, b"", b"", &sealed).is_ok());
        let mode = fs::metadata(data.join("brama.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn an_empty_key_file_is_an_error_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("brama.key"), "\n").unwrap();
        assert!(matches!(load_or_create(&keys(&[]), folder.path()), Err(KeysError::Empty(_))));
    }
}
