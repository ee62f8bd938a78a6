//! What arrives where events go: a durable queue and who empties it, or the lines of a file.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;

const EXCHANGE: &str = "brama.events";
const QUEUE: &str = "chaos";
/// How many messages may be on their way to the consumer.
const AHEAD: u16 = 200;
/// Longest the consumer waits for the broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where events are found in the end, in the order in which they came.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    file: PathBuf,
    queue: Option<Queue>,
}

impl Events {
    /// The file of a sink.
    pub(crate) fn of_file(file: &Path) -> Self {
        Self { file: file.to_owned(), queue: None }
    }

    /// A queue at the broker on this port, which must answer; from now on it is emptied into a file in `folder`.
    pub(crate) async fn of_queue(port: u16, folder: &Path) -> Self {
        let file = folder.join("received.jsonl");
        let queue =
            Queue { url: format!("amqp://guest:guest@127.0.0.1:{port}"), written: Arc::new(Mutex::new(open(&file))) };
        let channel = queue.channel().await.expect("RabbitMQ answers").1;
        queue.declare(&channel).await.expect("the queue can be made");
        tokio::spawn(queue.clone().empty_for_ever());
        Self { file, queue: Some(queue) }
    }

    /// How many have not been received yet.
    pub(crate) async fn left(&self) -> Result<u32, lapin::Error> {
        match &self.queue {
            Some(queue) => queue.left().await,
            None => Ok(0),
        }
    }

    /// All that came.
    pub(crate) fn read(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        // A line that a crash cut short is none; what it held was not acknowledged and came again.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

#[derive(Debug, Clone)]
struct Queue {
    url: String,
    written: Arc<Mutex<File>>,
}

impl Queue {
    async fn channel(&self) -> Result<(Connection, Channel), lapin::Error> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// A quorum queue, as docs/events-rabbitmq.md advises.
    async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut kind = FieldTable::default();
        kind.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(QUEUE.into(), durable, kind).await?;
        let everything = "#".into();
        let options = QueueBindOptions::default();
        channel.queue_bind(QUEUE.into(), EXCHANGE.into(), everything, options, FieldTable::default()).await
    }

    /// Goes on whatever becomes of the broker.
    async fn empty_for_ever(self) {
        loop {
            let _ = self.empty().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A message is acknowledged once it is written.
    async fn empty(&self) -> Result<(), lapin::Error> {
        let Ok(connected) = tokio::time::timeout(PATIENCE, self.channel()).await else { return Ok(()) };
        let (_connection, channel) = connected?;
        channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut messages = channel.basic_consume(QUEUE.into(), "judge".into(), options, FieldTable::default()).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            self.write(&message.data);
            message.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }

    fn write(&self, body: &[u8]) {
        let mut file = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&[body, b"\n"].concat()).expect("the file can be written to");
    }

    async fn left(&self) -> Result<u32, lapin::Error> {
        let (_connection, channel) = self.channel().await?;
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        Ok(channel.queue_declare(QUEUE.into(), look, FieldTable::default()).await?.message_count())
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the file can be made")
}
