//! From an event to a CloudEvents 1.0 message (JSON, structured mode).
//!
//! | attribute | here |
//! |---|---|
//! | `id` | unique to the event, and the same at every repetition; UUID |
//! | `source` | `event.source`, by default the public address |
//! | `type` | `io.brama.<noun>.<verb>` |
//! | `subject` | the account id, when known |
//! | `time` | when it happened, RFC 3339 in UTC |
//! | `datacontenttype` | `application/json` |
//! | `dataschema` | the definition of `data` in `config/events.schema.json`, which names the version |
//! | `partitionkey` | what order is kept by (CloudEvents partitioning extension) |
//! | `data` | the fields of its type ([`catalogue`](super::catalogue)) |
//!
//! Within a version fields are only ever added. Consumers must ignore what they do not know.

use serde_json::{Map, Value, json};

use super::{Event, What, filter::Types, sink::Letter};
use crate::{clock::Timestamp, identity::Profile, secret};

/// Identifies the schema and its version; the type of the event follows after a `#`.
pub const SCHEMA_ID: &str = "urn:brama:events:v1";

impl What {
    /// The CloudEvents type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccountCreated => "io.brama.account.created",
            Self::SignedIn => "io.brama.session.begun",
            Self::Refused { .. } => "io.brama.login.refused",
            Self::Renewed => "io.brama.session.renewed",
            Self::RenewalFailed { .. } => "io.brama.session.renewal_failed",
            Self::SignedOut { .. } => "io.brama.session.signed_out",
            Self::Revoked { .. } => "io.brama.session.revoked",
            Self::IdentityLinked => "io.brama.identity.linked",
            Self::IdentityUnlinked => "io.brama.identity.unlinked",
            Self::AccountDisabled => "io.brama.account.disabled",
            Self::AccountEnabled => "io.brama.account.enabled",
            Self::AccountDeleted => "io.brama.account.deleted",
        }
    }
}

/// Writes letters: knows where they come from and which are wanted.
#[derive(Debug, Clone)]
pub struct Scribe {
    source: String,
    profile: bool,
    wanted: Vec<Types>,
}

impl Scribe {
    /// Writes what any of `wanted` wants, from `source`; with `profile`, people's addresses and names too.
    pub fn new(source: String, profile: bool, wanted: Vec<Types>) -> Self {
        Self { source, profile, wanted }
    }

    /// The letter of an event; nothing when nobody wants it.
    pub fn letter(&self, event: &Event) -> Option<Letter> {
        let kind = event.what.kind();
        if !self.wanted.iter().any(|types| types.want(kind)) {
            return None;
        }
        let (id, key) = (id(event), key(event));
        let mut message = json!({
            "specversion": "1.0",
            "id": id,
            "source": self.source,
            "type": kind,
            "time": event.at.rfc3339_millis(),
            "datacontenttype": "application/json",
            "dataschema": format!("{SCHEMA_ID}#{kind}"),
            "partitionkey": key,
            "data": self.data(event),
        });
        if let (Some(account), Some(object)) = (event.account, message.as_object_mut()) {
            object.insert("subject".into(), account.to_string().into());
        }
        Some(Letter { id, kind: kind.into(), key, at: event.at, body: message.to_string().into() })
    }

    /// The fields of the event that are known and belong to its type.
    fn data(&self, event: &Event) -> Map<String, Value> {
        let mut data = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(name.to_owned(), value);
            }
        };
        let text = |text: &str| Value::from(text.to_owned());
        put("account", event.account.map(|account| account.to_string().into()));
        put("provider", event.provider.as_ref().map(|provider| text(provider.as_str())));
        put("issuer", event.identity.as_ref().map(|identity| text(identity.issuer.as_str())));
        put("subject", event.identity.as_ref().map(|identity| text(identity.subject.as_str())));
        put("session", event.session.as_deref().map(text));
        put("reason", event.what.reason().map(text));
        put("address", event.address.map(|address| address.to_string().into()));
        put("request", event.request.as_deref().map(text));
        if let Some(profile) = event.profile.as_ref().filter(|_| self.profile) {
            put_profile(profile, &mut put);
        }
        data
    }
}

/// Those of a person's attributes that are told: what a consumer greets or writes to them by.
fn put_profile(profile: &Profile, put: &mut impl FnMut(&str, Option<Value>)) {
    put("email", profile.email.clone().map(Value::from));
    put("email_verified", profile.email.as_ref().map(|_| profile.email_verified.into()));
    put("name", profile.name.clone().map(Value::from));
    put("preferred_username", profile.preferred_username.clone().map(Value::from));
    put("locale", profile.locale.clone().map(Value::from));
}

