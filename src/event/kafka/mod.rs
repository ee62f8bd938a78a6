//! Events to Kafka: acks=all, partitioned by key, CloudEvents in structured mode (Kafka Protocol Binding 1.0.2, §3.3).
//!
//! * A letter is delivered when all in-sync replicas of its partition have it.
//! * A key always goes to the same partition. Partitions are filled side by side; of one partition, the next batch
//!   leaves when the one before is acknowledged, and after a failure nothing more does. So order is kept per key.
//! * A record that is too large or refused as such is poison. All else is tried again by the relay, after asking anew
//!   who leads: an unreachable or refusing broker, too few replicas, a missing topic or right.
//! * Without an idempotent producer, a batch whose acknowledgement was lost is there twice. Consumers drop duplicates
//!   by the event's id.

mod cluster;
mod partition;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::VecDeque, fmt};

use async_trait::async_trait;
use futures_util::future::join_all;
use rskafka::{
    chrono::DateTime,
    client::{Credentials, SaslConfig, partition::Compression, partition::PartitionClient},
    record::Record,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    fate::{self, Ahead, Fate},
    sink::{EventSink, Letter, Undelivered},
    tls::{Files, TlsError},
};
use crate::config::{
    event::kafka::{Kafka as Config, Sasl},
    read_secret,
    secrets::SecretError,
};
use cluster::{Cluster, Link};
use words::Failure;

/// The header by which consumers know CloudEvents in structured mode.
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/cloudevents+json; charset=UTF-8");
/// A batch that holds more is split: half of Kafka's own limit (`message.max.bytes`, 1 MiB).
const BATCH_BYTES: usize = 512 * 1024;
/// A batch of more letters is split.
const BATCH_LETTERS: usize = 1000;

/// Why the settings cannot be used. Whether Kafka answers is not asked here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting does not fit.
    #[error("{section}.{key}: {what}")]
    Setting {
        /// The table.
        section: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// The password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The certificates cannot be used.
    #[error("{section}.{why}")]
    Tls {
        /// The table.
        section: String,
        /// Which, and why.
        why: TlsError,
    },
}

/// The sink.
pub struct Kafka {
    name: String,
    link: Link,
    ahead: Ahead,
}

impl Kafka {
    /// The sink `name`. Reads the files that `config` names; Kafka need not answer yet.
    ///
    /// # Errors
    /// [`OpenError`] says what to change.
    pub fn open(name: &str, config: &Config) -> Result<Self, OpenError> {
        let section = format!("event.sink.{name}.kafka");
        let files =
            Files { ca: config.ca_file.as_deref(), cert: config.cert_file.as_deref(), key: config.key_file.as_deref() };
        let tls = if config.tls {
            Some(files.client().map_err(|why| OpenError::Tls { section: section.clone(), why })?)
        } else if files.any() {
            return Err(setting(&section, "tls", "certificates are given, but TLS is off: write tls = true"));
        } else {
            None
        };
        if config.tls && config.brokers.iter().any(|broker| broker.contains('[')) {
            let what = "with TLS a broker needs a host name, not an IPv6 address: certificates name hosts";
            return Err(setting(&section, "brokers", what));
        }
        let link = Link {
            brokers: config.brokers.clone(),
            tls,
            sasl: sasl(config, &section)?,
            topic: config.topic.clone(),
            create: config.create_topic.then_some((config.partitions, config.replication)),
            timeout: config.timeout,
            section,
            current: Mutex::default(),
        };
        Ok(Self { name: name.to_owned(), link, ahead: Ahead::default() })
    }

    /// Sends what is held, partitions side by side. True when all is well.
    async fn send(&self, cluster: &Cluster, letters: &[Letter], fates: &mut [Fate]) -> bool {
        let count = cluster.partitions();
        let lanes = fate::lanes(letters, fates, |letter| partition::of(letter.key.as_bytes(), count));
        let sent = lanes.iter().map(|(partition, lane)| self.lane(cluster, *partition, letters, lane));
        let mut well = true;
        for (index, fate) in join_all(sent).await.into_iter().flatten() {
            well &= matches!(fate, Fate::Taken | Fate::Never(_));
            if let Some(place) = fates.get_mut(index) {
                *place = fate;
            }
        }
        well
    }

