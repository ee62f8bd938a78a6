//! What the store holds of a session: its facts, and what no request needs.
//!
//! The two are types apart, so that nothing lossy is ever written back: the cache and the requests have a [`Session`],
//! facts alone; only a [`Record`] can be sealed into the store, and only one that was read from there for it
//! ([`Found`]) can be replaced.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Session, SessionKey};
use crate::clock::Timestamp;

/// A session's record: sealed JSON under its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Who it is, and until when.
    #[serde(flatten)]
    pub session: Session,
    /// The browser, for the person's list of sessions: the User-Agent cut to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The provider's tokens, sealed with a key that needs the session id; base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
}

/// A record as the store has it now.
#[derive(Debug, Clone)]
pub struct Found {
    /// The key it was read under.
    pub key: SessionKey,
    /// What it says.
    pub record: Record,
    /// Which of its versions this is.
    pub version: u64,
    /// When the session was last used, to the minute.
    pub last_seen: Timestamp,
}

/// What a record holds beside the facts.
#[derive(Deserialize)]
struct Beside {
    #[serde(default)]
    user_agent: Option<String>,
    #[serde(default)]
    tokens: Option<String>,
}

impl Record {
    /// Reads the JSON of a record.
    ///
    /// Twice, each time passing over what the other takes: serde's flatten would copy every value first.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let Beside { user_agent, tokens } = serde_json::from_slice(json).ok()?;
        Some(Self { session: Self::only_facts(json)?, user_agent, tokens })
    }

    /// Reads the facts of a record and passes over the rest.
    pub(super) fn only_facts(json: &[u8]) -> Option<Session> {
        serde_json::from_slice(json).ok()
    }

    /// Reads a record's tokens, still sealed, and passes over the rest.
    pub(super) fn only_tokens(json: &[u8]) -> Option<Vec<u8>> {
        unwrapped(serde_json::from_slice::<Beside>(json).ok()?.tokens.as_deref()?)
    }

    /// The tokens, still sealed.
    pub(super) fn sealed_tokens(&self) -> Option<Vec<u8>> {
        unwrapped(self.tokens.as_deref()?)
    }
}

/// Sealed tokens as a record writes them.
pub(super) fn wrapped(sealed: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(sealed)
}

fn unwrapped(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by 0.1.0, field by field: stores are full of these.
    const OLD: &str = r#"{"account":"0190163d-8694-739b-aea5-966c26f8ad90","origin":{"provider":"google","issuer":"https://accounts.google.com","subject":"42","at":1700000000000,"acr":"1","amr":["pwd","otp"],"sid":"s"},"profile":{"email":"o@example.com","email_verified":true,"name":"Олена","groups":["a","b"],"claims":{"hd":"example.com","level":2}},"created_at":1700000000001,"ends_at":1700000600000,"renew_at":1700000300000,"user_agent":"Firefox","tokens":"c2VhbGVk"}"#;

    #[test]
    fn an_old_record_is_read_and_written_byte_for_byte_as_it_was() {
        let record = Record::read(OLD.as_bytes()).unwrap();
        assert_eq!(record.user_agent.as_deref(), Some("Firefox"));
        assert_eq!(record.sealed_tokens().as_deref(), Some(b"sealed".as_slice()));
        assert_eq!(record.session.profile.claims["level"], 2);
        assert_eq!(serde_json::to_string(&record).unwrap(), OLD);
    }

    #[test]
    fn facts_and_tokens_are_read_by_themselves() {
        let record = Record::read(OLD.as_bytes()).unwrap();
        assert_eq!(Record::only_facts(OLD.as_bytes()).unwrap(), record.session);
        assert_eq!(Record::only_tokens(OLD.as_bytes()), record.sealed_tokens());
    }

    #[test]
    fn a_record_without_browser_and_tokens_says_nothing_of_them() {
        let (bare, _) = OLD.split_once(r#","renew_at""#).unwrap();
        let bare = format!("{bare}}}");
        let record = Record::read(bare.as_bytes()).unwrap();
        assert_eq!((&record.user_agent, &record.tokens, record.session.renew_at), (&None, &None, None));
        assert_eq!(Record::only_tokens(bare.as_bytes()), None);
        assert_eq!(serde_json::to_string(&record).unwrap(), bare);
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        for json in ["", "{}", "[]", r#"{"tokens":"x"}"#] {
            assert!(Record::read(json.as_bytes()).is_none(), "{json}");
        }
    }
}
