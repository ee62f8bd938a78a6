//! What the statements of this folder need of a database, and nothing more: texts, numbers and flags in, rows of them
//! out, and a piece of work that takes effect whole or not at all.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::directory::DirectoryError;

/// What is bound to a placeholder.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// Text or null.
    Maybe(Option<&'a str>),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
}

/// A row of an answer, read by the names of its columns.
pub(super) trait Row: Send + Sync {
    /// Text.
    fn text(&self, column: &'static str) -> Result<&str, Failure>;
    /// A whole number.
    fn number(&self, column: &'static str) -> Result<i64, Failure>;
    /// True or false.
    fn flag(&self, column: &'static str) -> Result<bool, Failure>;
}

/// The rows of an answer.
pub(super) type Rows = Vec<Box<dyn Row>>;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else was at the same accounts at the same time; nothing was done, and doing it again may succeed.
    Collided(&'static str),
    /// The directory does not answer, or cannot be read.
    Directory(DirectoryError),
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

/// A database with our tables.
#[async_trait]
pub(super) trait Engine: Send + Sync + fmt::Debug {
    /// Asks one question, which sees the database as of one moment.
    async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure>;

    /// Begins a piece of work. Dropping it undoes it.
    async fn begin(&self) -> Result<Box<dyn Work>, Failure>;

    /// Asks whether the database answers, is of our schema and can be written.
    async fn ping(&self) -> Result<(), Failure>;

    /// The longest a call may take; `None` where the engine sees to it itself.
    fn patience(&self) -> Option<Duration>;
}

/// Several statements that take effect together, once they are committed. Each sees what others have committed so far.
#[async_trait]
pub(super) trait Work: Send {
    /// Asks a question.
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure>;

    /// Runs a statement; gives the number of rows it changed.
    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure>;

    /// Keeps every other piece of work from locking this account until this one has ended. False when there is no such
    /// account.
    async fn lock_account(&mut self, id: &str) -> Result<bool, Failure>;

    /// Makes it durable.
    async fn commit(self: Box<Self>) -> Result<(), Failure>;
}
