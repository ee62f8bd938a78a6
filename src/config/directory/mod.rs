//! `[directory]`: where accounts live. One file an engine; each holds the table of that engine alone.

use std::path::PathBuf;

use super::{
    problem::Problems,
    secrets,
    value::{At, Check, choice, section},
};
use crate::secret::Secret;

pub mod cassandra;
pub mod mongodb;
pub mod postgres;

pub use self::{cassandra::Cassandra, mongodb::MongoDb, postgres::Postgres};

choice! {
    /// What keeps the accounts.
    pub enum Engine {
        /// The embedded SQLite file.
        Sqlite = "sqlite",
        /// PostgreSQL.
        Postgres = "postgres",
        /// MongoDB.
        MongoDb = "mongodb",
        /// Cassandra, or ScyllaDB.
        Cassandra = "cassandra",
    }
}

section! {
    /// Accounts and the embedded store.
    pub struct Directory {
        /// What keeps the accounts: the embedded file, or a database of your own ([directory.postgres], [directory.mongodb], [directory.cassandra]) shared by all replicas.
        engine: Engine = Engine::Sqlite,
        /// The one SQLite file that holds accounts when engine = "sqlite", and sessions when session.store = "embedded".
        file: PathBuf = PathBuf::from("brama.db"),
        /// Whether to create and upgrade the schema of the accounts at start. Without, run `brama directory migrate` before the first start and after an upgrade; the gateway then needs no right to change tables.
        migrate: bool = true,
        /// PostgreSQL, for engine = "postgres".
        postgres: Option<Postgres> = None,
        /// MongoDB, for engine = "mongodb".
        mongodb: Option<MongoDb> = None,
        /// Cassandra or ScyllaDB, for engine = "cassandra".
        cassandra: Option<Cassandra> = None,
    }
}

impl Check for Directory {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let (missing, first) = match self.engine {
            Engine::Sqlite => (false, ""),
            Engine::Postgres => (self.postgres.is_none(), "url = \"postgres://…\""),
            Engine::MongoDb => (self.mongodb.is_none(), "url = \"mongodb://…\""),
            Engine::Cassandra => (self.cassandra.is_none(), "nodes = [\"…\"]"),
        };
        if missing {
            let name = self.engine.word();
            at.problem_at(
                "engine",
                problems,
                format!("engine = \"{name}\" needs the table [directory.{name}]"),
                format!("add [directory.{name}] with {first}"),
            );
        }
    }
}

impl Directory {
    /// Records what is wrong with the passwords of the engines. `at` is the table of this section.
    pub(super) fn check_secrets(&self, at: &At<'_>, problems: &mut Problems) {
        let passwords = [
            ("postgres", self.postgres.as_ref().map(|engine| (&engine.password, &engine.password_file))),
            ("mongodb", self.mongodb.as_ref().map(|engine| (&engine.password, &engine.password_file))),
            ("cassandra", self.cassandra.as_ref().map(|engine| (&engine.password, &engine.password_file))),
        ];
        for (name, given) in passwords {
            if let (Some((inline, file)), Some(place)) = (given, at.child(name)) {
                secrets::check(&place, "password", inline, file, problems);
            }
        }
    }
}

/// Records a password given twice, or without a user name to go with it.
fn check_login(
    at: &At<'_>,
    problems: &mut Problems,
    username: &Option<String>,
    password: &Option<Secret>,
    password_file: &Option<PathBuf>,
) {
    if password.is_some() && password_file.is_some() {
        at.problem_at("password", problems, "the password is given twice", "keep password_file and drop password");
    }
    if username.is_none() && (password.is_some() || password_file.is_some()) {
        at.problem_at("username", problems, "there is a password but no user name", "add username = \"…\"");
    }
}

/// Records a client certificate without its key, or the other way round.
fn check_certificate(at: &At<'_>, problems: &mut Problems, cert_file: &Option<PathBuf>, key_file: &Option<PathBuf>) {
    if cert_file.is_some() != key_file.is_some() {
        at.problem_at(
            "cert_file",
            problems,
            "a client certificate needs both cert_file and key_file",
            "give both or neither",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::tests::problems_of;

    #[test]
    fn an_engine_needs_its_table() {
        for (engine, told) in [
            ("postgres", "add [directory.postgres] with url = \"postgres://…\""),
            ("mongodb", "add [directory.mongodb] with url = \"mongodb://…\""),
            ("cassandra", "add [directory.cassandra] with nodes = [\"…\"]"),
        ] {
            let problems = problems_of(&format!("[directory]\nengine = \"{engine}\"\n"));
            assert!(problems.contains("directory.engine") && problems.contains(told), "{problems}");
        }
    }

    #[test]
    fn contradictions_of_each_engine_are_told() {
        for (table, key) in [
            ("[directory.postgres]\nurl = \"mysql://h/d\"", "directory.postgres.url"),
            ("[directory.postgres]\nurl = \"postgres://h\"", "directory.postgres.url"),
            ("[directory.postgres]\nurl = \"postgres://u:hunter2@h/d\"", "directory.postgres.url"),
            ("[directory.postgres]\nurl = \"postgres://h/d?sslmode=allow\"", "directory.postgres.url"),
            (
                "[directory.postgres]\nurl = \"postgres://h/d\"\nmax_connections = 0",
                "directory.postgres.max_connections",
            ),
            ("[directory.postgres]\nurl = \"postgres://h/d\"\ncert_file = \"a\"", "directory.postgres.cert_file"),
            ("[directory.postgres]\nurl = \"postgres://h/d\"\npassword = \"x8Kq\"", "directory.postgres.username"),
            ("[directory.mongodb]\nurl = \"http://h\"", "directory.mongodb.url"),
            ("[directory.mongodb]\nurl = \"mongodb://u:hunter2@h\"", "directory.mongodb.url"),
            ("[directory.mongodb]\nurl = \"mongodb://h\"\ndatabase = \"a b\"", "directory.mongodb.database"),
            ("[directory.cassandra]\nnodes = []", "directory.cassandra.nodes"),
            ("[directory.cassandra]\nnodes = [\"h\"]", "directory.cassandra.nodes"),
            ("[directory.cassandra]\nnodes = [\"h:9042\"]\nkeyspace = \"no-dash\"", "directory.cassandra.keyspace"),
            ("[directory.cassandra]\nnodes = [\"h:9042\"]\nreplication = \"3\"", "directory.cassandra.replication"),
        ] {
            let problems = problems_of(table);
            assert!(problems.contains(&format!("{key}: ")), "{table}\n{problems}");
            assert!(!problems.contains("hunter2"), "a secret is shown: {problems}");
        }
    }

    #[test]
    fn what_is_usual_is_no_problem() {
        let text = "[directory.postgres]\nurl = \"postgres://db.internal:5432/brama?sslmode=verify-full\"\n\
             username = \"brama\"\npassword = \"x8Kq-2mmZ\"\n\
             [directory.mongodb]\nurl = \"mongodb+srv://cluster.example.net/?replicaSet=a\"\n\
             [directory.cassandra]\nnodes = [\"a:9042\", \"[::1]:9042\"]\ndatacenter = \"dc1\"\n\
             replication = \"{'class': 'NetworkTopologyStrategy', 'dc1': 3}\"\n";
        assert_eq!(problems_of(text), "");
    }
}
