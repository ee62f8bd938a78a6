//! The configuration file, as `brama check` reads it.

use std::path::Path;

use super::finding::{Finding, Status};
use crate::{
    config::{
        LoadError,
        load::{self, Inspected},
        problem::{Problem, Severity},
    },
    told::{Sound, Told},
};

const ITEM: &str = "configuration";

/// The file as it was read, unless it cannot be; and what is to be said of it.
pub(super) fn examine(path: &Path) -> (Option<Inspected>, Vec<Finding>) {
    let subject = path.display().to_string();
    match load::inspect(path) {
        Ok(inspected) => {
            let mut findings: Vec<Finding> =
                inspected.problems.iter().map(|problem| finding(&subject, problem)).collect();
            if inspected.config.is_some() {
                findings
                    .splice(0..0, Finding::all(ITEM, &subject, Ok(Sound::new("it can be read and holds together"))));
            }
            (Some(inspected), findings)
        }
        Err(error) => (None, vec![Finding::new(ITEM, &subject, Status::Failed, unreadable(&error))]),
    }
}

fn finding(subject: &str, problem: &Problem) -> Finding {
    let status = match problem.severity {
        Severity::Error => Status::Failed,
        Severity::Warning => Status::Warning,
    };
    let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key.escape_debug()) };
    let what = format!("line {}: {key}{}", problem.line, problem.what);
    Finding::new(ITEM, subject, status, Told::new(what, problem.remedy.as_str()))
}

fn unreadable(error: &LoadError) -> Told {
    let why = std::error::Error::source(error).map(|source| format!(" ({source})")).unwrap_or_default();
    Told::new(format!("{error}{why}"), error.remedy())
}
