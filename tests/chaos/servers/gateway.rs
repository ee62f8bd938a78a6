//! Brama itself, the built program.

use std::{fs, path::PathBuf, process, sync::Arc};

use tempfile::TempDir;

use super::{Command, Server, free_port, new_folder};
use crate::browser::{self, Answer};

/// A gateway that people reach at `port`, and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) server: Arc<Server>,
    pub(crate) port: u16,
    admin: u16,
    pub(crate) config: PathBuf,
}

impl Gateway {
    /// One with further sections of configuration, in which `{folder}` stands for its own folder.
    pub(crate) fn new(more: &str) -> (Self, TempDir) {
        let (folder, port, admin) = (new_folder(), free_port(), free_port());
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:{port}\"\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n\
             [portal]\npublic_url = \"http://{}\"\n\
             [telemetry]\naudit_log = \"off\"\n\
             {}",
            browser::HOST,
            more.replace("{folder}", &folder.path().display().to_string()),
        );
        let config = folder.path().join("brama.toml");
        fs::write(&config, text).expect("the folder can be written to");
        let command = Command {
            program: BRAMA.into(),
            arguments: vec!["serve".to_owned(), "--config".to_owned(), config.display().to_string()],
            settings: Vec::new(),
            folder: folder.path().to_owned(),
            user: None,
        };
        (Self { server: Arc::new(Server::new("gateway", command)), port, admin, config }, folder)
    }

    /// What is wrong with it or with anything it needs; nothing when all is well.
    pub(crate) async fn complaint(&self) -> Option<String> {
        let answer = match browser::ask(self.admin, "/ready").await {
            Ok(answer) => answer,
            Err(trouble) => return Some(format!("{trouble}")),
        };
        complaint(&answer)
    }

    /// What `brama` says to these arguments and the configuration of this gateway.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = tokio::process::Command::new(BRAMA);
        command.args(arguments).arg("--config").arg(&self.config).stdin(process::Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

const BRAMA: &str = env!("CARGO_BIN_EXE_brama");

fn complaint(answer: &Answer) -> Option<String> {
    let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let Some(dependencies) = told["dependencies"].as_array() else { return Some(answer.body.clone()) };
    // A provider that was never asked yet is not ready, and that is nobody's fault.
    let ill = dependencies.iter().find(|one| {
        one["problem"].is_string() && !one["name"].as_str().is_some_and(|name| name.starts_with("provider"))
    });
    ill.map(|one| format!("{}: {}", one["name"], one["problem"]))
}
