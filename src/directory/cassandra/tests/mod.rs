//! What the conformance suite cannot know: crashes between two writes, leftovers, and how opening fails.

mod crash;
mod leftover;
mod open;

use std::sync::Arc;

use super::{
    CassandraDirectory,
    rows::{Look, Rows},
    server::{CassandraServer, fresh_keyspace, shared},
};
use crate::{
    config::directory::cassandra::Cassandra as Config,
    directory::{
        Account, Directory, Search,
        conformance::{Replicas, key, vouched},
    },
    identity::VerifiedIdentity,
};

/// A keyspace of its own on the shared server.
pub(crate) async fn replicas() -> Replicas {
    let config = shared().await.config(&fresh_keyspace());
    Replicas::of(move || {
        let directory = CassandraDirectory::open(&config, true).unwrap();
        Box::pin(async move {
            directory.connect().await.unwrap();
            Arc::new(directory) as Arc<dyn Directory>
        })
    })
    .await
}

/// One directory, as two replicas hold it.
async fn two() -> (CassandraDirectory, CassandraDirectory) {
    let config = shared().await.config(&fresh_keyspace());
    (opened(&config).await, opened(&config).await)
}

async fn opened(config: &Config) -> CassandraDirectory {
    let directory = CassandraDirectory::open(config, true).unwrap();
    directory.connect().await.unwrap();
    directory
}

/// The person of this number, with an address of his own.
fn person(number: usize) -> VerifiedIdentity {
    vouched(key("https://issuer.test", &number.to_string()), &format!("{number}@example.test"))
}

/// The same person, come by another provider.
fn second(number: usize) -> VerifiedIdentity {
    vouched(key("https://other.test", &number.to_string()), &format!("other-{number}@example.test"))
}

async fn everyone(directory: &CassandraDirectory) -> Vec<Account> {
    directory.list(&Search::Everyone, None, 1000).await.unwrap().accounts
}

/// Every account is found by each of its identities and, once, by its address.
async fn assert_sound(directory: &CassandraDirectory) {
    let rows: Arc<Rows> = directory.dial.rows().await.unwrap();
    for account in everyone(directory).await {
        assert!(!account.identities.is_empty(), "an account without identity: {account:?}");
        for identity in &account.identities {
            let claim = rows.claim(&identity.origin.key, Look::Settled).await.unwrap().expect("it is claimed");
            assert_eq!(claim.account, account.id, "an identity of two accounts: {:?}", identity.origin.key);
        }
        if let Some(email) = &account.profile.email {
            let found = directory.list(&Search::Email(email.clone()), None, 1000).await.unwrap().accounts;
            let times = found.iter().filter(|found| found.id == account.id).count();
            assert_eq!(times, 1, "found by its address");
        }
    }
}
