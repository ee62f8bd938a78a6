//! RabbitMQ.

use std::fs;

use tempfile::TempDir;

use super::{Command, Server, free_port, new_folder};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The server, its port, and its folder. It knows the user `guest` with the password `guest`.
pub(crate) fn new() -> (Server, u16, TempDir) {
    let (folder, port, distribution, epmd) = (new_folder(), free_port(), free_port(), free_port());
    let path = folder.path().display();
    let configuration = format!(
        "listeners.tcp.local = 127.0.0.1:{port}\n\
         distribution.listener.interface = 127.0.0.1\n\
         log.console = true\n\
         log.file = false\n"
    );
    fs::write(folder.path().join("rabbitmq.conf"), configuration).expect("the folder can be written to");
    fs::write(folder.path().join("plugins"), "[].\n").expect("the folder can be written to");
    // Erlang would otherwise start an epmd that outlives everything. "Under systemd" means: do not fork.
    let script = format!("epmd & until epmd -names >/dev/null 2>&1; do sleep 0.02; done; {SERVER}");
    let command = Command {
        program: "sh".into(),
        arguments: vec!["-c".to_owned(), script],
        settings: vec![
            ("HOME", path.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
            ("RABBITMQ_NODENAME", format!("brama{port}@localhost")),
            ("RABBITMQ_MNESIA_BASE", format!("{path}/data")),
            ("RABBITMQ_LOG_BASE", format!("{path}/logs")),
            ("RABBITMQ_CONFIG_FILE", format!("{path}/rabbitmq")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{path}/plugins")),
            ("RABBITMQ_PID_FILE", format!("{path}/pid")),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
        ],
        folder: folder.path().to_owned(),
        user: None,
    };
    (Server::new("rabbitmq", command), port, folder)
}
