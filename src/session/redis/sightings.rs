//! Many sightings in few round trips.
//!
//! A pipeline rather than one script of them all: each call is of one session, and so of one hash slot, and Redis sees to
//! others between two of them.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{AT_A_TIME, ENOUGH, RedisSessions, millis, script, seen_life};
use crate::session::{Sighting, StoreError};

/// How many go in one round trip.
const CHUNK: usize = 500;

/// What `script::TOUCH` says.
const ENDED: i64 = 0;
const TO_LENGTHEN: i64 = 2;

impl RedisSessions {
    /// Notes them all; gives for each whether its session goes on.
    pub(super) async fn note(&self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError> {
        let mut going_on = Vec::with_capacity(sightings.len());
        for chunk in sightings.chunks(CHUNK) {
            let said = self.link.pipe::<Vec<i64>>(&self.touching(chunk)).await?;
            self.lengthen_all(chunk, &said).await?;
            going_on.extend(said.iter().map(|said| *said != ENDED));
        }
        Ok(going_on)
    }

    /// The script is told along: in a pipeline it cannot be sent after it was found missing.
    fn touching(&self, chunk: &[Sighting]) -> redis::Pipeline {
        let mut touching = redis::pipe();
        touching.load_script(&script::TOUCH).ignore();
        for Sighting { key, seen, expires_at } in chunk {
            let life = seen_life(*expires_at, *seen);
            let mut call = script::TOUCH.prepare_invoke();
            call.key(self.keys.record(key)).key(self.keys.seen(key));
            call.arg(seen.as_millis()).arg(expires_at.as_millis()).arg(millis(life)).arg(millis(life + ENOUGH));
            touching.invoke_script(&call);
        }
        touching
    }

    /// Sees to the records that would not live long enough: each is, once in some days.
    async fn lengthen_all(&self, chunk: &[Sighting], said: &[i64]) -> Result<(), StoreError> {
        let mut short = Vec::new();
        short.extend(chunk.iter().zip(said).filter(|(_, said)| **said == TO_LENGTHEN).map(|(sighting, _)| *sighting));
        stream::iter(short)
            .map(|Sighting { key, seen, expires_at }| async move { self.lengthen(&key, expires_at, seen).await })
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await
    }
}