    /// Sends the letters of one partition, batch after batch; stops at the first that is not acknowledged.
    async fn lane(&self, cluster: &Cluster, number: usize, letters: &[Letter], lane: &[usize]) -> Vec<(usize, Fate)> {
        let mut fates = Vec::with_capacity(lane.len());
        let mut batches = batches(letters, lane);
        while let Some(batch) = batches.pop_front() {
            match self.produce(cluster, number, letters, batch).await {
                Ok(()) => fates.extend(batch.iter().map(|index| (*index, Fate::Taken))),
                Err(failure) if batch.len() > 1 && (failure.too_large || failure.invalid) => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.push_front(second);
                    batches.push_front(first);
                }
                Err(failure) if failure.too_large || failure.invalid => {
                    fates.extend(batch.iter().map(|index| (*index, Fate::Never(failure.words.clone()))));
                }
                Err(failure) => {
                    fates.extend(batch.iter().map(|index| (*index, Fate::Later(failure.words.clone()))));
                    break;
                }
            }
        }
        fates
    }

    async fn produce(
        &self,
        cluster: &Cluster,
        number: usize,
        letters: &[Letter],
        batch: &[usize],
    ) -> Result<(), Failure> {
        let records = batch.iter().filter_map(|index| letters.get(*index)).map(record).collect();
        let producing = async {
            match cluster.partition(&self.link.topic, number).await? {
                Some(partition) => PartitionClient::produce(partition, records, Compression::NoCompression).await,
                None => Ok(vec![]),
            }
        };
        match timeout(self.link.timeout, producing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.link.failure(&error)),
            Err(_) => Err(Failure::late(self.link.timeout, &self.link.section)),
        }
    }
}

#[async_trait]
impl EventSink for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        let mut fates = self.ahead.fates(letters);
        match self.link.cluster().await {
            Ok(cluster) => {
                if !self.send(&cluster, letters, &mut fates).await {
                    self.link.discard(&cluster).await;
                }
            }
            Err(failure) => {
                for fate in fates.iter_mut().filter(|fate| **fate == Fate::Held) {
                    *fate = Fate::Later(failure.words.clone());
                }
            }
        }
        self.ahead.settle(letters, &fates)
    }

    async fn ping(&self) -> Result<(), String> {
        self.link.ping().await.map_err(|failure| failure.words)
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("name", &self.name).field("link", &self.link).finish_non_exhaustive()
    }
}

/// The letters of one partition, cut so that no batch exceeds the bounds unless it is one letter.
fn batches<'a>(letters: &[Letter], lane: &'a [usize]) -> VecDeque<&'a [usize]> {
    let mut batches = VecDeque::new();
    let mut rest = lane;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(BATCH_LETTERS).take_while(|index| {
            bytes += letters.get(**index).map_or(0, size);
            bytes <= BATCH_BYTES
        });
        let (batch, after) = rest.split_at(fitting.count().max(1));
        batches.push_back(batch);
        rest = after;
    }
    batches
}

/// About what a record takes on the wire.
fn size(letter: &Letter) -> usize {
    letter.body.len() + letter.key.len() + CONTENT_TYPE.0.len() + CONTENT_TYPE.1.len() + 32
}

fn record(letter: &Letter) -> Record {
    Record {
        key: Some(letter.key.clone().into_bytes()),
        value: Some(letter.body.to_vec()),
        headers: [(CONTENT_TYPE.0.to_owned(), CONTENT_TYPE.1.as_bytes().to_vec())].into(),
        timestamp: DateTime::from_timestamp_millis(letter.at.as_millis()).unwrap_or_default(),
    }
}

fn sasl(config: &Config, section: &str) -> Result<Option<SaslConfig>, OpenError> {
    if config.sasl == Sasl::None {
        return Ok(None);
    }
    let password = read_secret(&config.password, &config.password_file, &format!("{section}.password"))?;
    let (Some(username), Some(password)) = (config.username.clone(), password) else {
        return Err(setting(section, "sasl", "a login needs both username and password_file: give them"));
    };
    let credentials = Credentials::new(username, password.expose().to_owned());
    Ok(Some(match config.sasl {
        Sasl::None => return Ok(None),
        Sasl::Plain => SaslConfig::Plain(credentials),
        Sasl::ScramSha256 => SaslConfig::ScramSha256(credentials),
        Sasl::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }))
}

fn setting(section: &str, key: &'static str, what: &str) -> OpenError {
    OpenError::Setting { section: section.to_owned(), key, what: what.to_owned() }
}
