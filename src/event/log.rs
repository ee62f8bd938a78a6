//! The audit log: one line an event, as JSON or for people.
//!
//! Telling never waits: lines are written by a thread of their own, and one that had to be dropped is counted.

use std::io::{self, Write as _};

use prometheus_client::metrics::counter::Counter;

use super::{Event, What};
use crate::{
    config::telemetry::{LineFormat, Telemetry},
    telemetry::{
        field,
        lines::{Lines, Producer},
    },
};

/// Writes every event down.
#[derive(Debug)]
pub struct AuditLog {
    producer: Producer,
    json: bool,
}

impl AuditLog {
    /// Opens it; `None` when it is off. Lines that had to be dropped are counted in `dropped`.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn open(config: &Telemetry, dropped: Counter) -> io::Result<Option<Self>> {
        if config.audit_log == LineFormat::Off {
            return Ok(None);
        }
        let lines = Lines::open("audit-log", &config.audit_log_to, dropped)?;
        Ok(Some(Self { producer: lines.producer(), json: config.audit_log == LineFormat::Json }))
    }

    /// Writes one event down.
    pub fn tell(&self, event: &Event) {
        self.producer.say(|line| if self.json { json(line, event) } else { human(line, event) });
    }
}

/// A JSON object with the names of [`field`].
fn json(line: &mut Vec<u8>, event: &Event) {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: serde_json::Value| object.insert(name.to_owned(), value);
    put(field::TIME, event.at.to_string().into());
    put(field::EVENT, event.what.name().into());
    if let Some(reason) = event.what.reason() {
        put(field::REASON, reason.into());
    }
    if let What::SignedOut { sessions } = event.what {
        put(field::SESSIONS, sessions.into());
    }
    for (name, value) in optional(event) {
        if let Some(value) = value {
            put(name, value.into());
        }
    }
    // A map of texts and numbers always serialises.
    let _ = serde_json::to_writer(line, &object);
}

fn human(line: &mut Vec<u8>, event: &Event) {
    let _ = write!(line, "{} audit {}", event.at, event.what.name());
    if let Some(reason) = event.what.reason() {
        let _ = write!(line, " {}={reason}", field::REASON);
    }
    if let What::SignedOut { sessions } = event.what {
        let _ = write!(line, " {}={sessions}", field::SESSIONS);
    }
    for (name, value) in optional(event) {
        if let Some(value) = value {
            let _ = write!(line, " {name}={}", value.escape_debug());
        }
    }
}

fn optional(event: &Event) -> [(&'static str, Option<String>); 4] {
    [
        (field::ACCOUNT, event.account.map(|account| account.to_string())),
        (field::PROVIDER, event.provider.as_ref().map(ToString::to_string)),
        (field::PEER, event.address.map(|address| address.to_string())),
        (field::REQUEST, event.request.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{clock::Timestamp, config::telemetry::Destination, identity::ProviderName};

    fn event() -> Event {
        Event {
            provider: Some(ProviderName::new("google")),
            address: Some([192, 0, 2, 1].into()),
            request: Some("0198\nforged".to_owned()),
            ..Event::new(Timestamp::from_secs(0), What::Refused { reason: "email_domain" })
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let mut line = Vec::new();
        human(&mut line, &event());
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "1970-01-01T00:00:00Z audit refused reason=email_domain provider=google peer.address=192.0.2.1 \
             request.id=0198\\nforged"
        );
    }

    #[test]
    fn what_was_told_is_in_the_file_when_the_log_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut config: Telemetry = crate::config::value::all_defaults().unwrap();
        config.audit_log_to = Destination::File(path.clone());
        let log = AuditLog::open(&config, Counter::default()).unwrap().unwrap();
        log.tell(&event());
        drop(log);
        let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(line["event"], "refused");
        assert_eq!(line["reason"], "email_domain");
        assert_eq!(line["request.id"], "0198\nforged");
    }
}