/// What order is kept by.
fn key(event: &Event) -> String {
    match (event.account, &event.provider) {
        (Some(account), _) => account.to_string(),
        (None, Some(provider)) => provider.to_string(),
        (None, None) => "gateway".to_owned(),
    }
}

/// An account is made once, and an identity tied to it once at a time; after a crash either may be told again, perhaps by
/// somebody else: their ids follow from what they tell of. Other events are told by whoever causes them, who repeats the
/// letter, not the telling.
fn id(event: &Event) -> String {
    match (&event.what, event.account, &event.identity) {
        (What::AccountCreated, Some(account), _) => id_of(&format!("io.brama.account.created {account}")),
        (What::IdentityLinked, Some(account), Some(key)) => id_of(&format!(
            "io.brama.identity.linked {account} {} {} {}",
            event.at.as_millis(),
            key.issuer,
            key.subject
        )),
        _ => fresh_id(event.at),
    }
}

fn id_of(what: &str) -> String {
    let hash = secret::sha256(what.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, of_hash)| *byte = of_hash);
    // Version 8: made our own way (RFC 9562, 5.8).
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn fresh_id(at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &secret::random::<10>()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::catalogue::examples;

    fn scribe(profile: bool) -> Scribe {
        Scribe::new("https://login.example.com".into(), profile, vec![Types::parse(&["*".into()]).unwrap()])
    }

    fn message(letter: &Letter) -> Value {
        serde_json::from_slice(&letter.body).unwrap()
    }

    #[test]
    fn the_attributes_are_those_of_cloudevents() {
        for event in examples() {
            let letter = scribe(true).letter(&event).unwrap();
            let message = message(&letter);
            assert_eq!(message["specversion"], "1.0");
            assert_eq!(message["id"], letter.id);
            assert_eq!(message["type"], letter.kind);
            assert_eq!(message["partitionkey"], letter.key);
            assert_eq!(message["time"], "2026-03-01T09:30:00.125Z");
            assert_eq!(message["dataschema"], format!("urn:brama:events:v1#{}", letter.kind));
            assert_eq!(message["subject"], message["data"]["account"], "{message}");
            assert!(uuid::Uuid::try_parse(&letter.id).is_ok());
        }
    }

    #[test]
    fn what_may_be_told_again_has_one_id_whoever_tells_it_and_other_events_have_their_own() {
        let created = examples().into_iter().find(|event| event.what == What::AccountCreated).unwrap();
        let again = Event { request: None, address: None, at: Timestamp::from_secs(1), ..created.clone() };
        assert_eq!(scribe(true).letter(&created).unwrap().id, scribe(true).letter(&again).unwrap().id);
        let linked = examples().into_iter().find(|event| event.what == What::IdentityLinked).unwrap();
        let again = Event { request: None, ..linked.clone() };
        assert_eq!(scribe(true).letter(&linked).unwrap().id, scribe(true).letter(&again).unwrap().id);
        let later = Event { at: Timestamp::from_secs(1), ..linked.clone() };
        assert_ne!(scribe(true).letter(&linked).unwrap().id, scribe(true).letter(&later).unwrap().id);
        let begun = examples().into_iter().find(|event| event.what == What::SignedIn).unwrap();
        assert_ne!(scribe(true).letter(&begun).unwrap().id, scribe(true).letter(&begun).unwrap().id);
    }

    #[test]
    fn order_is_kept_by_account_then_provider() {
        let refused = Event::new(Timestamp::from_secs(0), What::Refused { reason: "cancelled" });
        assert_eq!(scribe(true).letter(&refused).unwrap().key, "gateway");
        let by_google = Event { provider: Some(crate::identity::ProviderName::new("google")), ..refused };
        assert_eq!(scribe(true).letter(&by_google).unwrap().key, "google");
    }

    #[test]
    fn without_profile_no_address_and_no_name_is_told() {
        for event in examples() {
            let text = String::from_utf8(scribe(false).letter(&event).unwrap().body.to_vec()).unwrap();
            assert!(!text.contains("olena@example.com") && !text.contains("Olena"), "{text}");
        }
    }

    #[test]
    fn what_nobody_wants_is_not_written() {
        let scribe = Scribe::new("s".into(), true, vec![Types::parse(&["io.brama.account.*".into()]).unwrap()]);
        let written = examples().iter().filter(|event| scribe.letter(event).is_some()).count();
        assert_eq!(written, 4);
    }
}
