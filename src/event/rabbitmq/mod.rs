//! Events to RabbitMQ: a durable topic exchange, persistent messages, publisher confirms.
//!
//! * A letter is delivered when RabbitMQ has confirmed it: every queue it was routed to has it on disk.
//! * Letters of different keys travel side by side; of one key, the next leaves when the one before is confirmed. A
//!   queue may refuse one message and take the next (a full queue whose consumer just took one), so anything faster
//!   could change the order within a key.
//! * A letter no queue wants is returned (mandatory); it waits for a queue for a while, and is poison then. One that is
//!   too large is poison at once. All else is tried again by the relay: an unreachable or refusing broker, a missing
//!   right, a full queue.
//! * A channel is used by one batch at a time and thrown away when anything on it fails.

mod batch;
mod examine;
mod link;
mod routes;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use async_trait::async_trait;
use lapin::{
    tcp::RustlsConnector,
    types::ShortString,
    uri::{AMQPScheme, AMQPUri},
};
use tokio::time::Instant;

use super::{
    fate::{Ahead, Fate},
    misfit::Misfit,
    sink::{EventSink, Letter, Undelivered},
    tls::Files,
};
use crate::{
    config::{event::rabbitmq::RabbitMq as Config, read_secret},
    told::{Examined, Sound, Told},
};
use batch::Batch;
use examine::Found;
use link::{Line, Link};
use routes::Routes;
use words::{Failure, Of};

/// Seconds without a sign of life after which either side gives the connection up; RabbitMQ may ask for fewer.
const HEARTBEAT: u16 = 20;

/// The sink.
pub struct RabbitMq {
    name: String,
    link: Link,
    routing_key: String,
    routes: Routes,
    ahead: Ahead,
}

impl RabbitMq {
    /// The sink `name`. Reads the files that `config` names; RabbitMQ need not answer yet. To be called on the runtime
    /// of the control plane.
    ///
    /// # Errors
    /// [`Misfit`] says what to change.
    pub fn open(name: &str, config: &Config) -> Result<Self, Misfit> {
        let section = format!("event.sink.{name}.rabbitmq");
        let uri = uri(config)?;
        let tls = tls(config, &uri)?;
        let exchange = ShortString::try_new(&config.exchange)
            .map_err(|error| Misfit::new("exchange", format!("give it a shorter name ({error})")))?;
        let link = Link::new(uri, tls, exchange, config.timeout, section);
        let routes = Routes::new(config.unroutable_after);
        let routing_key = config.routing_key.clone();
        Ok(Self { name: name.to_owned(), link, routing_key, routes, ahead: Ahead::default() })
    }

    /// Sends what is held, lanes side by side.
    async fn side_by_side(&self, letters: &[Letter], fates: &mut [Fate], deadline: Instant) -> Option<Of> {
        match self.link.line(deadline).await {
            Ok(line) => {
                let failed = self.batch(&line, letters, deadline).send(fates).await;
                self.close(line, failed).await
            }
            Err(failure) => Some(hold(fates, failure)),
        }
    }

    /// Sends what is not taken yet one after the other, each alone on a channel that is well, so that RabbitMQ cannot
    /// leave open which letter it will not have.
    async fn one_by_one(&self, letters: &[Letter], fates: &mut [Fate], deadline: Instant) {
        for index in 0..letters.len() {
            if matches!(fates.get(index), Some(Fate::Taken | Fate::Never(_)) | None) {
                continue;
            }
            let failed = match self.link.line(deadline).await {
                Ok(line) => {
                    let failed = self.batch(&line, letters, deadline).wave(&[index], fates).await;
                    self.close(line, failed).await
                }
                Err(failure) => Some(hold(fates, failure)),
            };
            match (failed, fates.get_mut(index)) {
                (Some(Of::SomeLetter), Some(fate)) => condemn(fate),
                (Some(_), _) => return,
                (None, _) => {}
            }
        }
    }

