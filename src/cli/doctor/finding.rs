//! What was found out, one thing at a time: the stable form of `--json`, and what people are shown.

use serde::Serialize;

use crate::told::{Examined, Told};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It works.
    Ok,
    /// It works and should still be mended.
    Warning,
    /// It does not work.
    Failed,
}

impl Status {
    /// As it is written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing found out. The fields, their names and their order are what docs/doctor.md promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What kind of thing, a stable word.
    pub(super) item: &'static str,
    /// Which one of its kind.
    pub(super) subject: String,
    pub(super) status: Status,
    /// What was asked and how it is, or what is wrong.
    pub(super) detail: String,
    /// What to do.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(item: &'static str, subject: &str, status: Status, told: Told) -> Self {
        let remedy = (!told.remedy.is_empty()).then_some(told.remedy);
        Self { item, subject: subject.to_owned(), status, detail: told.what, remedy }
    }

    /// All that an examination found: what works, unless there is nothing to say of it, and what should be mended.
    pub(super) fn all(item: &'static str, subject: &str, examined: Examined) -> Vec<Self> {
        match examined {
            Ok(sound) => {
                let fine = (!sound.detail.is_empty())
                    .then(|| Self::new(item, subject, Status::Ok, Told::new(sound.detail, "")));
                let warnings = sound.warnings.into_iter().map(|told| Self::new(item, subject, Status::Warning, told));
                fine.into_iter().chain(warnings).collect()
            }
            Err(told) => vec![Self::new(item, subject, Status::Failed, told)],
        }
    }
}
