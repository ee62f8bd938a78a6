//! One line a request, for people or for machines.
//!
//! What a stranger chose (host, path, method) is escaped, query values are never written: they hold codes, tokens and
//! searches. Written off the data path by [`lines`](super::lines).

use std::{io, io::Write as _, net::IpAddr, time::Duration};

use prometheus_client::metrics::counter::Counter;

use super::{
    field,
    lines::{Lines, Producer},
};
use crate::{
    clock::Timestamp,
    config::telemetry::{LineFormat, Telemetry},
    identity::AccountId,
};

/// One answered request.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When it came.
    pub at: Timestamp,
    /// Its reference, as shown on error pages.
    pub request: &'a str,
    /// Who really calls.
    pub peer: Option<IpAddr>,
    /// Method.
    pub method: &'a str,
    /// Host as asked for.
    pub host: &'a str,
    /// Path, with or without its query: the query's values are not written.
    pub target: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// From the first byte of the request to the last of the answer.
    pub took: Duration,
    /// Upstream that answered.
    pub upstream: Option<&'a str>,
    /// Whose session it was.
    pub account: Option<AccountId>,
    /// By which provider they came.
    pub provider: Option<&'a str>,
    /// Route that matched.
    pub route: Option<&'a str>,
    /// Why it was refused, a short stable word.
    pub denial: Option<&'a str>,
}

/// The access log: hands each worker its own end.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: Lines,
    json: bool,
}

/// One worker's end of the access log. Saying a line never waits.
#[derive(Debug)]
pub struct WorkerAccessLog {
    producer: Producer,
    json: bool,
}

impl AccessLog {
    /// Opens it; `None` when it is off. Lines that had to be dropped are counted in `dropped`
    /// ([`Metrics::dropped_lines`](super::metrics::Metrics::dropped_lines)).
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn open(config: &Telemetry, dropped: Counter) -> io::Result<Option<Self>> {
        if config.access_log == LineFormat::Off {
            return Ok(None);
        }
        let lines = Lines::open("access-log", &config.access_log_to, dropped)?;
        Ok(Some(Self { lines, json: config.access_log == LineFormat::Json }))
    }

    /// A worker's own end.
    pub fn worker(&self) -> WorkerAccessLog {
        WorkerAccessLog { producer: self.lines.producer(), json: self.json }
    }
}

impl WorkerAccessLog {
    /// Writes one request down.
    pub fn write(&self, record: &Record<'_>) {
        self.producer.say(|line| if self.json { json(line, record) } else { human(line, record) });
    }
}

/// The path, and what stands for a query that is not written.
fn without_query(target: &str) -> (&str, &'static str) {
    match target.split_once('?') {
        Some((path, _)) => (path, "?…"),
        None => (target, ""),
    }
}

fn json(line: &mut Vec<u8>, record: &Record<'_>) {
    let (path, query) = without_query(record.target);
    let _ = write!(line, "{{\"{}\":\"{}\"", field::TIME, Precise(record.at));
    text(line, field::REQUEST, record.request, "");
    if let Some(peer) = record.peer {
        let _ = write!(line, ",\"{}\":\"{peer}\"", field::PEER);
    }
    text(line, field::METHOD, record.method, "");
    text(line, field::HOST, record.host, "");
    text(line, field::PATH, path, query);
    let _ = write!(
        line,
        ",\"{}\":{},\"{}\":{},\"{}\":{:.3}",
        field::STATUS,
        record.status,
        field::BYTES,
        record.bytes,
        field::DURATION,
        record.took.as_secs_f64() * 1000.0
    );
    if let Some(account) = record.account {
        let _ = write!(line, ",\"{}\":\"{account}\"", field::ACCOUNT);
    }
    for (name, value) in optional(record) {
        if let Some(value) = value {
            text(line, name, value, "");
        }
    }
    line.push(b'}');
}

