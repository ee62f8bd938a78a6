//! Against a real Kafka: what arrives, what is refused and in which words, and that nothing acknowledged is lost.

use std::{sync::Arc, time::Duration};

use rskafka::{
    client::{Client, ClientBuilder, partition::OffsetAt, partition::UnknownTopicHandling},
    record::Record,
};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout},
};

use super::{Config, Kafka, Sasl, batch, partition};
use crate::{
    event::{
        sink::EventSink as _,
        support::{
            PATIENCE, Received, assert_all_came_in_order, deliver_at_last,
            kafka::{KafkaServer, LARGEST, shared},
            letters, mute, poison, unavailable,
        },
    },
    secret::Secret,
};

const PARTITIONS: usize = 4;

fn open(config: &Config) -> Kafka {
    Kafka::open("log", config).unwrap()
}

/// The shared server's settings for a topic of the test's own, which the sink makes.
fn config(topic: &str) -> Config {
    Config { create_topic: true, ..shared().config(topic) }
}

async fn client(server: &KafkaServer) -> Client {
    let connecting = ClientBuilder::new(vec![server.address()]).build();
    timeout(PATIENCE, connecting).await.expect("Kafka answers").unwrap()
}

/// All records of a topic, by partition.
async fn read(server: &KafkaServer, topic: &str) -> Vec<Vec<Record>> {
    let client = client(server).await;
    let mut read = Vec::new();
    for number in 0..PARTITIONS {
        let number = i32::try_from(number).unwrap();
        let partition = client.partition_client(topic, number, UnknownTopicHandling::Retry).await.unwrap();
        let end = partition.get_offset(OffsetAt::Latest).await.unwrap();
        let mut records = Vec::new();
        while i64::try_from(records.len()).unwrap() < end {
            let next = i64::try_from(records.len()).unwrap();
            let (some, _) = partition.fetch_records(next, 1..4_000_000, 1000).await.unwrap();
            records.extend(some.into_iter().map(|record| record.record));
        }
        read.push(records);
    }
    read
}

