//! Secrets in the configuration: from a file, from the environment, or inline, in that order of advice.
//!
//! A missing or unreadable secret is an error, never "none". Empty, default and example secrets are refused (threats
//! 12.1). No message holds any part of a secret.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{problem::Problems, value::At};
use crate::secret::Secret;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("{key}_file: cannot read the secret from {}", path.display())]
    Unreadable {
        /// The key without `_file`.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is empty, a default or an example.
    #[error("{key}: {why}")]
    Weak {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl SecretError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "create the file with the secret in it, readable by the user who runs brama",
            Self::Weak { .. } => "put the real secret there",
        }
    }
}

/// The secret given inline or in a file, without a trailing newline; `None` when neither is given.
///
/// A file that everyone may read is logged as a warning. `key` is the dotted key without `_file`.
///
/// # Errors
/// [`SecretError`] when the file cannot be read or what is given is no secret.
pub fn read_secret(inline: &Option<Secret>, file: &Option<PathBuf>, key: &str) -> Result<Option<Secret>, SecretError> {
    if let Some(path) = file
        && is_world_readable(path)
    {
        tracing::warn!(
            config.key = %format_args!("{key}_file"),
            file.path = %path.display(),
            "everyone on this host may read the secret; run chmod 600 on it"
        );
    }
    read(inline, file, key)
}

fn read(inline: &Option<Secret>, file: &Option<PathBuf>, key: &str) -> Result<Option<Secret>, SecretError> {
    let secret = match (file, inline) {
        (Some(path), _) => read_file(path).map_err(|source| SecretError::Unreadable {
            key: key.to_owned(),
            path: path.clone(),
            source,
        })?,
        (None, Some(inline)) => inline.clone(),
        (None, None) => return Ok(None),
    };
    match weakness(secret.expose()) {
        Some(why) => Err(SecretError::Weak { key: key.to_owned(), why }),
        None => Ok(Some(secret)),
    }
}

/// The text of a file without its trailing newline.
pub(crate) fn read_file(path: &Path) -> io::Result<Secret> {
    let text = zeroize::Zeroizing::new(fs::read_to_string(path)?);
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

/// True when any user of the host may read the file.
pub(crate) fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Records what is wrong with the secret `name` (or `name_file`) of the table `at`.
pub(crate) fn check(at: &At<'_>, name: &str, inline: &Option<Secret>, file: &Option<PathBuf>, problems: &mut Problems) {
    let file_key = format!("{name}_file");
    match read(inline, file, name) {
        Ok(_) => {}
        Err(SecretError::Unreadable { path, source, .. }) => at.problem_at(
            &file_key,
            problems,
            format!("cannot read {}: {source}", path.display()),
            "create the file with the secret in it, readable by the user who runs brama",
        ),
        Err(SecretError::Weak { why, .. }) => {
            let key = if file.is_some() { &file_key } else { name };
            at.problem_at(key, problems, why, "put the real secret there");
        }
    }
    if let (Some(path), Some(place)) = (file, at.child(&file_key))
        && is_world_readable(path)
    {
        problems.warn(
            place.span(),
            place.key(),
            "everyone on this host may read the secret",
            format!("run chmod 600 {}", path.display()),
        );
    }
}

/// Why a text is no secret at all; `None` when it may be one.
pub(crate) fn weakness(text: &str) -> Option<&'static str> {
    const EXAMPLES: &[&str] = &[
        "secret",
        "password",
        "passwd",
        "example",
        "test",
        "todo",
        "default",
        "admin",
        "token",
        "key",
        "none",
        "null",
        "client-secret",
        "client_secret",
        "clientsecret",
        "redacted",
        "12345678",
        "123456",
        "…",
        "...",
    ];
    let plain = text.trim().to_lowercase();
    if plain.is_empty() {
        return Some("the secret is empty");
    }
    let placeholder = plain.contains("changeme")
        || plain.contains("change-me")
        || plain.contains("change_me")
        || plain.starts_with("your-")
        || plain.starts_with("your_")
        || (plain.starts_with('<') && plain.ends_with('>'));
    if placeholder || EXAMPLES.contains(&plain.as_str()) {
        return Some("this is an example, not a secret");
    }
    let mut characters = plain.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first).then_some("one character over and over is not a secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_refused_and_secrets_are_not() {
        for bad in ["", " \n", "changeme", "CHANGEME", "Secret", "…", "<client secret>", "xxxxxxxx", "your-secret-here"]
        {
            assert!(weakness(bad).is_some(), "{bad:?}");
        }
        for good in ["GOCSPX-a8Xk2_pQ", "hunter2", "0123456789abcdef"] {
            assert_eq!(weakness(good), None, "{good:?}");
        }
    }

    #[test]
    fn a_file_wins_and_loses_only_its_trailing_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, " s3 cr3t \r\n").unwrap();
        let secret = read_secret(&None, &Some(path), "admin.token").unwrap().unwrap();
        assert_eq!(secret.expose(), " s3 cr3t ");
    }

    #[test]
    fn an_unreadable_file_is_an_error_and_never_none() {
        let missing = Some(PathBuf::from("/nonexistent/secret"));
        assert!(matches!(read_secret(&None, &missing, "k"), Err(SecretError::Unreadable { .. })));
        assert!(read_secret(&None, &None, "k").unwrap().is_none());
        let error = read_secret(&Some(Secret::new("changeme")), &None, "k").unwrap_err();
        assert!(!error.to_string().contains("changeme"));
    }

    #[test]
    fn a_file_everyone_may_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "s").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(is_world_readable(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!is_world_readable(&path));
    }
}
