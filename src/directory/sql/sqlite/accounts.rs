//! The accounts' tables in the SQLite file.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    Row as _, Sqlite, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{Fault, OpenError, SqliteFile, Step};
use crate::directory::{
    DirectoryError,
    sql::engine::{Engine, Failure, Row, Rows, Value, Work},
};

/// The schema, step by step. Append; never edit a step that was released.
pub(super) const SCHEMA: &[Step] = &[
    "
    CREATE TABLE account (
        id           TEXT    PRIMARY KEY,
        created_at   INTEGER NOT NULL,
        signed_in_at INTEGER NOT NULL,
        disabled     INTEGER NOT NULL DEFAULT 0,
        profile      TEXT    NOT NULL
    ) STRICT;
    CREATE TABLE identity (
        issuer    TEXT    NOT NULL,
        subject   TEXT    NOT NULL,
        account   TEXT    NOT NULL REFERENCES account (id),
        origin    TEXT    NOT NULL,
        profile   TEXT    NOT NULL,
        linked_at INTEGER NOT NULL,
        used_at   INTEGER NOT NULL,
        PRIMARY KEY (issuer, subject)
    ) STRICT;
    CREATE INDEX identity_account ON identity (account, linked_at);
",
    // The address in lower case, to search by (SQLite's lower() is of ASCII alone, as is ours). Accounts from before
    // count as announced: their making was told when it happened.
    "
    ALTER TABLE account ADD COLUMN email TEXT;
    UPDATE account SET email = lower(json_extract(profile, '$.email'));
    CREATE INDEX account_email ON account (email, id) WHERE email IS NOT NULL;
    ALTER TABLE account ADD COLUMN announced INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX account_unannounced ON account (created_at) WHERE NOT announced;
",
];

/// The tables, open.
#[derive(Debug)]
pub(in crate::directory::sql) struct Accounts {
    file: SqliteFile,
}

impl Accounts {
    pub(in crate::directory::sql) async fn open(file: SqliteFile, migrate: bool) -> Result<Self, OpenError> {
        if migrate {
            file.bring_up("account", SCHEMA).await?;
        } else {
            file.require("account", SCHEMA).await?;
        }
        Ok(Self { file })
    }
}

#[async_trait]
impl Engine for Accounts {
    async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(self.file.readers()).await.map_err(Fault::from)?;
        Ok(boxed(rows))
    }

    async fn begin(&self) -> Result<Box<dyn Work>, Failure> {
        Ok(Box::new(Writing(self.file.write().await?)))
    }

    async fn ping(&self) -> Result<(), Failure> {
        Ok(self.file.ping().await?)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// A transaction that holds the one write lock there is: nobody else changes anything meanwhile.
struct Writing(Transaction<'static, Sqlite>);

#[async_trait]
impl Work for Writing {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(&mut *self.0).await.map_err(Fault::from)?;
        Ok(boxed(rows))
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure> {
        Ok(bound(sql, values).execute(&mut *self.0).await.map_err(Fault::from)?.rows_affected())
    }

    async fn lock_account(&mut self, id: &str) -> Result<bool, Failure> {
        Ok(!self.rows("SELECT id FROM account WHERE id = $1", &[Value::Text(id)]).await?.is_empty())
    }

    async fn commit(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.commit().await.map_err(Fault::from)?)
    }
}

impl Row for SqliteRow {
    fn text(&self, column: &'static str) -> Result<&str, Failure> {
        Ok(self.try_get(column).map_err(Fault::from)?)
    }

    fn number(&self, column: &'static str) -> Result<i64, Failure> {
        Ok(self.try_get(column).map_err(Fault::from)?)
    }

    fn flag(&self, column: &'static str) -> Result<bool, Failure> {
        Ok(self.number(column)? != 0)
    }
}

fn boxed(rows: Vec<SqliteRow>) -> Rows {
    rows.into_iter().map(|row| Box::new(row) as Box<dyn Row>).collect()
}

fn bound(sql: &'static str, values: &[Value<'_>]) -> Query<'static, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Maybe(text) => query.bind(text.map(str::to_owned)),
        Value::Number(number) => query.bind(number),
        Value::Flag(flag) => query.bind(i64::from(flag)),
    })
}

