//! Every type of event, field by field: the source of `config/events.schema.json` and `docs/events.md`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    Event, What,
    filter::Types,
    schema::{SCHEMA_ID, Scribe},
};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Issuer, Profile, ProviderName, Subject},
};

/// A type of event.
#[derive(Debug)]
pub struct Entry {
    /// CloudEvents type.
    pub kind: &'static str,
    /// When it is told.
    pub doc: &'static str,
    /// Fields of `data` that are always there.
    pub required: &'static [&'static str],
    /// Fields of `data` that are there when known.
    pub optional: &'static [&'static str],
}

/// A field of `data`.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type.
    pub json: &'static str,
    /// Meaning and form.
    pub doc: &'static str,
}

/// The fields there are. A name means the same in every type of event.
pub const FIELDS: &[Field] = &[
    Field { name: "account", json: "string", doc: "Whose account: its id, a UUID; also the attribute subject." },
    Field { name: "provider", json: "string", doc: "By which provider: the operator's name for it." },
    Field { name: "issuer", json: "string", doc: "Who vouches for the identity: the issuer in its exact spelling." },
    Field { name: "subject", json: "string", doc: "The issuer's identifier of the person." },
    Field {
        name: "session",
        json: "string",
        doc: "Which session: 16 hexadecimal digits, the same in every event of one session. It opens nothing.",
    },
    Field { name: "reason", json: "string", doc: "Why: a short, stable word." },
    Field { name: "address", json: "string", doc: "From which IP address, when a request caused the event." },
    Field {
        name: "request",
        json: "string",
        doc: "The reference of the request that caused it, as in the access log.",
    },
    Field {
        name: "email",
        json: "string",
        doc: "E-mail address as the provider tells it (off with event.profile = false).",
    },
    Field { name: "email_verified", json: "boolean", doc: "Whether the provider proved control of that address." },
    Field { name: "name", json: "string", doc: "Display name (off with event.profile = false)." },
    Field { name: "preferred_username", json: "string", doc: "A login or the like for display; people can change it." },
    Field { name: "locale", json: "string", doc: "BCP 47 language tag." },
];

const PERSON: &[&str] =
    &["issuer", "subject", "email", "email_verified", "name", "preferred_username", "locale", "address", "request"];
const CALLER: &[&str] = &["provider", "address", "request"];
const IDENTITY: &[&str] = &["account", "issuer", "subject"];

/// Every type of event, in the order of an account's life.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        kind: "io.brama.account.created",
        doc: "A first sign-in made an account. Its id follows from the account: it may be told twice, and is then the same event.",
        required: &["account", "provider"],
        optional: PERSON,
    },
    Entry {
        kind: "io.brama.session.begun",
        doc: "Somebody signed in.",
        required: &["account", "provider", "session"],
        optional: PERSON,
    },
    Entry {
        kind: "io.brama.login.refused",
        doc: "A sign-in was refused or failed. Ordered by provider, since no account is known.",
        required: &["reason"],
        optional: &["account", "provider", "address", "request"],
    },
    Entry {
        kind: "io.brama.session.renewed",
        doc: "A session was renewed at its provider.",
        required: &["account", "provider", "session"],
        optional: &[],
    },
    Entry {
        kind: "io.brama.session.renewal_failed",
        doc: "A renewal failed for now; the session goes on and it is tried again.",
        required: &["account", "provider", "session", "reason"],
        optional: &[],
    },
    Entry {
        kind: "io.brama.session.signed_out",
        doc: "The person ended a session: this one, or from another browser. One event a session.",
        required: &["account", "session"],
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.session.revoked",
        doc: "Someone or something else ended a session: the provider, an operator. One event a session.",
        required: &["account", "session", "reason"],
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.identity.linked",
        doc: "An account was tied to one more identity, by a second sign-in. Its id follows from the linking: it may be told twice, and is then the same event.",
        required: IDENTITY,
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.identity.unlinked",
        doc: "An account is no longer tied to an identity.",
        required: IDENTITY,
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.account.disabled",
        doc: "An account was shut: no sign-in, no session.",
        required: &["account"],
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.account.enabled",
        doc: "An account was opened again.",
        required: &["account"],
        optional: CALLER,
    },
    Entry {
        kind: "io.brama.account.deleted",
        doc: "An account is no more: consumers must erase what they keep of it.",
        required: &["account"],
        optional: CALLER,
    },
];

