//! The statements, prepared once a session.
//!
//! All but the plain writes of index rows are conditional on a value that is made anew for each write (`version`,
//! `stamp`), so every one of them may be sent twice: the second time it does nothing, and what stands there tells that
//! the first was ours. That is why all are marked idempotent.

use scylla::{
    client::session::Session,
    errors::PrepareError,
    statement::{Consistency, Statement, prepared::PreparedStatement},
};

use super::connect::Settings;

/// How long the marker of a deleted account stays, in seconds: long after any call that could still write under its id.
const MARKER_LIFE: u32 = 24 * 3600;

/// Columns of an account, in the order of `AccountRow`.
const COLUMNS: &str =
    "id, version, gone, announced, created_at, signed_in_at, disabled, profile, identities, email_entry";

/// A question, at both consistencies.
#[derive(Debug)]
pub(super) struct Question {
    /// Sees every acknowledged write.
    pub(super) usual: PreparedStatement,
    /// Also waits for conditional writes under way to come to an end.
    pub(super) settled: PreparedStatement,
}

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: Question,
    pub(super) stake: PreparedStatement,
    pub(super) restake: PreparedStatement,
    pub(super) drop_claim: PreparedStatement,
    pub(super) account: Question,
    pub(super) write: PreparedStatement,
    pub(super) bury: PreparedStatement,
    pub(super) everyone: PreparedStatement,
    pub(super) everyone_after: PreparedStatement,
    pub(super) states: PreparedStatement,
    pub(super) emails: PreparedStatement,
    pub(super) emails_after: PreparedStatement,
    pub(super) add_email: PreparedStatement,
    pub(super) drop_email: PreparedStatement,
    pub(super) hours: PreparedStatement,
    pub(super) add_hour: PreparedStatement,
    pub(super) drop_hour: PreparedStatement,
    pub(super) waiting: PreparedStatement,
    pub(super) add_waiting: PreparedStatement,
    pub(super) drop_waiting: PreparedStatement,
    pub(super) step: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, settings: &Settings) -> Result<Self, PrepareError> {
        let reading = settings.read_consistency();
        let keyspace = &settings.config.keyspace;
        let maker = Maker { session, keyspace, reading, settled: settings.settled_consistency() };
        Ok(Self {
            claim: maker
                .question("SELECT account, stamp, founded_at FROM {}.identity WHERE issuer = ? AND subject = ?")
                .await?,
            stake: maker
                .write(
                    "INSERT INTO {}.identity (account, stamp, founded_at, issuer, subject) VALUES (?, ?, ?, ?, ?) \
                 IF NOT EXISTS",
                )
                .await?,
            restake: maker
                .write(
                    "UPDATE {}.identity SET account = ?, stamp = ?, founded_at = ? WHERE issuer = ? AND subject = ? \
                 IF stamp = ?",
                )
                .await?,
            drop_claim: maker.write("DELETE FROM {}.identity WHERE issuer = ? AND subject = ? IF stamp = ?").await?,
            account: maker.question(&format!("SELECT {COLUMNS} FROM {{}}.account WHERE id = ?")).await?,
            write: maker
                .write(
                    "UPDATE {}.account SET version = ?, gone = ?, announced = ?, created_at = ?, signed_in_at = ?, \
                 disabled = ?, profile = ?, identities = ?, email_entry = ? WHERE id = ? IF version = ?",
                )
                .await?,
            bury: maker
                .write(&format!(
                    "UPDATE {{}}.account USING TTL {MARKER_LIFE} SET version = ?, gone = true, announced = null, \
                 created_at = null, signed_in_at = null, disabled = null, profile = null, identities = null, \
                 email_entry = null WHERE id = ? IF version = ?"
                ))
                .await?,
            everyone: maker.read(&format!("SELECT {COLUMNS} FROM {{}}.account")).await?,
            everyone_after: maker
                .read(&format!("SELECT {COLUMNS} FROM {{}}.account WHERE token(id) > token(?)"))
                .await?,
            states: maker.read("SELECT gone FROM {}.account").await?,
            emails: maker.read("SELECT account, entry FROM {}.account_by_email WHERE email = ?").await?,
            emails_after: maker
                .read("SELECT account, entry FROM {}.account_by_email WHERE email = ? AND account > ?")
                .await?,
            add_email: maker.write("INSERT INTO {}.account_by_email (email, account, entry) VALUES (?, ?, ?)").await?,
            drop_email: maker
                .write("DELETE FROM {}.account_by_email WHERE email = ? AND account = ? AND entry = ?")
                .await?,
            hours: maker.read("SELECT hour FROM {}.unannounced_hour WHERE part = 0 AND hour <= ?").await?,
            add_hour: maker.write("INSERT INTO {}.unannounced_hour (part, hour) VALUES (0, ?)").await?,
            drop_hour: maker.write("DELETE FROM {}.unannounced_hour WHERE part = 0 AND hour = ?").await?,
            waiting: maker.read("SELECT made_at, account FROM {}.unannounced WHERE hour = ? AND made_at < ?").await?,
            add_waiting: maker.write("INSERT INTO {}.unannounced (hour, made_at, account) VALUES (?, ?, ?)").await?,
            drop_waiting: maker
                .write("DELETE FROM {}.unannounced WHERE hour = ? AND made_at = ? AND account = ?")
                .await?,
            step: maker.read("SELECT step FROM {}.schema_step WHERE owner = 'account'").await?,
        })
    }
}

/// What is needed to prepare.
struct Maker<'a> {
    session: &'a Session,
    keyspace: &'a str,
    reading: Consistency,
    settled: Consistency,
}

impl Maker<'_> {
    /// Prepares one statement; `{}` in it stands for the keyspace. Without a consistency, that of writes.
    async fn prepared(&self, cql: &str, consistency: Option<Consistency>) -> Result<PreparedStatement, PrepareError> {
        let mut statement = Statement::new(cql.replace("{}", self.keyspace));
        statement.set_is_idempotent(true);
        if let Some(consistency) = consistency {
            statement.set_consistency(consistency);
        }
        self.session.prepare(statement).await
    }

    async fn read(&self, cql: &str) -> Result<PreparedStatement, PrepareError> {
        self.prepared(cql, Some(self.reading)).await
    }

    async fn write(&self, cql: &str) -> Result<PreparedStatement, PrepareError> {
        self.prepared(cql, None).await
    }

    async fn question(&self, cql: &str) -> Result<Question, PrepareError> {
        let usual = self.prepared(cql, Some(self.reading)).await?;
        let mut settled = usual.clone();
        settled.set_consistency(self.settled);
        Ok(Question { usual, settled })
    }
}
