//! `[telemetry]`: what is seen.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{
    problem::Problems,
    value::{At, Check, Shape, Value, choice, section},
};

choice! {
    /// How the log is written.
    pub enum LogFormat {
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Whether and how one line a request or event is written.
    pub enum LineFormat {
        /// Not at all.
        Off = "off",
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file, which is opened again after it was renamed or removed.
    File(PathBuf),
}

impl Value for Destination {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "\"stdout\", \"stderr\" or a path")?;
        Some(match text.as_str() {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            _ => Self::File(PathBuf::from(text).in_folder(problems.folder())),
        })
    }
    fn shape() -> Shape {
        Shape::Leaf { says: "\"stdout\", \"stderr\" or a path", schema: json!({"type": "string"}) }
    }
    fn show(&self) -> Option<String> {
        match self {
            Self::Stdout => Some("\"stdout\"".to_owned()),
            Self::Stderr => Some("\"stderr\"".to_owned()),
            Self::File(path) => path.show(),
        }
    }
    fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(path.in_folder(folder)),
            other => other,
        }
    }
}

section! {
    /// What is seen: the log, the access log, the audit log.
    pub struct Telemetry {
        /// How the log is written; it goes to standard error.
        log_format: LogFormat = LogFormat::Human,
        /// What the log holds: error, warn, info or debug, also by module, such as "info,brama::login=debug".
        log_filter: String = "info".into(),
        /// One line a request: off, human or json. Query values, cookies and tokens are never in it.
        access_log: LineFormat = LineFormat::Off,
        /// Where the access log goes.
        access_log_to: Destination = Destination::Stdout,
        /// One line an event (signed in, refused, revoked …): off, human or json.
        audit_log: LineFormat = LineFormat::Json,
        /// Where the audit log goes.
        audit_log_to: Destination = Destination::Stdout,
    }
}

impl Check for Telemetry {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            at.problem_at(
                "log_filter",
                problems,
                format!("it is not a log filter: {error}"),
                "write a level such as \"info\", or \"info,brama::login=debug\"",
            );
        }
    }
}
