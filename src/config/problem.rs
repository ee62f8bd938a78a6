//! What is wrong with a configuration file, all of it at once.
//!
//! A [`Problem`] says what, where (file, line, key), why and what to do. Reading goes on after a problem, so that
//! an operator mends a file in one round rather than one mistake at a time. A warning is a problem one can start with.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// Whether one can start in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// One cannot.
    Error,
    /// One can, but should not leave it so.
    Warning,
}

/// One mistake in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether one can start in spite of it.
    pub severity: Severity,
    /// The file as it was named on the command line.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters of the line are meant; 0 when it is a place rather than a text.
    pub width: usize,
    /// Dotted path of the key, such as `provider.google.client_id`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and why, without a trailing full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}\n    {}", self.what, self.remedy)
    }
}

/// The mistakes found so far in one file, and the text their positions refer to.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    text: String,
    found: Vec<Problem>,
}

impl Problems {
    /// Starts with none, for `text` as read from `file`.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into(), found: Vec::new() }
    }

    /// Records one mistake at the byte range `span` of the text.
    pub fn add(&mut self, span: Range<usize>, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.record(Severity::Error, span, key, what.into(), remedy.into());
    }

    /// Records something one can start with but should mend.
    pub fn warn(&mut self, span: Range<usize>, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.record(Severity::Warning, span, key, what.into(), remedy.into());
    }

    fn record(&mut self, severity: Severity, span: Range<usize>, key: &str, what: String, remedy: String) {
        let (line, column) = self.position(span.start);
        let meant = self.text.get(span).unwrap_or_default();
        let width = meant.lines().next().unwrap_or_default().chars().count();
        let file = self.file.clone();
        self.found.push(Problem { severity, file, line, column, width, key: key.to_owned(), what, remedy });
    }

    /// True when no mistake was found; warnings do not count.
    pub fn is_empty(&self) -> bool {
        self.found.iter().all(|problem| problem.severity == Severity::Warning)
    }

    /// The mistakes and warnings in the order of the file.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }

    /// The folder that relative paths of the file are relative to.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The offset at which the text ends, for what is missing altogether.
    pub fn end(&self) -> usize {
        self.text.trim_end().len()
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or("").chars().count() + 1)
    }
}
