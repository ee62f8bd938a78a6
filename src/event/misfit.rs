//! A setting of a sink that does not fit.

use crate::config::secrets::SecretError;

/// Which key of the sink's table, and what to do. Whether the sink answers is another matter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Misfit {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what to do; nothing secret.
    pub what: String,
}

impl Misfit {
    /// Something about `key`.
    pub fn new(key: &'static str, what: impl Into<String>) -> Self {
        Self { key, what: what.into() }
    }
}

impl From<SecretError> for Misfit {
    fn from(error: SecretError) -> Self {
        let key = match &error {
            SecretError::Unreadable { .. } => "password_file",
            SecretError::Weak { .. } => "password",
        };
        Self::new(key, format!("{error}: {}", error.remedy()))
    }
}
