//! The keys that sign assertions: one set for all replicas, sealed in the session store, rotated in time.
//!
//! Until the store has answered for the first time a set of our own stands in. No assertion is signed with it that
//! anybody could miss: without the store no session is known, and without a session nothing is asserted.

use std::{sync::Arc, time::Duration};

use super::Foundation;
use crate::{
    gateway::assertion::{KeyError, SigningKeys},
    secret::Purpose,
    session::StoreError,
};

/// The document in the store.
const DOCUMENT: &str = "signing-keys";
/// How old a key gets. Two keys are published at any time, so apps have as long to learn the next one.
const ROTATE_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the store is asked whether another replica has rotated.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// How soon to ask again when it did not answer.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum SigningError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the stored signing keys do not open with any current sealing key; restore the key they were sealed with")]
    Unopened,
}

/// Keeps the keys for the life of the process.
pub(super) async fn keep(foundation: Arc<Foundation>) {
    loop {
        let pause = match look(&foundation).await {
            Ok(()) => LOOK_EVERY,
            Err(SigningError::Store(_)) => RETRY,
            Err(error) => {
                tracing::error!(%error, "assertions cannot be signed with the common keys");
                LOOK_EVERY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Takes the stored keys; makes or rotates them when it is time. Whoever writes second takes what the first wrote.
async fn look(foundation: &Foundation) -> Result<(), SigningError> {
    let store = foundation.sessions.store();
    let sealed = store.document(DOCUMENT).await?;
    let now = foundation.clock.now();
    let keys = match &sealed {
        None => SigningKeys::generate(now)?,
        Some(sealed) => {
            let opened = foundation.keys.open(Purpose::SigningKey, b"", DOCUMENT.as_bytes(), sealed);
            let stored = SigningKeys::from_bytes(&opened.map_err(|_| SigningError::Unopened)?)?;
            if now.since(stored.since()) < ROTATE_AFTER {
                foundation.asserter.replace_keys(stored);
                return Ok(());
            }
            stored.rotated(now)?
        }
    };
    let written = foundation.keys.seal(Purpose::SigningKey, b"", DOCUMENT.as_bytes(), &keys.to_bytes());
    if store.put_document(DOCUMENT, sealed.as_deref(), &written).await? {
        foundation.asserter.replace_keys(keys);
        return Ok(());
    }
    // Another replica was quicker: its keys are read at the next look, which must come soon.
    Err(SigningError::Store(StoreError::Unavailable("another replica is writing the signing keys".into())))
}
