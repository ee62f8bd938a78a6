//! What only a file can go through: a killed writer, a long sweep.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::{
    identity::{IdentityKey, Issuer, Subject},
    session::SessionId,
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
/// Where the writer to be killed writes; set by the test that kills it.
const FILE: &str = "BRAMA_TEST_KILLED_WRITER_FILE";

async fn open(path: &std::path::Path) -> EmbeddedSessions {
    EmbeddedSessions::open(SqliteFile::open(path).await.unwrap()).await.unwrap()
}

fn new() -> NewStored {
    NewStored {
        key: SessionId::fresh().key(),
        account: AccountId::fresh(NOW),
        identity: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("someone") },
        sid: None,
        sealed: vec![7; 1000],
        last_seen: NOW,
        expires_at: NOW.plus(Duration::from_secs(3600)),
    }
}

/// Not a test of its own: what the test below runs as another process. Without its variable it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_to_be_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(path.as_ref()).await;
    let writers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let new = new();
                store.begin(new.clone(), None, &[]).await.unwrap();
                // Replaced as well, so that a session is found half way too.
                println!("begun {}", new.key.hex());
                store.replace(&new.key, 1, vec![8; 1000], new.expires_at, NOW, &[]).await.unwrap();
                println!("replaced {}", new.key.hex());
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_loses_no_acknowledged_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("brama.db");
    for killed_after in [1, 40, 200] {
        let mut writer = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["session::embedded::tests::writer_to_be_killed", "--exact", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            // The test harness says its own things on the same line as the first of ours.
            let word = |word: &str| Some(SessionKey::parse_hex(line.split_once(word)?.1).unwrap());
            acknowledged.extend(word("begun ").map(|key| (key, 1)).or_else(|| Some((word("replaced ")?, 2))));
            if acknowledged.len() == killed_after {
                writer.start_kill().unwrap();
            }
        }
        assert!(!writer.wait().await.unwrap().success());
        assert!(acknowledged.len() >= killed_after);

        let store = open(&path).await;
        for (key, version) in &acknowledged {
            let found = store.load(key, NOW).await.unwrap().unwrap_or_else(|| panic!("{key:?} was acknowledged"));
            assert!(found.version >= *version, "{key:?}");
        }
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(store.file.readers()).await.unwrap();
        assert_eq!(sound, "ok");
        store.file.close().await;
    }
}

#[tokio::test]
async fn a_sweep_drops_more_than_one_batch_and_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("brama.db")).await;
    let mut writing = store.file.write().await.unwrap();
    for _ in 0..SWEEP_BATCH + 10 {
        insert(&mut *writing, &new()).await.unwrap();
    }
    writing.commit().await.unwrap();
    store.use_once("marker", NOW.plus(Duration::from_secs(1)), NOW).await.unwrap();
    store.lease("lease", "holder", Duration::from_secs(1), NOW).await.unwrap();
    assert_eq!(store.sweep(NOW).await.unwrap(), 0);
    let swept = store.sweep(NOW.plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(swept, SWEEP_BATCH.unsigned_abs() + 12);
}
