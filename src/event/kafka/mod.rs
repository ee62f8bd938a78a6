//! Events to Kafka: acks=all, partitioned by key, CloudEvents in structured mode (Kafka Protocol Binding 1.0.2, §3.3).
//!
//! * A letter is delivered when all in-sync replicas of its partition have it.
//! * A key always goes to the same partition. Partitions are filled side by side; of one partition, the next batch
//!   leaves when the one before is acknowledged, and after a failure nothing more does. So order is kept per key.
//! * A record that is too large or refused as such is poison. All else is tried again by the relay, after asking anew
//!   who leads: an unreachable or refusing broker, too few replicas, a missing topic or right.
//! * Without an idempotent producer, a batch whose acknowledgement was lost is there twice. Consumers drop duplicates
//!   by the event's id.

mod batch;
mod cluster;
mod partition;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use async_trait::async_trait;
use rskafka::client::{Credentials, SaslConfig};
use tokio::sync::Mutex;

use super::{
    fate::{Ahead, Fate},
    misfit::Misfit,
    sink::{EventSink, Letter, Undelivered},
    tls::Files,
};
use crate::config::{
    event::kafka::{Kafka as Config, Sasl},
    read_secret,
};
use crate::told::{Examined, Sound, Told};
use batch::Batch;
use cluster::Link;

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
    /// [`Misfit`] says what to change.
    pub fn open(name: &str, config: &Config) -> Result<Self, Misfit> {
        let section = format!("event.sink.{name}.kafka");
        let files =
            Files { ca: config.ca_file.as_deref(), cert: config.cert_file.as_deref(), key: config.key_file.as_deref() };
        let tls = if config.tls {
            Some(files.client()?)
        } else if files.any() {
            return Err(Misfit::new("tls", "certificates are given, but TLS is off: write tls = true"));
        } else {
            None
        };
        if config.tls && config.brokers.iter().any(|broker| broker.contains('[')) {
            let what = "with TLS a broker needs a host name, not an IPv6 address: certificates name hosts";
            return Err(Misfit::new("brokers", what));
        }
        let bound = |key| move |_| Misfit::new(key, "Kafka has no room for so many");
        let partitions = i32::try_from(config.partitions).map_err(bound("partitions"))?;
        let replication = i16::try_from(config.replication).map_err(bound("replication"))?;
        let link = Link {
            brokers: config.brokers.clone(),
            tls,
            sasl: sasl(config)?,
            topic: config.topic.clone(),
            create: config.create_topic.then_some((partitions, replication)),
            timeout: config.timeout,
            section,
            current: Mutex::default(),
        };
        Ok(Self { name: name.to_owned(), link, ahead: Ahead::default() })
    }
}

#[async_trait]
impl EventSink for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        let deadline = self.link.deadline();
        let mut fates = self.ahead.fates(letters);
        match self.link.cluster(deadline).await {
            Ok(cluster) => {
                let batch = Batch { link: &self.link, cluster: &cluster, letters, deadline };
                if !batch.send(&mut fates).await {
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

    async fn examine(&self) -> Examined {
        let found = self.link.examine().await.map_err(|failure| Told::parse(failure.words))?;
        let topic = &self.link.topic;
        let state = match found {
            Some(1) => format!("the topic {topic} is there, and so is the leader of its one partition"),
            Some(count) => format!("the topic {topic} is there, and so are the leaders of its {count} partitions"),
            None => format!("the topic {topic} is not there; the first event makes it (create_topic)"),
        };
        Ok(Sound::new(format!("Kafka at {}: {state}", self.link.brokers.join(", "))))
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("name", &self.name).field("link", &self.link).finish_non_exhaustive()
    }
}

fn sasl(config: &Config) -> Result<Option<SaslConfig>, Misfit> {
    if config.sasl == Sasl::None {
        return Ok(None);
    }
    let password = read_secret(&config.password, &config.password_file, "password")?;
    let (Some(username), Some(password)) = (config.username.clone(), password) else {
        return Err(Misfit::new("sasl", "a login needs both username and password_file: give them"));
    };
    let credentials = Credentials::new(username, password.expose().to_owned());
    Ok(Some(match config.sasl {
        Sasl::None => return Ok(None),
        Sasl::Plain => SaslConfig::Plain(credentials),
        Sasl::ScramSha256 => SaslConfig::ScramSha256(credentials),
        Sasl::ScramSha512 => SaslConfig::ScramSha512(credentials),
    }))
}
