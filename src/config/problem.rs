//! What is wrong with a configuration file, all of it at once.
//!
//! A [`Problem`] says what, where (file, line, key), why and what to do. Reading goes on after a problem, so that
//! an operator mends a file in one round rather than one mistake at a time.

use std::{fmt, ops::Range, path::PathBuf};

/// One mistake in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named on the command line.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
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
        let (line, column) = self.position(span.start);
        self.found.push(Problem {
            file: self.file.clone(),
            line,
            column,
            key: key.to_owned(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The mistakes in the order of the file.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }

    /// The folder that relative paths of the file are relative to.
    pub fn folder(&self) -> &std::path::Path {
        match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => std::path::Path::new("."),
        }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or("").chars().count() + 1)
    }
}
