//! Real brokers for tests: each on free ports of the loopback, in a folder of its own, gone with the test process.

#[cfg(feature = "event-kafka")]
pub(crate) mod kafka;
mod leash;
#[cfg(feature = "event-rabbitmq")]
pub(crate) mod rabbitmq;

use std::{collections::HashMap, fs, net::TcpListener, path::Path, time::Duration};

use super::sink::{EventSink, Letter, Undelivered, Why};
use crate::clock::Timestamp;

/// Longest a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `count` letters of `keys` accounts in turn. `name` keeps apart the tests that share a broker.
pub(crate) fn letters(name: &str, count: usize, keys: usize) -> Vec<Letter> {
    (0..count).map(|number| letter(name, number, number % keys)).collect()
}

fn letter(name: &str, number: usize, key: usize) -> Letter {
    let kind = "io.brama.session.begun";
    let id = format!("{name}-{number:06}");
    let key = format!("{name}-account-{key}");
    let body = serde_json::json!({ "specversion": "1.0", "id": id, "type": kind, "subject": key, "data": number });
    Letter {
        body: body.to_string().into(),
        id,
        kind: kind.to_owned(),
        key,
        at: Timestamp::from_secs(1_700_000_000 + i64::try_from(number).unwrap()),
    }
}

/// What a consumer keeps of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

/// Asserts that every one of `sent` came, unchanged, in its place among those of its key, once a consumer has dropped
/// what it knows by id; and that nothing else came.
pub(crate) fn assert_all_came_in_order(sent: &[Letter], received: &[Received]) {
    let mut seen = std::collections::HashSet::new();
    let first: Vec<_> = received.iter().filter(|message| seen.insert(message.id.as_str())).collect();
    let known: HashMap<_, _> = sent.iter().map(|letter| (letter.id.as_str(), letter)).collect();
    let mut came: HashMap<&str, Vec<&str>> = HashMap::new();
    for message in &first {
        let letter = known.get(message.id.as_str()).unwrap_or_else(|| panic!("{} was never sent", message.id));
        assert_eq!(letter.body, message.body, "{}", message.id);
        came.entry(&letter.key).or_default().push(&letter.id);
    }
    let mut wanted: HashMap<&str, Vec<&str>> = HashMap::new();
    for letter in sent {
        wanted.entry(&letter.key).or_default().push(&letter.id);
    }
    assert_eq!(came, wanted);
}

/// The reason of a sink that cannot take letters now, and how many it took.
pub(crate) fn unavailable(result: Result<(), Undelivered>) -> (usize, String) {
    match result.unwrap_err() {
        Undelivered { delivered, why: Why::Unavailable(why) } => (delivered, why),
        poison => panic!("not unavailable: {poison:?}"),
    }
}

/// The reason of a sink that can never take a letter, and how many it took before.
pub(crate) fn poison(result: Result<(), Undelivered>) -> (usize, String) {
    match result.unwrap_err() {
        Undelivered { delivered, why: Why::Poison(why) } => (delivered, why),
        unavailable => panic!("no poison: {unavailable:?}"),
    }
}

/// Offers `letters` again and again, as the relay does, until all are in.
pub(crate) async fn deliver_at_last(sink: &dyn EventSink, letters: &[Letter]) {
    let (mut left, mut last) = (letters, None);
    let insisting = async {
        while let Err(told) = sink.deliver(left).await {
            assert!(matches!(told.why, Why::Unavailable(_)), "{told:?}");
            left = &left[told.delivered..];
            last = Some(told);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, insisting).await;
    assert!(in_time.is_ok(), "{} of {} letters are not taken in time: {last:?}", left.len(), letters.len());
}

/// `N` ports of the loopback that are free now.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// An authority (`ca.crt`), a certificate for localhost (`server.crt`, `server.key`), one for us (`client.…`), and an
/// authority that signed none of them (`other.crt`).
pub(crate) fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    fs::write(folder.join("other.crt"), authority("another authority").0).unwrap();
    let (pem, authority) = authority("test authority");
    fs::write(folder.join("ca.crt"), pem).unwrap();
    for (name, host) in [("server", "localhost"), ("client", "brama")] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A peer that takes connections and never says a word.
pub(crate) async fn mute() -> (tokio::net::TcpListener, u16) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
