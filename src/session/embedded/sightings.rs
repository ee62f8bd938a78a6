//! Many sightings in one statement.
//!
//! A statement for each would cost a turn of the writer's thread, and a write to the disk, for each. All of a chunk go as
//! one JSON text, so that the statement is the same and stays prepared however many there are.

use std::collections::HashSet;

use super::{SessionKey, Sighting, key_of};
use crate::directory::sql::sqlite::{Fault, SqliteFile};

/// How many are noted at a time: some milliseconds, in which a login waits for its turn.
const CHUNK: usize = 1000;

/// The join runs from what is told to the sessions: told in another order, SQLite could read through all of them.
const TOUCH: &str = "
    UPDATE session SET last_seen = max(last_seen, told.seen), expires_at = max(expires_at, told.until)
    FROM (
        SELECT unhex(value ->> 0) AS key, value ->> 1 AS seen, value ->> 2 AS until FROM json_each($1)
    ) AS told
    WHERE session.key = told.key AND session.expires_at > told.seen
    RETURNING session.key";

/// Notes them all; gives for each whether its session goes on.
pub(super) async fn note(file: &SqliteFile, sightings: &[Sighting]) -> Result<Vec<bool>, Fault> {
    let mut going_on = Vec::with_capacity(sightings.len());
    let mut rest = sightings;
    while let Some((chunk, after)) = next_chunk(rest) {
        let noted = note_chunk(file, chunk).await?;
        going_on.extend(chunk.iter().map(|sighting| noted.contains(&sighting.key)));
        rest = after;
    }
    Ok(going_on)
}

/// Splits off what goes in one statement: it takes a session once only, so the second sighting of one begins the next.
fn next_chunk(sightings: &[Sighting]) -> Option<(&[Sighting], &[Sighting])> {
    let mut keys = HashSet::new();
    let len = sightings.iter().take(CHUNK).take_while(|sighting| keys.insert(sighting.key)).count();
    sightings.split_at_checked(len).filter(|_| len > 0)
}

async fn note_chunk(file: &SqliteFile, chunk: &[Sighting]) -> Result<HashSet<SessionKey>, Fault> {
    let rows = sqlx::query(TOUCH).bind(told(chunk)).fetch_all(file.writer()).await?;
    rows.iter().map(key_of).collect()
}

/// As the statement reads them: `[["KEY", seen, until], …]`.
fn told(chunk: &[Sighting]) -> String {
    let told: Vec<_> = chunk
        .iter()
        .map(|sighting| (sighting.key.hex(), sighting.seen.as_millis(), sighting.expires_at.as_millis()))
        .collect();
    serde_json::to_string(&told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::clock::Timestamp;

    fn sighting(number: usize) -> Sighting {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let at = Timestamp::from_secs(1);
        Sighting { key: SessionKey::from_bytes(key), seen: at, expires_at: at }
    }

    #[test]
    fn a_chunk_is_full_or_ends_before_a_session_comes_again() {
        let lens = |mut rest: &[Sighting]| {
            let mut lens = Vec::new();
            while let Some((chunk, after)) = next_chunk(rest) {
                lens.push(chunk.len());
                rest = after;
            }
            lens
        };
        assert_eq!(lens(&[]), [0_usize; 0]);
        let many: Vec<Sighting> = (0..2 * CHUNK + 1).map(sighting).collect();
        assert_eq!(lens(&many), [CHUNK, CHUNK, 1]);
        assert_eq!(lens(&[sighting(1), sighting(2), sighting(1), sighting(1)]), [2, 1, 1]);
    }

    #[tokio::test]
    async fn sessions_are_found_by_their_key_and_not_read_through() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
        super::super::EmbeddedSessions::open(file.clone()).await.unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {TOUCH}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(plan)).bind("[]").fetch_all(file.writer()).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH session USING INDEX")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN session")), "{steps:?}");
    }
}
