//! The connections to Kafka: made when they are needed, thrown away when anything fails, bounded in time.
//!
//! The driver would try again by itself, for as long as it takes. It is told not to: the relay has its own patience and
//! wants to hear why.

use std::{fmt, sync::Arc, time::Duration};

use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder, SaslConfig,
        error::{Error, ProtocolError},
        partition::{PartitionClient, UnknownTopicHandling},
    },
};
use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, timeout_at},
};

use super::words::{Failure, unknown_topic};

/// How old what we know of the topic may be (`metadata.max.age.ms` of Java's producers): who adds partitions is noticed.
const FRESH: Duration = Duration::from_secs(300);
/// How often a topic just made is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where and what to connect to, and the connections when there are any.
pub(super) struct Link {
    pub(super) brokers: Vec<String>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) sasl: Option<SaslConfig>,
    pub(super) topic: String,
    /// How many partitions and copies to make the topic with, if it is to be made.
    pub(super) create: Option<(i32, i16)>,
    /// Longest a batch may take.
    pub(super) timeout: Duration,
    /// Where the settings stand, for people.
    pub(super) section: String,
    pub(super) current: Mutex<Option<Arc<Cluster>>>,
}

/// A connected cluster and the topic in it.
pub(super) struct Cluster {
    client: Client,
    partitions: Vec<OnceCell<PartitionClient>>,
    looked: Instant,
}

impl Link {
    /// The cluster, connected now if need be.
    pub(super) async fn cluster(&self, deadline: Instant) -> Result<Arc<Cluster>, Failure> {
        timeout_at(deadline, self.try_cluster()).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn try_cluster(&self) -> Result<Arc<Cluster>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(cluster) = current.as_ref().filter(|cluster| cluster.looked.elapsed() < FRESH) {
            return Ok(Arc::clone(cluster));
        }
        *current = None;
        let cluster = Arc::new(self.connect().await?);
        Ok(Arc::clone(current.insert(cluster)))
    }

    /// Lets go of connections on which something failed.
    pub(super) async fn discard(&self, cluster: &Arc<Cluster>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, cluster)) {
            *current = None;
        }
    }

    /// Asks whether the cluster answers and still has the topic.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let deadline = self.deadline();
        let cluster = self.cluster(deadline).await?;
        let found = timeout_at(deadline, self.count(&cluster.client)).await;
        let answer = match found.unwrap_or_else(|_| Err(self.late())) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(unknown_topic(&self.section).into()),
            Err(failure) => Err(failure),
        };
        if answer.is_err() {
            self.discard(&cluster).await;
        }
        answer
    }

    /// When what begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// No answer in time.
    pub(super) fn late(&self) -> Failure {
        Failure::late(self.timeout, &self.section)
    }

    pub(super) fn failure(&self, error: &Error) -> Failure {
        Failure::new(error, &self.section)
    }

    /// Asks for the topic and reaches the leader of each of its partitions; gives how many there are, `None` when the
    /// topic will be made. On connections of its own.
    pub(super) async fn examine(&self) -> Result<Option<usize>, Failure> {
        let asking = async {
            let client = self.client().await?;
            let Some(count) = self.count(&client).await? else {
                return if self.create.is_some() { Ok(None) } else { Err(unknown_topic(&self.section).into()) };
            };
            let cluster = Cluster::new(client, count);
            for number in 0..count {
                cluster.partition(&self.topic, number).await.map_err(|error| self.failure(&error))?;
            }
            Ok(Some(count))
        };
        timeout_at(self.deadline(), asking).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn client(&self) -> Result<Client, Failure> {
        let mut builder = ClientBuilder::new(self.brokers.clone()).client_id("brama").backoff_config(once());
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(sasl) = &self.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        builder.build().await.map_err(|error| self.failure(&error))
    }

    async fn connect(&self) -> Result<Cluster, Failure> {
        let client = self.client().await?;
        let count = match self.count(&client).await? {
            Some(count) => count,
            None => self.create(&client).await?,
        };
        Ok(Cluster::new(client, count))
    }

    /// How many partitions the topic has; `None` when it is not there.
    async fn count(&self, client: &Client) -> Result<Option<usize>, Failure> {
        let topics = client.list_topics().await.map_err(|error| self.failure(&error))?;
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        Ok(topic.map(|topic| topic.partitions.len()).filter(|count| *count > 0))
    }

    async fn create(&self, client: &Client) -> Result<usize, Failure> {
        let Some((partitions, replication)) = self.create else { return Err(unknown_topic(&self.section).into()) };
        let controller = client.controller_client().map_err(|error| self.failure(&error))?;
        let limit = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        match controller.create_topic(&self.topic, partitions, replication, limit).await {
            Ok(()) => {}
            // Another replica of ours was faster.
            Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => {}
            Err(error) => return Err(self.failure(&error)),
        }
        // Brokers hear of it one after the other. Who calls us has a deadline.
        loop {
            if let Some(count) = self.count(client).await? {
                return Ok(count);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Cluster {
    fn new(client: Client, count: usize) -> Self {
        Self { client, partitions: (0..count).map(|_| OnceCell::new()).collect(), looked: Instant::now() }
    }

    /// How many partitions the topic has.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The connection to the leader of a partition, made now if need be.
    pub(super) async fn partition(&self, topic: &str, number: usize) -> Result<&PartitionClient, Error> {
        let missing = || Error::InvalidResponse(format!("the topic has no partition {number}"));
        let place = self.partitions.get(number).ok_or_else(missing)?;
        let number = i32::try_from(number).map_err(|_| missing())?;
        let connect = || self.client.partition_client(topic, number, UnknownTopicHandling::Error);
        place.get_or_try_init(connect).await
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the login: the driver's type would show the password.
        write!(f, "Link({} at {})", self.topic, self.brokers.join(", "))
    }
}

/// One attempt, no more.
fn once() -> BackoffConfig {
    BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() }
}
