//! What arrives where events go: a queue of the broker and who empties it, or the lines of a file.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt as _;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const EXCHANGE: &str = "brama.events";
const QUEUE: &str = "chaos";
/// Begins what is put behind all events to see that they were read.
const MARK: &[u8] = b"mark ";
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
        let queue = Queue {
            url: format!("amqp://guest:guest@127.0.0.1:{port}"),
            written: Arc::new(Mutex::new(open(&file))),
            put: Arc::default(),
            read: Arc::default(),
            close: CancellationToken::new(),
            closed: CancellationToken::new(),
        };
        let (connection, channel) = queue.channel().await.expect("RabbitMQ answers");
        queue.declare(&channel).await.expect("the queue can be made");
        let _ = connection.close(200, "done".into()).await;
        tokio::spawn(queue.clone().empty_until_closed());
        Self { file, queue: Some(queue) }
    }

    /// True when all that was sent before was received.
    pub(crate) async fn are_read(&self) -> bool {
        match &self.queue {
            Some(queue) => queue.is_empty().await,
            None => true,
        }
    }

    /// Receives nothing more. The driver complains when its runtime ends before its connection.
    pub(crate) async fn close(&self) {
        if let Some(queue) = &self.queue {
            queue.close.cancel();
            let _ = tokio::time::timeout(PATIENCE, queue.closed.cancelled()).await;
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
    /// The last mark that was put, and the last that was read.
    put: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
    close: CancellationToken,
    closed: CancellationToken,
}

impl Queue {
    async fn channel(&self) -> Result<(Connection, Channel), lapin::Error> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// As a consumer that cares for order does: one of them at a time, so that what was on its way to one who was cut off
    /// comes before anything later.
    async fn declare(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut kind = FieldTable::default();
        kind.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        channel.queue_declare(QUEUE.into(), durable, kind).await?;
        // Anew: RabbitMQ 3.10 now and then comes back from a kill with a binding that it lists and does not follow.
        channel.queue_unbind(QUEUE.into(), EXCHANGE.into(), "#".into(), FieldTable::default()).await?;
        let options = QueueBindOptions::default();
        channel.queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), options, FieldTable::default()).await
    }

    /// Goes on whatever becomes of the broker.
    async fn empty_until_closed(self) {
        while !self.close.is_cancelled() {
            self.empty().await;
            let _ = tokio::time::timeout(Duration::from_millis(100), self.close.cancelled()).await;
        }
        self.closed.cancel();
    }

    async fn empty(&self) -> Option<()> {
        let (connection, channel) = in_time(self.channel()).await?;
        self.close.run_until_cancelled(self.receive(&channel)).await;
        in_time(connection.close(200, "done".into())).await
    }

    /// A message is acknowledged once it is written. Ends when none comes for a while: a broker that was killed may have
    /// forgotten that somebody waits.
    async fn receive(&self, channel: &Channel) -> Option<()> {
        in_time(self.declare(channel)).await?;
        in_time(channel.basic_qos(AHEAD, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(QUEUE.into(), "judge".into(), options, FieldTable::default());
        let mut messages = in_time(consuming).await?;
        loop {
            let message = in_time(messages.try_next()).await??;
            self.take(&message.data);
            in_time(message.ack(BasicAckOptions::default())).await?;
        }
    }

    fn take(&self, body: &[u8]) {
        match body.strip_prefix(MARK).map(String::from_utf8_lossy) {
            Some(mark) => {
                self.read.fetch_max(mark.parse().expect("a mark is a number"), Ordering::SeqCst);
            }
            None => self.write(body),
        }
    }

    fn write(&self, body: &[u8]) {
        let mut file = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&[body, b"\n"].concat()).expect("the file can be written to");
    }

    /// Puts a mark behind all there is, and waits for it.
    async fn is_empty(&self) -> bool {
        let mark = self.put.fetch_add(1, Ordering::SeqCst) + 1;
        if in_time(self.put_mark(mark)).await != Some(Confirmation::Ack(None)) {
            return false;
        }
        let reading = async {
            while self.read.load(Ordering::SeqCst) < mark {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.is_ok()
    }

    async fn put_mark(&self, mark: u64) -> Result<Confirmation, lapin::Error> {
        let (connection, channel) = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let body = [MARK, mark.to_string().as_bytes()].concat();
        let (options, plain) = (BasicPublishOptions::default(), BasicProperties::default());
        let put = channel.basic_publish(EXCHANGE.into(), "mark".into(), options, &body, plain).await?.await?;
        connection.close(200, "done".into()).await?;
        Ok(put)
    }
}

/// What comes of it, if it comes to anything in time.
async fn in_time<T>(work: impl Future<Output = Result<T, lapin::Error>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, work).await.ok()?.ok()
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("the file can be made")
}