    fn batch<'a>(&'a self, line: &'a Line, letters: &'a [Letter], deadline: Instant) -> Batch<'a> {
        let Self { link, routes, routing_key, .. } = self;
        Batch { link, line, routes, routing_key, letters, deadline }
    }

    async fn close(&self, line: Line, failed: Option<Of>) -> Option<Of> {
        match failed {
            None => self.link.give_back(line).await,
            Some(of) => self.link.discard(line, of).await,
        }
        failed
    }
}

#[async_trait]
impl EventSink for RabbitMq {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        let deadline = self.link.deadline();
        let mut fates = self.ahead.fates(letters);
        if self.side_by_side(letters, &mut fates, deadline).await == Some(Of::SomeLetter) {
            self.one_by_one(letters, &mut fates, deadline).await;
        }
        self.ahead.settle(letters, &fates)
    }

    async fn ping(&self) -> Result<(), String> {
        let deadline = self.link.deadline();
        let line = self.link.line(deadline).await.map_err(|failure| failure.words)?;
        let answer = self.link.find_exchange(&line, deadline).await;
        match answer {
            Ok(()) => self.link.give_back(line).await,
            Err(ref failure) => self.link.discard(line, failure.of).await,
        }
        answer.map_err(|failure| failure.words)
    }

    async fn examine(&self) -> Examined {
        let found = self.link.examine().await.map_err(|failure| Told::parse(failure.words))?;
        let (uri, exchange) = (&self.link.uri, &self.link.exchange);
        let state = match found {
            Found::Ours => "is a durable topic exchange",
            Found::There => "is there; whether it is a durable topic exchange is not told to this user",
            Found::Missing => "is not there; the first event makes it",
        };
        let place = format!("{}:{}, virtual host {}", uri.authority.host, uri.authority.port, uri.vhost);
        Ok(Sound::new(format!("RabbitMQ at {place}: {exchange} {state}")))
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("name", &self.name).field("link", &self.link).finish_non_exhaustive()
    }
}

/// Nothing can be sent now.
fn hold(fates: &mut [Fate], failure: Failure) -> Of {
    for fate in fates.iter_mut().filter(|fate| !matches!(fate, Fate::Taken | Fate::Never(_))) {
        *fate = Fate::Later(failure.words.clone());
    }
    failure.of
}

fn condemn(fate: &mut Fate) {
    if let Fate::Later(why) = fate {
        *fate = Fate::Never(std::mem::take(why));
    }
}

fn uri(config: &Config) -> Result<AMQPUri, Misfit> {
    const FORM: &str = "write amqp://host:5672/vhost, or amqps://host:5671/vhost for TLS";
    // No error quotes the address: it may hold a password.
    let bad = |why: &dyn fmt::Display| Misfit::new("url", format!("it is not an AMQP address ({why}): {FORM}"));
    let url = url::Url::parse(&config.url).map_err(|why| bad(&why))?;
    let mut uri: AMQPUri = config.url.parse().map_err(|_| bad(&"it cannot be read"))?;
    // The driver takes an IPv6 address for no host, and no host for localhost.
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad(&"it names no host"))?;
    uri.authority.host = host.trim_matches(['[', ']']).to_owned();
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT));
    let password = read_secret(&config.password, &config.password_file, "password")?;
    match (&config.username, password) {
        (Some(username), Some(password)) => {
            username.clone_into(&mut uri.authority.userinfo.username);
            password.expose().clone_into(&mut uri.authority.userinfo.password);
        }
        (None, None) if !url.username().is_empty() => {}
        _ => {
            let what = "RabbitMQ wants a login: give both username and password_file";
            return Err(Misfit::new("username", what));
        }
    }
    Ok(uri)
}

fn tls(config: &Config, uri: &AMQPUri) -> Result<Option<RustlsConnector>, Misfit> {
    let files =
        Files { ca: config.ca_file.as_deref(), cert: config.cert_file.as_deref(), key: config.key_file.as_deref() };
    match uri.scheme {
        AMQPScheme::AMQPS => {
            let client = files.client()?;
            Ok(Some(RustlsConnector::from(client)))
        }
        AMQPScheme::AMQP if files.any() => {
            let what = "certificates are given, but the address is without TLS: write amqps://…";
            Err(Misfit::new("url", what))
        }
        AMQPScheme::AMQP => Ok(None),
    }
}