impl From<Fault> for DirectoryError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Corrupt(why) => Self::Corrupt(why),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Directory(fault.into())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;
    use crate::directory::{
        Directory as _, Search,
        conformance::{NOW, someone, vouched},
        sql::{SqlDirectory, statement},
    };

    const ONE_STEP: &[Step] = &[SCHEMA[0]];

    async fn file() -> (SqliteFile, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (SqliteFile::open(&folder.path().join("brama.db")).await.unwrap(), folder)
    }

    #[tokio::test]
    async fn a_file_of_the_first_schema_is_upgraded_with_what_it_holds() {
        let (file, _folder) = file().await;
        file.bring_up("account", ONE_STEP).await.unwrap();
        let person = vouched(someone().origin().key.clone(), "Someone@Example.TEST");
        let id = crate::identity::AccountId::fresh(NOW);
        let (profile, origin) =
            (serde_json::to_string(person.profile()).unwrap(), serde_json::to_string(person.origin()).unwrap());
        let key = &person.origin().key;
        sqlx::query("INSERT INTO account VALUES ($1, 5, 6, 1, $2)")
            .bind(id.to_string())
            .bind(&profile)
            .execute(file.writer())
            .await
            .unwrap();
        sqlx::query("INSERT INTO identity VALUES ($1, $2, $3, $4, $5, 5, 6)")
            .bind(key.issuer.as_str())
            .bind(key.subject.as_str())
            .bind(id.to_string())
            .bind(origin)
            .bind(profile)
            .execute(file.writer())
            .await
            .unwrap();
        let refused = SqlDirectory::embedded(file.clone(), false).await.unwrap_err();
        assert!(matches!(refused, OpenError::Older { found: 1, known: 2, .. }), "{refused}");
        assert!(refused.to_string().contains("brama directory migrate"), "{refused}");
        let directory = SqlDirectory::embedded(file.clone(), true).await.unwrap();
        let account = directory.find(&id).await.unwrap().unwrap();
        assert_eq!((&account.profile, account.disabled), (person.profile(), true));
        let found = directory.list(&Search::Email("someone@example.test".into()), None, 5).await.unwrap();
        assert_eq!(found.accounts, [account]);
        assert_eq!(directory.unannounced(NOW, 5).await.unwrap(), [], "it was told of when it was made");
        SqlDirectory::embedded(file, false).await.unwrap();
    }

    #[tokio::test]
    async fn a_new_file_waits_for_migrate_when_told_so() {
        let (file, _folder) = file().await;
        let refused = SqlDirectory::embedded(file.clone(), false).await.unwrap_err();
        assert!(matches!(refused, OpenError::Older { found: 0, .. }), "{refused}");
        SqlDirectory::embedded(file, true).await.unwrap();
    }

    #[tokio::test]
    async fn every_question_has_an_index() {
        let (file, _folder) = file().await;
        SqlDirectory::embedded(file.clone(), true).await.unwrap();
        for sql in
            [statement::BY_ID, statement::BY_IDENTITY, statement::EVERYONE, statement::BY_EMAIL, statement::UNANNOUNCED]
        {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let rows = sqlx::raw_sql(explain).fetch_all(file.readers()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let scans = |line: &&String| {
                line.starts_with("SCAN account") && !line.contains("USING INDEX") && !line.contains("COVERING INDEX")
            };
            assert_eq!(plan.iter().find(scans), None, "{sql}\n{}", plan.join("\n"));
            assert!(
                !plan.iter().any(|line| ["SCAN a", "SCAN i", "SCAN identity"].contains(&line.as_str())),
                "{plan:?}"
            );
        }
    }
}