fn human(line: &mut Vec<u8>, record: &Record<'_>) {
    let (path, query) = without_query(record.target);
    let _ = write!(line, "{} ", Precise(record.at));
    let _ = match record.peer {
        Some(peer) => write!(line, "{peer} "),
        None => write!(line, "- "),
    };
    word(line, record.method);
    line.push(b' ');
    word(line, record.host);
    word(line, path);
    let _ = write!(line, "{query} {} {} B {:.1} ms", record.status, record.bytes, record.took.as_secs_f64() * 1000.0);
    if let Some(account) = record.account {
        let _ = write!(line, " {}={account}", field::ACCOUNT);
    }
    for (name, value) in optional(record) {
        if let Some(value) = value {
            let _ = write!(line, " {name}=");
            word(line, value);
        }
    }
    let _ = write!(line, " {}=", field::REQUEST);
    word(line, record.request);
}

fn optional<'a>(record: &Record<'a>) -> [(&'static str, Option<&'a str>); 4] {
    [
        (field::PROVIDER, record.provider),
        (field::ROUTE, record.route),
        (field::UPSTREAM, record.upstream),
        (field::DENIAL, record.denial),
    ]
}

/// A time to the millisecond.
struct Precise(Timestamp);

impl std::fmt::Display for Precise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0.as_millis()) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// A JSON member whose value is text.
fn text(line: &mut Vec<u8>, name: &str, value: &str, tail: &str) {
    let _ = write!(line, ",\"{name}\":");
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if value.bytes().all(plain) {
        line.push(b'"');
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(tail.as_bytes());
        line.push(b'"');
    } else {
        let _ = serde_json::to_writer(&mut *line, &format!("{value}{tail}"));
    }
}

/// A word of a human line: whatever is not plainly visible is escaped, spaces too.
fn word(line: &mut Vec<u8>, value: &str) {
    if !value.is_empty() && value.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\') {
        line.extend_from_slice(value.as_bytes());
        return;
    }
    if value.is_empty() {
        line.push(b'-');
    }
    for c in value.chars() {
        match c {
            ' ' => line.extend_from_slice(b"\\x20"),
            c => {
                let _ = write!(line, "{}", c.escape_debug());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::config::telemetry::Destination;

    fn record<'a>() -> Record<'a> {
        Record {
            at: Timestamp::from_millis(1_764_045_021_123),
            request: "0198c0de",
            peer: Some(IpAddr::from([192, 0, 2, 1])),
            method: "GET",
            host: "app.example.com",
            target: "/reports?code=hunter2&x=1",
            status: 200,
            bytes: 1234,
            took: Duration::from_micros(12_345),
            upstream: Some("127.0.0.1:8080"),
            account: AccountId::parse("01993bb0-0000-7000-8000-000000000001"),
            provider: Some("google"),
            route: Some("/reports"),
            denial: None,
        }
    }

    fn written(record: &Record<'_>, format: fn(&mut Vec<u8>, &Record<'_>)) -> String {
        let mut line = Vec::new();
        format(&mut line, record);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_says_what_happened_and_no_query_value() {
        assert_eq!(
            written(&record(), human),
            "2025-11-25T04:30:21.123Z 192.0.2.1 GET app.example.com/reports?… 200 1234 B 12.3 ms \
             account.id=01993bb0-0000-7000-8000-000000000001 provider=google route=/reports \
             upstream.address=127.0.0.1:8080 request.id=0198c0de"
        );
        let line: serde_json::Value = serde_json::from_str(&written(&record(), json)).unwrap();
        assert_eq!(line["http.path"], "/reports?…");
        assert_eq!(line["duration_ms"], 12.345);
        assert_eq!(line["account.id"], "01993bb0-0000-7000-8000-000000000001");
        assert!(line.get("denial").is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_stays_one_line(host: String, target: String, method: String) {
            let record = Record { host: &host, target: &target, method: &method, ..record() };
            let line = written(&record, human);
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            let line = written(&record, json);
            prop_assert!(!line.contains('\n'));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(line["http.host"].as_str(), Some(host.as_str()));
        }
    }

    #[test]
    fn it_is_written_to_its_file_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut config: Telemetry = crate::config::value::all_defaults().unwrap();
        assert!(AccessLog::open(&config, Counter::default()).unwrap().is_none());
        config.access_log = LineFormat::Json;
        config.access_log_to = Destination::File(path.clone());
        let log = AccessLog::open(&config, Counter::default()).unwrap().unwrap();
        let worker = log.worker();
        worker.write(&record());
        drop((worker, log));
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}
