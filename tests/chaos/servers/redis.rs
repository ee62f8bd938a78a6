//! Redis, durable to the last acknowledged write.

use tempfile::TempDir;

use super::{Command, Server, free_port, new_folder};

/// The server, its port, and its folder.
pub(crate) fn new() -> (Server, u16, TempDir) {
    let (folder, port) = (new_folder(), free_port());
    let arguments = [
        ("port", port.to_string().as_str()),
        ("bind", "127.0.0.1"),
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("daemonize", "no"),
    ]
    .into_iter()
    .flat_map(|(name, value)| [format!("--{name}"), value.to_owned()])
    .collect();
    let command = Command {
        program: "redis-server".into(),
        arguments,
        settings: Vec::new(),
        folder: folder.path().to_owned(),
        user: None,
    };
    (Server::new("redis", command), port, folder)
}