/// The JSON Schema (draft 2020-12) of all events.
pub fn json_schema() -> Value {
    let definitions: Map<String, Value> =
        CATALOGUE.iter().map(|entry| (entry.kind.to_owned(), definition(entry))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Events of Brama: CloudEvents 1.0, structured JSON",
        "oneOf": CATALOGUE.iter().map(|entry| json!({"$ref": format!("#/$defs/{}", entry.kind)})).collect::<Vec<_>>(),
        "$defs": definitions,
    })
}

/// Further attributes and fields are allowed: consumers must ignore what they do not know.
fn definition(entry: &Entry) -> Value {
    json!({
        "$anchor": entry.kind,
        "description": entry.doc,
        "type": "object",
        "required": [
            "specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "partitionkey", "data"
        ],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid", "description": "The same at every repetition: drop duplicates by it."},
            "source": {"type": "string", "format": "uri-reference", "minLength": 1},
            "type": {"const": entry.kind},
            "time": {"type": "string", "format": "date-time"},
            "subject": {"type": "string", "description": "The account id, when known."},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"const": format!("{SCHEMA_ID}#{}", entry.kind)},
            "partitionkey": {"type": "string", "description": "Events of one key come in order."},
            "data": {
                "type": "object",
                "required": entry.required,
                "properties": entry.fields().map(|field| {
                    (field.name.to_owned(), json!({"type": field.json, "description": field.doc}))
                }).collect::<Map<_, _>>(),
            },
        },
    })
}

impl Entry {
    /// All its fields, in the order of [`FIELDS`].
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        FIELDS.iter().filter(|field| self.required.contains(&field.name) || self.optional.contains(&field.name))
    }
}

/// The part of `docs/events.md` that is about single types: their fields and an example of each.
pub fn markdown() -> String {
    let mut out = String::new();
    let patterns = Types::parse(&["*".to_owned()]);
    let scribe = Scribe::new("https://login.example.com".to_owned(), true, patterns.into_iter().collect());
    for (entry, event) in CATALOGUE.iter().zip(examples()) {
        let _ = write!(out, "### `{}`\n\n{}\n\n| field | | meaning |\n|---|---|---|\n", entry.kind, entry.doc);
        for field in entry.fields() {
            let always = if entry.required.contains(&field.name) { "always" } else { "when known" };
            let _ = writeln!(out, "| `{}` | {}, {always} | {} |", field.name, field.json, field.doc);
        }
        let message = scribe.letter(&event).and_then(|letter| serde_json::from_slice::<Value>(&letter.body).ok());
        if let Some(mut message) = message {
            // An id that is made afresh each time stands still in the documentation.
            if let Some(id) = message.get_mut("id").filter(|_| event.what != What::AccountCreated) {
                *id = "019ca872-72bd-7a01-8c3f-5b1d7c0e9a42".into();
            }
            let _ = write!(out, "\n```json\n{message:#}\n```\n\n");
        }
    }
    out
}

