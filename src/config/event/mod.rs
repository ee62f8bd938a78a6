//! `[event]`: what happened, told to brokers, web addresses and files.
//!
//! Each sink is a table the operator names, `[event.sink.NAME]`, with its kind and the table of that kind below it.

use std::{collections::BTreeMap, time::Duration};

use super::problem::Problems;
use super::value::{At, Check, choice, section};

pub mod file;
pub mod kafka;
pub mod rabbitmq;
pub mod webhook;

choice! {
    /// What gives way when events wait beyond a bound.
    pub enum WhenFull {
        /// The oldest waiting events; each is counted, and the log says so.
        DropOldest = "drop_oldest",
        /// New logins, until events flow again: for those who must be able to prove every sign-in.
        RefuseLogins = "refuse_logins",
    }
}

choice! {
    /// What kind of sink it is.
    pub enum Kind {
        /// A RabbitMQ exchange.
        RabbitMq = "rabbitmq",
        /// A Kafka topic.
        Kafka = "kafka",
        /// An HTTP address, with signed requests (Standard Webhooks).
        Webhook = "webhook",
        /// A file of JSON lines.
        File = "file",
    }
}

section! {
    /// Events: account, session and security events as CloudEvents, kept beside the sessions until every sink below has them.
    /// Without a sink none are kept; the audit log (section telemetry) is apart from this.
    pub struct Event {
        /// The most events that may wait for a sink that does not take them.
        max_count: u64 = 200_000,
        /// The longest an event may wait.
        max_age: Duration = Duration::from_secs(7 * 24 * 3600),
        /// What gives way beyond these bounds.
        when_full: WhenFull = WhenFull::DropOldest,
        /// CloudEvents source, which says where events come from; by default portal.public_url.
        source: Option<String> = None,
        /// Put e-mail address and names of the person into the events that an account was made and a session begun.
        profile: bool = true,
        /// Where events go, by the name the operator chose.
        sink: BTreeMap<String, Sink> = BTreeMap::new(),
    }
}

section! {
    /// One place where events go. Each gets all of them in order per account, at its own pace, at least once.
    pub struct Sink {
        /// Kind of sink; its settings are in the table of the same name.
        kind: Kind,
        /// Which events: full types such as "io.brama.session.begun", or beginnings such as "io.brama.session.*".
        types: Vec<String> = vec!["*".into()],
        /// For kind = "rabbitmq".
        rabbitmq: Option<rabbitmq::RabbitMq> = None,
        /// For kind = "kafka".
        kafka: Option<kafka::Kafka> = None,
        /// For kind = "webhook".
        webhook: Option<webhook::Webhook> = None,
        /// For kind = "file".
        file: Option<file::File> = None,
    }
}

impl Check for Event {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if self.max_count == 0 || self.max_age.is_zero() {
            let key = if self.max_count == 0 { "max_count" } else { "max_age" };
            at.problem_at(key, problems, "no event could wait, not even for a moment", "give a bound above 0");
        }
        let Some(sinks) = at.child("sink") else { return };
        for (name, span) in sinks.names() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
                problems.add(
                    span,
                    &sinks.path(name),
                    format!("\"{}\" cannot be the name of a sink", name.escape_debug()),
                    "use up to 40 lower-case letters, digits, dashes and underscores",
                );
            }
        }
    }
}

