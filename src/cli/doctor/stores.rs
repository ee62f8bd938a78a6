//! Where Brama keeps what it has: keys, sessions, accounts.

use super::question::Question;
use crate::{
    config::{Config, folder, keys, session::Store},
    directory, session,
};

/// The keys that seal sessions.
pub(super) fn keys(config: &Config) -> Question<'_> {
    let subject = match &config.keys.sealing_file {
        Some(path) => path.display().to_string(),
        None if config.keys.is_empty() => "brama.key".to_owned(),
        None => "keys.sealing".to_owned(),
    };
    Question::answered("keys", subject, keys::examine(&config.keys, folder::of(&config.directory.file)))
}

/// The session store.
pub(super) fn sessions(config: &Config) -> Question<'_> {
    let subject = match config.session.store {
        Store::Embedded => config.directory.file.display().to_string(),
        Store::Redis => config.session.store.word().to_owned(),
    };
    Question::new("sessions", subject, session::examine(&config.session, &config.directory.file))
}

/// The accounts.
pub(super) fn accounts(config: &Config) -> Question<'_> {
    let engine = config.directory.engine;
    let subject = match engine {
        crate::config::directory::Engine::Sqlite => config.directory.file.display().to_string(),
        _ => engine.word().to_owned(),
    };
    Question::new("directory", subject, directory::examine(&config.directory))
}
