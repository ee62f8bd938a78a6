//! Against a real RabbitMQ: what arrives, what is refused and in which words, and that nothing acknowledged is lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{
        BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, timeout},
};

use super::{Config, RabbitMq, batch::CONTENT_TYPE, uri};
use crate::{
    event::{
        sink::{EventSink as _, Letter},
        support::{
            PATIENCE, Received, assert_all_came_in_order, deliver_at_last, letters, mute, poison,
            rabbitmq::{LARGEST, RabbitServer, shared},
            unavailable,
        },
    },
    secret::Secret,
};

/// A queue that a test reads from.
struct Queue {
    channel: Channel,
    name: String,
    _connection: Connection,
}

impl Queue {
    /// A durable one, bound for `types` to the exchange of `config`, which is made too.
    async fn bound(config: &Config, types: &str, settings: &[(&str, AMQPValue)]) -> Self {
        let connection = Connection::connect_uri(uri(config).unwrap(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = Self { channel, name: format!("{}-queue", config.exchange), _connection: connection };
        let mut arguments = FieldTable::default();
        for (name, value) in settings {
            arguments.insert((*name).into(), value.clone());
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        queue.channel.queue_declare(queue.name.as_str().into(), durable, arguments).await.unwrap();
        queue.bind(config, types).await;
        queue
    }

    /// Binds anew what is bound already, as whoever looks after RabbitMQ does when it returns what it has a queue for:
    /// before 4.0 it now and then does that after a kill.
    async fn bind_again(&self, config: &Config, types: &str) {
        let (queue, exchange) = (self.name.as_str().into(), config.exchange.as_str().into());
        self.channel.queue_unbind(queue, exchange, types.into(), FieldTable::default()).await.unwrap();
        self.bind(config, types).await;
    }

    async fn bind(&self, config: &Config, types: &str) {
        exchange(&self.channel, config, ExchangeKind::Topic).await;
        let (queue, exchange) = (self.name.as_str().into(), config.exchange.as_str().into());
        let options = QueueBindOptions::default();
        self.channel.queue_bind(queue, exchange, types.into(), options, FieldTable::default()).await.unwrap();
    }

    /// All that is in it now, taken out.
    async fn take(&self) -> Vec<Delivery> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue =
            self.channel.queue_declare(self.name.as_str().into(), passive, FieldTable::default()).await.unwrap();
        let count = usize::try_from(queue.message_count()).unwrap();
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let tag = format!("{}-{count}", self.name);
        let consumer = self
            .channel
            .basic_consume(self.name.as_str().into(), tag.as_str().into(), no_ack, FieldTable::default())
            .await
            .unwrap();
        let reading = consumer.take(count).map(Result::unwrap).collect();
        let taken = timeout(PATIENCE, reading).await.expect("the queue gives what it has");
        self.channel.basic_cancel(tag.as_str().into(), Default::default()).await.unwrap();
        taken
    }
}

async fn exchange(channel: &Channel, config: &Config, kind: ExchangeKind) {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(config.exchange.as_str().into(), kind, durable, FieldTable::default()).await.unwrap();
}

fn received(deliveries: Vec<Delivery>) -> Vec<Received> {
    let id = |delivery: &Delivery| delivery.properties.message_id().as_ref().unwrap().to_string();
    deliveries.into_iter().map(|delivery| Received { id: id(&delivery), body: delivery.data }).collect()
}

/// The shared server, with an exchange of the test's own.
fn config(name: &str) -> Config {
    Config { exchange: format!("test-{name}"), ..shared().config() }
}

fn open(config: &Config) -> RabbitMq {
    RabbitMq::open("bus", config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_letter_arrives_in_the_order_of_its_key_and_says_what_it_is() {
    let config = config("arrives");
    let queue = Queue::bound(&config, "#", &[]).await;
    let sink = open(&config);
    let letters = letters("arrives", 600, 40);
    for batch in letters.chunks(200) {
        sink.deliver(batch).await.unwrap();
    }
    let taken = queue.take().await;
    let letter = &letters[7];
    let is_it = |delivery: &&Delivery| delivery.properties.message_id().as_ref().unwrap().as_str() == letter.id;
    let first = taken.iter().find(is_it).unwrap();
    assert_eq!(first.routing_key.as_str(), letter.kind);
    let properties = &first.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), CONTENT_TYPE);
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), letter.kind);
    assert_eq!(*properties.delivery_mode(), Some(2), "on disk");
    assert_eq!(*properties.timestamp(), Some(1_700_000_007));
    let received = received(taken);
    assert_eq!(received.len(), letters.len(), "nothing is sent twice while all is well");
    assert_all_came_in_order(&letters, &received);
    sink.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_our_own_authority_and_a_client_certificate_is_enough() {
    let config = config("tls");
    let queue = Queue::bound(&config, "#", &[]).await;
    let sink = open(&Config { exchange: config.exchange, ..shared().tls() });
    sink.ping().await.unwrap();
    let letters = letters("tls", 20, 3);
    sink.deliver(&letters).await.unwrap();
    assert_all_came_in_order(&letters, &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_at_once_do_not_disturb_each_other() {
    let config = Config { unroutable_after: Duration::ZERO, ..config("several") };
    let queue = Queue::bound(&config, "io.brama.session.*", &[]).await;
    let sink = open(&config);
    let mut batches: Vec<_> = (0..6).map(|batch| letters(&format!("several-{batch}"), 50, 50)).collect();
    // Returned messages of one batch must not be taken for another's.
    batches[3][25].kind = "io.brama.nobody.cares".to_owned();
    let told = futures_util::future::join_all(batches.iter().map(|batch| sink.deliver(batch))).await;
    for (number, told) in told.into_iter().enumerate() {
        if number == 3 {
            assert_eq!(poison(told).0, 25);
        } else {
            told.unwrap();
        }
    }
    sink.deliver(&batches[3][26..]).await.unwrap();
    batches[3].remove(25);
    let received = received(queue.take().await);
    assert_eq!(received.len(), 299, "what was in ahead of its turn is not sent again");
    assert_all_came_in_order(&batches.concat(), &received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_no_queue_wants_waits_for_one_and_the_order_survives() {
    let config = config("unbound");
    let queue = Queue::bound(&config, "io.brama.session.*", &[]).await;
    let sink = open(&config);
    let mut letters = letters("unbound", 100, 10);
    letters[40].kind = "io.brama.account.created".to_owned();
    for _ in 0..2 {
        let (delivered, why) = unavailable(sink.deliver(&letters).await);
        assert_eq!(delivered, 40);
        assert!(why.contains("bind one to the exchange test-unbound"), "{why}");
        assert!(why.contains("for the routing key io.brama.account.created"), "{why}");
    }
    queue.bind(&config, "#").await;
    sink.deliver(&letters[40..]).await.unwrap();
    let received = received(queue.take().await);
    let behind = |received: &&Received| received.id == letters[50].id;
    assert_eq!(received.iter().filter(behind).count(), 1, "what is behind it waits with it");
    assert_all_came_in_order(&letters, &received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_no_queue_wants_is_poison_in_the_end_and_the_rest_goes_on() {
    const PATIENT: Duration = Duration::from_millis(300);
    let config = Config { unroutable_after: PATIENT, ..config("unroutable") };
    let queue = Queue::bound(&config, "io.brama.session.*", &[]).await;
    let sink = open(&config);
    let mut letters = letters("unroutable", 100, 10);
    letters[40].kind = "io.brama.nobody.cares".to_owned();
    letters[70].kind = "io.brama.nobody.cares".to_owned();
    unavailable(sink.deliver(&letters).await);
    tokio::time::sleep(PATIENT).await;
    let (delivered, why) = poison(sink.deliver(&letters).await);
    assert_eq!(delivered, 40);
    assert!(why.contains("bind one to the exchange test-unroutable"), "{why}");
    assert!(why.contains("io.brama.nobody.cares") && why.contains("NO_ROUTE"), "{why}");
    assert_eq!(poison(sink.deliver(&letters[41..]).await).0, 29, "the next of its kind does not wait again");
    sink.deliver(&letters[71..]).await.unwrap();
    letters.remove(70);
    letters.remove(40);
    assert_all_came_in_order(&letters, &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_too_large_is_found_among_many_and_is_poison() {
    let config = config("large");
    let queue = Queue::bound(&config, "#", &[]).await;
    let sink = open(&config);
    let mut letters = letters("large", 60, 60);
    letters[30].body = vec![b' '; LARGEST + 1].into();
    let (delivered, why) = poison(sink.deliver(&letters).await);
    assert_eq!(delivered, 30);
    assert!(why.contains("max_message_size"), "{why}");
    sink.deliver(&letters[31..]).await.unwrap();
    let long = Letter { id: "i".repeat(256), ..letters[0].clone() };
    assert!(poison(sink.deliver(&[long]).await).1.contains("too long"));
    letters.remove(30);
    assert_all_came_in_order(&letters, &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_waited_for_and_the_order_survives() {
    let config = config("full");
    let settings =
        [("x-max-length", AMQPValue::LongInt(3)), ("x-overflow", AMQPValue::LongString("reject-publish".into()))];
    let queue = Queue::bound(&config, "#", &settings).await;
    let sink = open(&config);
    let letters = letters("full", 24, 2);
    let (mut left, mut refused, mut came) = (letters.as_slice(), 0, Vec::new());
    while let Err(told) = sink.deliver(left).await {
        assert!(told.to_string().contains("reject-publish"), "{told}");
        refused += 1;
        left = &left[told.delivered..];
        came.extend(received(queue.take().await));
    }
    came.extend(received(queue.take().await));
    assert!(refused > 2, "{refused}");
    assert_eq!(came.len(), letters.len());
    assert_all_came_in_order(&letters, &came);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_acknowledged_and_gets_the_rest_in_order() {
    let mut server = RabbitServer::start();
    let config = server.config();
    let queue = Queue::bound(&config, "#", &[]).await;
    let sink = std::sync::Arc::new(open(&config));
    let letters = letters("killed", 20_000, 50);
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let writer = {
        let (sink, letters) = (std::sync::Arc::clone(&sink), letters.clone());
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
    assert!(why.contains("event.sink.bus.rabbitmq"), "{why}");
    drop(queue);
    let (_, why) = unavailable(sink.deliver(&letters[acknowledged..][..1]).await);
    assert!(why.contains("is it running at the url"), "{why}");

    server.restart();
    let queue = Queue::bound(&config, "#", &[]).await;
    queue.bind_again(&config, "#").await;
    let sent = acknowledged + 700;
    deliver_at_last(&*sink, &letters[acknowledged..sent]).await;
    assert_all_came_in_order(&letters[..sent], &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_the_broker_closed_is_opened_again() {
    let config = config("deleted");
    let queue = Queue::bound(&config, "#", &[]).await;
    let sink = open(&config);
    let letters = letters("deleted", 10, 2);
    sink.deliver(&letters[..4]).await.unwrap();
    let delete = ExchangeDeleteOptions::default();
    queue.channel.exchange_delete(config.exchange.as_str().into(), delete).await.unwrap();
    let (delivered, why) = unavailable(sink.deliver(&letters[4..]).await);
    assert_eq!(delivered, 0);
    assert!(why.contains("the exchange has been deleted"), "{why}");
    queue.bind(&config, "#").await;
    sink.deliver(&letters[4..]).await.unwrap();
    assert_all_came_in_order(&letters, &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_memory_is_waited_for() {
    let server = RabbitServer::start_with("vm_memory_high_watermark.absolute = 1MB");
    let sink = open(&Config { timeout: Duration::from_secs(2), ..server.config() });
    let _queue = Queue::bound(&server.config(), "#", &[]).await;
    let (delivered, why) = unavailable(sink.deliver(&letters("alarm", 3, 2)).await);
    assert_eq!(delivered, 0);
    assert!(why.contains("it is short of memory or disk"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_write_needs_an_exchange_that_is_there() {
    let given = Config { exchange: "given-exchange".to_owned(), ..shared().config() };
    let queue = Queue::bound(&given, "#", &[]).await;
    let sink = open(&Config { exchange: given.exchange, ..shared().config_as("writer") });
    sink.ping().await.unwrap();
    let letters = letters("writer", 5, 1);
    sink.deliver(&letters).await.unwrap();
    assert_all_came_in_order(&letters, &received(queue.take().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_comes_with_what_to_do() {
    let server = shared();
    let (plain, tls) = (server.config(), server.tls());
    let fanout = Config { exchange: "test-fanout".to_owned(), ..plain.clone() };
    let connection = Connection::connect_uri(uri(&plain).unwrap(), ConnectionProperties::default()).await.unwrap();
    exchange(&connection.create_channel().await.unwrap(), &fanout, ExchangeKind::Fanout).await;
    let url = plain.url.clone();
    let cases = [
        (Config { password: Some(Secret::new("wr0ng")), ..plain.clone() }, "check username and password_file"),
        (Config { url: format!("{url}/nowhere"), ..plain.clone() }, "the virtual host is missing or closed"),
        (server.config_as("stranger"), "the virtual host is missing or closed"),
        (
            Config { exchange: "given-nothing".to_owned(), ..server.config_as("writer") },
            "the exchange is not there and the user may not make it",
        ),
        (fanout, "not as a durable topic exchange"),
        (Config { url: "amqp://localhost:1".to_owned(), ..plain.clone() }, "is it running at the url"),
        (Config { url: "amqp://nowhere.invalid".to_owned(), ..plain.clone() }, "is it running at the url"),
        (Config { ca_file: Some(server.path("other.crt")), ..tls.clone() }, "set ca_file in [event.sink.bus.rabbitmq]"),
        (Config { url: tls.url.replace("localhost", "127.0.0.1"), ..tls.clone() }, "the host name it was made for"),
        (Config { cert_file: None, key_file: None, ..tls.clone() }, "does it ask for a client certificate"),
        (Config { url: tls.url.replace("amqps", "amqp"), ..plain.clone() }, "is TLS meant (amqps://)"),
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
    // May come to the exchange, but not write to it.
    let readable = Config { exchange: "test-closed".to_owned(), ..plain };
    Queue::bound(&readable, "#", &[]).await;
    let sink = open(&Config { exchange: readable.exchange, ..server.config_as("writer") });
    let (_, why) = unavailable(sink.deliver(&letters("closed", 3, 2)).await);
    assert!(why.contains("give it the right to write there"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_nothing_is_given_up_in_time_and_let_go() {
    let (listener, port) = mute().await;
    let sink = open(&Config {
        url: format!("amqp://localhost:{port}"),
        timeout: Duration::from_millis(300),
        ..shared().config()
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
fn settings_that_do_not_fit_are_told_by_their_key_and_keep_the_password() {
    let sound = Config {
        url: "amqp://bus.example:5672/people".to_owned(),
        username: Some("brama".to_owned()),
        password: Some(Secret::new("s3cret")),
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
        exchange: "brama.events".to_owned(),
        routing_key: "{type}".to_owned(),
        unroutable_after: Duration::from_mins(10),
        timeout: Duration::from_secs(10),
    };
    assert_eq!(uri(&sound).unwrap().vhost, "people");
    assert_eq!(uri(&Config { url: "amqp://[::1]/".to_owned(), ..sound.clone() }).unwrap().authority.host, "::1");
    assert_eq!(uri(&Config { url: "amqp://bus".to_owned(), ..sound.clone() }).unwrap().vhost, "/");
    for (config, key) in [
        (Config { url: "amqp://brama:s3cret@:x".to_owned(), ..sound.clone() }, "url"),
        (Config { url: "http://brama:s3cret@bus".to_owned(), ..sound.clone() }, "url"),
        (Config { password: None, ..sound.clone() }, "username"),
        (Config { username: None, password: None, ..sound.clone() }, "username"),
        (Config { password_file: Some("/nonexistent".into()), ..sound.clone() }, "password_file"),
        (Config { ca_file: Some("/nonexistent".into()), ..sound.clone() }, "url"),
        (Config { exchange: "e".repeat(256), ..sound.clone() }, "exchange"),
    ] {
        let misfit = RabbitMq::open("bus", &config).unwrap_err();
        assert_eq!(misfit.key, key, "{misfit}");
        assert!(!misfit.to_string().contains("s3cret"), "{misfit}");
    }
}