impl Check for Sink {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let given = [
            (Kind::RabbitMq, self.rabbitmq.is_some()),
            (Kind::Kafka, self.kafka.is_some()),
            (Kind::Webhook, self.webhook.is_some()),
            (Kind::File, self.file.is_some()),
        ];
        for (kind, given) in given {
            let word = kind.word();
            if kind == self.kind && !given {
                at.problem_at(
                    "kind",
                    problems,
                    format!("kind = \"{word}\" needs the table [{}.{word}]", at.key()),
                    format!("add [{}.{word}] with its settings", at.key()),
                );
            } else if kind != self.kind && given {
                at.problem_at(
                    word,
                    problems,
                    format!("this sink is of kind \"{}\", so the table is not used", self.kind.word()),
                    "remove the table, or change kind",
                );
            }
        }
        for pattern in &self.types {
            let fixed = pattern.strip_suffix('*').unwrap_or(pattern);
            let known = fixed.is_empty() || fixed.starts_with("io.brama.");
            if pattern.is_empty() || fixed.contains('*') || !known {
                at.problem_at(
                    "types",
                    problems,
                    format!("\"{}\" names no event", pattern.escape_debug()),
                    "write a type such as \"io.brama.session.begun\", or a beginning such as \"io.brama.session.*\"",
                );
            }
        }
        if self.types.is_empty() {
            at.problem_at(
                "types",
                problems,
                "the list is empty, so nothing would be sent",
                "name types, or leave it out",
            );
        }
    }
}

/// Says when a client certificate comes without its key, or the other way round.
fn check_client_certificate(cert: bool, key: bool, at: &At<'_>, problems: &mut Problems) {
    if cert != key {
        at.problem_at(
            "cert_file",
            problems,
            "a client certificate needs both cert_file and key_file",
            "give both or neither",
        );
    }
}

/// Says when a secret `name` is given twice.
fn check_given_once(name: &str, inline: bool, file: bool, at: &At<'_>, problems: &mut Problems) {
    if inline && file {
        at.problem_at(
            name,
            problems,
            format!("the {name} is given twice"),
            format!("keep {name}_file and drop {name}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::load::{self, tests::LEAST};

    fn problems(text: &str) -> Vec<(String, String)> {
        let (_, problems) = load::read(Path::new("brama.toml"), &format!("{LEAST}\n{text}"));
        problems.into_iter().map(|problem| (problem.key, problem.what)).collect()
    }

    #[test]
    fn sound_sinks_of_every_kind_are_taken() {
        let text = r#"
            [event.sink.bus]
            kind = "rabbitmq"
            types = ["io.brama.session.*", "io.brama.account.created"]
            [event.sink.bus.rabbitmq]
            url = "amqps://bus.example:5671/people"
            [event.sink.log]
            kind = "kafka"
            [event.sink.log.kafka]
            brokers = ["kafka.example:9092"]
            [event.sink.hook]
            kind = "webhook"
            [event.sink.hook.webhook]
            url = "https://hooks.example/brama"
            secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            [event.sink.lines]
            kind = "file"
            [event.sink.lines.file]
            path = "events.jsonl"
        "#;
        assert_eq!(problems(text), []);
    }

    #[test]
    fn contradictions_are_told_by_their_keys() {
        let text = r#"
            [event]
            max_count = 0
            [event.sink.Bad]
            kind = "file"
            types = ["com.example.*", "io.*.x", ""]
            [event.sink.Bad.webhook]
            url = "http://hooks.example/brama"
            [event.sink.bus]
            kind = "rabbitmq"
            [event.sink.bus.rabbitmq]
            url = "http://bus.example"
            cert_file = "a.pem"
            [event.sink.log]
            kind = "kafka"
            [event.sink.log.kafka]
            brokers = ["kafka.example"]
            sasl = "plain"
        "#;
        let keys: Vec<String> = problems(text).into_iter().map(|(key, _)| key).collect();
        for key in [
            "event.max_count",
            "event.sink.Bad",
            "event.sink.Bad.kind",
            "event.sink.Bad.types",
            "event.sink.Bad.webhook",
            "event.sink.Bad.webhook.url",
            "event.sink.Bad.webhook.secret_file",
            "event.sink.bus.rabbitmq.url",
            "event.sink.bus.rabbitmq.cert_file",
            "event.sink.log.kafka.brokers",
            "event.sink.log.kafka.username",
        ] {
            assert!(keys.iter().any(|found| found == key), "{key} is not among {keys:?}");
        }
    }
}