fn received(records: Vec<Vec<Record>>) -> Vec<Received> {
    let id = |record: &Record| {
        let event: serde_json::Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    let received = |record: Record| Received { id: id(&record), body: record.value.unwrap() };
    records.into_iter().flatten().map(received).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_letter_arrives_in_the_order_of_its_key_and_says_what_it_is() {
    let sink = open(&config("arrives"));
    sink.ping().await.unwrap();
    let letters = letters("arrives", 600, 40);
    for batch in letters.chunks(200) {
        sink.deliver(batch).await.unwrap();
    }
    let records = read(shared(), "arrives").await;
    for (number, record) in
        records.iter().enumerate().flat_map(|(number, some)| some.iter().map(move |one| (number, one)))
    {
        let key = record.key.as_deref().unwrap();
        assert_eq!(partition::of(key, PARTITIONS), number);
        assert_eq!(record.headers[batch::CONTENT_TYPE.0], batch::CONTENT_TYPE.1.as_bytes());
        let letter = letters.iter().find(|letter| Some(&*letter.body) == record.value.as_deref()).unwrap();
        assert_eq!((letter.key.as_bytes(), letter.at.as_millis()), (key, record.timestamp.timestamp_millis()));
    }
    assert!(records.iter().all(|records| !records.is_empty()), "the keys are spread");
    let received = received(records);
    assert_eq!(received.len(), letters.len(), "nothing is sent twice while all is well");
    assert_all_came_in_order(&letters, &received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_client_certificate_and_every_kind_of_login_is_enough() {
    open(&config("secure")).ping().await.unwrap();
    let letters = letters("secure", 30, 5);
    for (sasl, batch) in [Sasl::Plain, Sasl::ScramSha256, Sasl::ScramSha512].into_iter().zip(letters.chunks(10)) {
        let sink = open(&shared().secure("secure", sasl, "brama"));
        sink.ping().await.unwrap_or_else(|why| panic!("{sasl:?}: {why}"));
        sink.deliver(batch).await.unwrap();
    }
    assert_all_came_in_order(&letters, &received(read(shared(), "secure").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_too_large_is_found_among_many_and_is_poison() {
    let sink = open(&config("large"));
    let mut letters = letters("large", 60, 60);
    letters[30].body = vec![b' '; LARGEST + 1].into();
    let (delivered, why) = poison(sink.deliver(&letters).await);
    assert_eq!(delivered, 30);
    assert!(why.contains("max.message.bytes"), "{why}");
    sink.deliver(&letters[31..]).await.unwrap();
    letters.remove(30);
    let received = received(read(shared(), "large").await);
    assert_eq!(received.len(), letters.len(), "what was in ahead of its turn is not sent again");
    assert_all_came_in_order(&letters, &received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_together_goes_in_parts() {
    let sink = open(&config("parts"));
    let mut letters = letters("parts", 40, 1);
    for letter in &mut letters {
        let event = serde_json::json!({ "id": letter.id, "filling": "x".repeat(LARGEST / 10) });
        letter.body = event.to_string().into();
    }
    sink.deliver(&letters).await.unwrap();
    let received = received(read(shared(), "parts").await);
    assert_eq!(received.len(), letters.len());
    assert_all_came_in_order(&letters, &received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_acknowledged_and_gets_the_rest_in_order() {
    let mut server = KafkaServer::start();
    let sink = Arc::new(open(&Config { create_topic: true, ..server.config("killed") }));
    let letters = letters("killed", 200_000, 50);
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let writer = {
        let (sink, letters) = (Arc::clone(&sink), letters.clone());
        tokio::spawn(async move {
            let mut acknowledged = 0;
            for batch in letters.chunks(500) {
                if let Err(told) = sink.deliver(batch).await {
                    return (acknowledged + told.delivered, told.to_string());
                }
                acknowledged += batch.len();
                progress.send_replace(acknowledged);
            }
            panic!("all was written before the kill");
        })
    };
    timeout(PATIENCE, seen.wait_for(|acknowledged| *acknowledged >= 1000)).await.unwrap().unwrap();
    server.kill();
    let (acknowledged, why) = timeout(PATIENCE, writer).await.expect("the writer notices").unwrap();
    assert!(why.contains("event.sink.log.kafka"), "{why}");
    let (_, why) = unavailable(sink.deliver(&letters[acknowledged..][..1]).await);
    assert!(why.contains("is it running at brokers"), "{why}");

    server.restart();
    let sent = acknowledged + 700;
    deliver_at_last(&*sink, &letters[acknowledged..sent]).await;
    assert_all_came_in_order(&letters[..sent], &received(read(&server, "killed").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_comes_with_what_to_do() {
    let server = shared();
    open(&config("words")).ping().await.unwrap();
    let (plain, secure) = (server.config("words"), server.secure("words", Sasl::ScramSha512, "brama"));
    let cases = [
        (server.config("nowhere"), "the topic is not there"),
        (server.secure("words", Sasl::ScramSha512, "stranger"), "the user may not see it"),
        (
            Config { create_topic: true, ..server.secure("mine", Sasl::ScramSha512, "stranger") },
            "and Create if create_topic is set",
        ),
        (Config { replication: 3, ..config("copies") }, "lower replication in [event.sink.log.kafka]"),
        (Config { topic: "no such?".to_owned(), ..config("") }, "Kafka does not want such a topic"),
        (Config { password: Some(Secret::new("wr0ng")), ..secure.clone() }, "check username and password_file"),
        (Config { sasl: Sasl::Plain, password: Some(Secret::new("wr0ng")), ..secure.clone() }, "password_file"),
        (Config { brokers: vec!["localhost:1".to_owned()], ..plain.clone() }, "is it running at brokers"),
        (Config { brokers: vec!["nowhere.invalid:9092".to_owned()], ..plain.clone() }, "is it running at brokers"),
        (Config { ca_file: Some(server.path("other.crt")), ..secure.clone() }, "set ca_file in [event.sink.log.kafka]"),
        (Config { cert_file: None, key_file: None, ..secure.clone() }, "does it ask for a client certificate"),
        (Config { brokers: secure.brokers.clone(), ..plain.clone() }, "those of one listener"),
        (Config { brokers: plain.brokers.clone(), ..secure.clone() }, "those of one listener"),
    ];
    for (config, words) in cases {
        let sink = open(&config);
        let pinged = sink.ping().await.unwrap_err();
        let (delivered, told) = unavailable(sink.deliver(&letters("refused", 3, 2)).await);
        assert_eq!(delivered, 0);
        for why in [pinged, told] {
            assert!(why.contains(words), "{words:?} is not in: {why}");
            assert!(!why.contains("s3cret") && !why.contains("wr0ng"), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_nothing_is_given_up_in_time_and_let_go() {
    let (listener, port) = mute().await;
    let sink = open(&Config {
        brokers: vec![format!("localhost:{port}")],
        timeout: Duration::from_millis(300),
        ..shared().config("mute")
    });
    let began = Instant::now();
    let (_, why) = unavailable(sink.deliver(&letters("mute", 3, 2)).await);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(why.contains("within 300 ms"), "{why}");
    let (mut socket, _) = listener.accept().await.unwrap();
    let reading = async { while socket.read(&mut [0; 64]).await.unwrap() > 0 {} };
    timeout(PATIENCE, reading).await.expect("the connection is not kept");
}

#[test]
fn settings_that_do_not_fit_are_told_by_their_key() {
    let sound = Config {
        brokers: vec!["kafka.example:9092".to_owned()],
        topic: "brama.events".to_owned(),
        create_topic: false,
        partitions: 12,
        replication: 3,
        tls: false,
        ca_file: None,
        cert_file: None,
        key_file: None,
        sasl: Sasl::None,
        username: None,
        password: None,
        password_file: None,
        timeout: Duration::from_secs(10),
    };
    open(&sound);
    for (config, key) in [
        (Config { sasl: Sasl::Plain, ..sound.clone() }, "sasl"),
        (Config { ca_file: Some("/nonexistent".into()), ..sound.clone() }, "tls"),
        (Config { ca_file: Some("/nonexistent".into()), tls: true, ..sound.clone() }, "ca_file"),
        (Config { brokers: vec!["[::1]:9092".to_owned()], tls: true, ..sound.clone() }, "brokers"),
        (Config { partitions: u32::MAX, ..sound.clone() }, "partitions"),
        (Config { replication: u16::MAX, ..sound.clone() }, "replication"),
    ] {
        let misfit = Kafka::open("log", &config).unwrap_err();
        assert_eq!(misfit.key, key, "{misfit}");
    }
    let login = Config {
        sasl: Sasl::Plain,
        username: Some("brama".to_owned()),
        password: Some(Secret::new("s3cret")),
        ..sound
    };
    assert!(!format!("{:?}", open(&login)).contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_examination_makes_no_topic_and_tells_what_is_wrong() {
    let server = shared();
    let unmade = Config { create_topic: true, ..server.config("examined") };
    for _ in 0..2 {
        let sound = Kafka::open("log", &unmade).unwrap().examine().await.unwrap();
        assert!(sound.detail.contains("is not there; the first event makes it"), "{sound:?}");
    }
    open(&config("examined")).ping().await.unwrap();
    let sound = open(&server.config("examined")).examine().await.unwrap();
    assert!(sound.detail.contains("the leaders of its"), "{sound:?}");
    let secure = server.secure("examined", Sasl::ScramSha512, "brama");
    for (config, remedy) in [
        (server.config("nowhere"), "set create_topic in [event.sink.log.kafka]"),
        (server.secure("examined", Sasl::ScramSha512, "stranger"), "Describe and Write"),
        (Config { password: Some(Secret::new("wr0ng")), ..secure.clone() }, "check username and password_file"),
        (Config { brokers: vec!["localhost:1".to_owned()], ..secure.clone() }, "is it running at brokers"),
        (Config { ca_file: Some(server.path("other.crt")), ..secure }, "set ca_file"),
    ] {
        let told = open(&config).examine().await.unwrap_err();
        assert!(told.remedy.contains(remedy), "{told:?}");
        assert!(!told.to_string().contains("s3cret") && !told.to_string().contains("wr0ng"), "{told}");
    }
}
