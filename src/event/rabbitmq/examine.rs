//! Asking RabbitMQ whether events could be sent, and making nothing there.

use lapin::{
    Connection, Error,
    options::ExchangeDeclareOptions,
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout_at;

use super::{
    link::{Link, Step, is},
    words::Failure,
};

/// What became of looking for the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, durable and of kind topic.
    Ours,
    /// It is there. Its kind is told only to those who might make it.
    There,
    /// It is not there, and this user may make it.
    Missing,
}

const DURABLE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: false, durable: true, auto_delete: false, internal: false, nowait: false };

impl Link {
    /// Logs in and looks for the exchange, over a connection of its own.
    pub(super) async fn examine(&self) -> Result<Found, Failure> {
        timeout_at(self.deadline(), self.look()).await.unwrap_or_else(|_| Err(self.late(false)))
    }

    async fn look(&self) -> Result<Found, Failure> {
        let (connection, _cord) = self.connect().await.map_err(|error| self.failure(&error, Step::Connect))?;
        let found = self.look_for_exchange(&connection).await.map_err(|error| self.failure(&error, Step::Declare));
        // What was asked is known; how the farewell goes does not matter.
        let _ = connection.close(200, "done".into()).await;
        found
    }

    async fn look_for_exchange(&self, connection: &Connection) -> Result<Found, Error> {
        let passive = ExchangeDeclareOptions { passive: true, ..DURABLE };
        match self.declare_with(connection, passive, FieldTable::default()).await {
            Ok(()) => self.compare(connection).await,
            Err(error) if is(&error, AMQPSoftError::NOTFOUND) => self.may_make(connection, error).await,
            Err(error) => Err(error),
        }
    }

    /// To declare what is there as it is does nothing; as it is not, is refused.
    async fn compare(&self, connection: &Connection) -> Result<Found, Error> {
        match self.declare_with(connection, DURABLE, FieldTable::default()).await {
            Ok(()) => Ok(Found::Ours),
            Err(error) if is(&error, AMQPSoftError::ACCESSREFUSED) => Ok(Found::There),
            Err(error) => Err(error),
        }
    }

    /// RabbitMQ looks at the right to make an exchange before it looks at what is asked. So we ask for one that cannot
    /// be (its alternate exchange is a number), and learn of the right without making anything.
    async fn may_make(&self, connection: &Connection, missing: Error) -> Result<Found, Error> {
        let mut impossible = FieldTable::default();
        impossible.insert("alternate-exchange".into(), AMQPValue::LongInt(0));
        match self.declare_with(connection, DURABLE, impossible).await {
            Err(error) if is(&error, AMQPSoftError::PRECONDITIONFAILED) => Ok(Found::Missing),
            Err(error) if is(&error, AMQPSoftError::ACCESSREFUSED) => Err(missing),
            Err(error) => Err(error),
            Ok(()) => Ok(Found::Ours),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::{ConnectionProperties, ExchangeKind, options::ExchangeDeleteOptions};

    use super::{super::uri, *};
    use crate::{
        config::event::rabbitmq::RabbitMq as Config,
        event::{EventSink as _, rabbitmq::RabbitMq, support::rabbitmq::shared},
        secret::Secret,
        told::{Examined, Told},
    };

    async fn examined(config: &Config) -> Examined {
        RabbitMq::open("bus", config).unwrap().examine().await
    }

    async fn connection(config: &Config) -> Connection {
        Connection::connect_uri(uri(config).unwrap(), ConnectionProperties::default()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_missing_exchange_is_told_and_stays_missing() {
        let config = Config { exchange: "given-examined".to_owned(), ..shared().config() };
        for _ in 0..2 {
            assert!(examined(&config).await.unwrap().detail.ends_with("is not there; the first event makes it"));
        }
        let may_not = Config { exchange: config.exchange.clone(), ..shared().config_as("writer") };
        let told = examined(&may_not).await.unwrap_err();
        assert!(told.remedy.contains("make it (topic, durable)"), "{told:?}");
        RabbitMq::open("bus", &config).unwrap().ping().await.unwrap();
        assert!(examined(&config).await.unwrap().detail.ends_with("is a durable topic exchange"));
        assert!(examined(&may_not).await.unwrap().detail.contains("is not told to this user"));
        let channel = connection(&config).await.create_channel().await.unwrap();
        channel.exchange_delete(config.exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_wrong_is_told_with_what_to_do() {
        let (plain, tls) = (shared().config(), shared().tls());
        let fanout = Config { exchange: "examined-fanout".to_owned(), ..plain.clone() };
        let channel = connection(&plain).await.create_channel().await.unwrap();
        let (name, kind) = (fanout.exchange.as_str().into(), ExchangeKind::Fanout);
        channel.exchange_declare(name, kind, DURABLE, FieldTable::default()).await.unwrap();
        for (config, remedy) in [
            (fanout, "delete it, or name another"),
            (Config { password: Some(Secret::new("wr0ng")), ..plain.clone() }, "username and password_file"),
            (Config { url: plain.url.clone() + "/nowhere", ..plain.clone() }, "the end of the url"),
            (shared().config_as("stranger"), "rabbitmqctl set_permissions"),
            (Config { url: "amqp://localhost:1".to_owned(), ..plain }, "is it running at the url"),
            (Config { ca_file: Some(shared().path("other.crt")), ..tls }, "set ca_file"),
        ] {
            let told: Told = examined(&config).await.unwrap_err();
            assert!(told.remedy.contains(remedy), "{told:?}");
            assert!(!told.to_string().contains("s3cret") && !told.to_string().contains("wr0ng"), "{told}");
        }
    }
}