/// One event of each type, in the order of the catalogue, with everything it can hold.
pub fn examples() -> Vec<Event> {
    let identity = || {
        Some(IdentityKey {
            issuer: Issuer::new("https://accounts.google.com"),
            subject: Subject::new("110248495921238986420"),
        })
    };
    let of = |what: What| Event {
        account: AccountId::parse("019ca871-11f0-7c52-9d0e-2f6a8b3c4d5e"),
        ..Event::new(Timestamp::from_millis(1_772_357_400_125), what)
    };
    let by_browser = |what: What| Event {
        provider: Some(ProviderName::new("google")),
        address: Some([192, 0, 2, 7].into()),
        request: Some("01k8x3t9f2".to_owned()),
        ..of(what)
    };
    let of_session = |event: Event| event.of_session("5f0c6a1de2b34c77a9");
    let profile = || {
        Some(Profile {
            email: Some("olena@example.com".to_owned()),
            email_verified: true,
            name: Some("Olena Kovalenko".to_owned()),
            preferred_username: Some("olena".to_owned()),
            locale: Some("uk".to_owned()),
            ..Profile::default()
        })
    };
    let at_provider = |what: What| Event { address: None, request: None, ..of_session(by_browser(what)) };
    vec![
        Event { identity: identity(), profile: profile(), ..by_browser(What::AccountCreated) },
        Event { identity: identity(), profile: profile(), ..of_session(by_browser(What::SignedIn)) },
        Event { account: None, ..by_browser(What::Refused { reason: "cancelled" }) },
        at_provider(What::Renewed),
        at_provider(What::RenewalFailed { reason: "unavailable" }),
        of_session(by_browser(What::SignedOut { sessions: 1 })),
        at_provider(What::Revoked { reason: "grant_refused" }),
        Event { identity: identity(), ..by_browser(What::IdentityLinked) },
        Event { identity: identity(), ..by_browser(What::IdentityUnlinked) },
        of(What::AccountDisabled),
        of(What::AccountEnabled),
        of(What::AccountDeleted),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Value> {
        let scribe = Scribe::new("https://login.example.com".into(), true, vec![Types::parse(&["*".into()]).unwrap()]);
        examples().iter().map(|event| serde_json::from_slice(&scribe.letter(event).unwrap().body).unwrap()).collect()
    }

    #[test]
    fn every_example_is_of_its_type_and_holds_what_the_catalogue_says_and_no_more() {
        let messages = messages();
        assert_eq!(messages.len(), CATALOGUE.len());
        for (entry, message) in CATALOGUE.iter().zip(&messages) {
            assert_eq!(message["type"], entry.kind);
            let data = message["data"].as_object().unwrap();
            for name in entry.required {
                assert!(data.contains_key(*name), "{}: {name} is missing", entry.kind);
            }
            for (name, value) in data {
                let field = entry.fields().find(|field| field.name == name);
                let field = field.unwrap_or_else(|| panic!("{}: {name} is not in the catalogue", entry.kind));
                let fits = match field.json {
                    "boolean" => value.is_boolean(),
                    _ => value.is_string(),
                };
                assert!(fits, "{}: {name} = {value}", entry.kind);
            }
        }
    }

    #[test]
    fn every_name_in_the_catalogue_is_a_field() {
        for entry in CATALOGUE {
            for name in entry.required.iter().chain(entry.optional) {
                assert!(FIELDS.iter().any(|field| field.name == *name), "{}: {name}", entry.kind);
            }
        }
    }

    /// Where the tests write what they would compare with, when asked to.
    fn wanted(path: &str) -> Option<std::path::PathBuf> {
        std::env::var_os("BRAMA_WRITE_DOCS").map(|_| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
    }

    #[test]
    fn the_committed_schema_is_in_step() {
        if let Some(path) = wanted("config/events.schema.json") {
            return std::fs::write(path, format!("{:#}\n", json_schema())).unwrap();
        }
        let committed = include_str!("../../config/events.schema.json");
        assert!(committed == format!("{:#}\n", json_schema()), "run `brama events schema > config/events.schema.json`");
    }

    const MARK: &str = "<!-- Generated from here on. -->\n\n";

    #[test]
    fn the_page_for_consumers_is_in_step() {
        let page = include_str!("../../docs/events.md");
        let (before, types) = page.split_once(MARK).expect("a mark before the types");
        if let Some(path) = wanted("docs/events.md") {
            return std::fs::write(path, format!("{before}{MARK}{}", markdown())).unwrap();
        }
        assert!(types == markdown(), "run the tests with BRAMA_WRITE_DOCS=1 to write docs/events.md anew");
    }
}
