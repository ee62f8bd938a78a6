//! Which sinks the configuration means. Only here is it known which of them were built in.

use std::sync::Arc;

use url::Url;

use super::{file::FileSink, filter::Types, relay::Addressee, schema::Scribe, sink::EventSink, webhook::WebhookSink};
use crate::config::event::{Event, Kind, Sink as Config};

/// Why a sink cannot be opened. Whether it answers is not asked here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The table of its kind is missing.
    #[error(
        "event.sink.{name}: kind = \"{kind}\" needs the table [event.sink.{name}.{kind}]: add it with its settings"
    )]
    NoTable {
        /// The sink.
        name: String,
        /// Its kind.
        kind: &'static str,
    },
    /// A setting does not fit.
    #[error("event.sink.{name}.{kind}.{key}: {what}")]
    Setting {
        /// The sink.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// It wants an event that there is not.
    #[error("event.sink.{name}.types: there is no event \"{stranger}\": see `brama events schema` for all there are")]
    NoSuchType {
        /// The sink.
        name: String,
        /// What is written there.
        stranger: String,
    },
    /// It was not built in.
    #[error(
        "event.sink.{name}: this binary was built without {kind}: use one built with the feature event-{kind}, or another kind of sink"
    )]
    NotBuilt {
        /// The sink.
        name: String,
        /// Its kind.
        kind: &'static str,
    },
}

/// Opens all sinks, each with what it wants.
///
/// # Errors
/// [`OpenError`] says what to change.
pub fn open_all(config: &Event) -> Result<Vec<Addressee>, OpenError> {
    let open_one =
        |(name, config): (&String, &Config)| Ok(Addressee { sink: open(name, config)?, types: types(name, config)? });
    config.sink.iter().map(open_one).collect()
}

/// Who writes the letters for these sinks, from `public_url` unless another source is configured; nobody when there are
/// no sinks, for the letters would go nowhere.
///
/// # Errors
/// [`OpenError`] says what to change.
pub fn scribe(config: &Event, public_url: &Url) -> Result<Option<Scribe>, OpenError> {
    let wanted: Vec<Types> =
        config.sink.iter().map(|(name, config)| types(name, config)).collect::<Result<_, OpenError>>()?;
    let source = match &config.source {
        Some(source) => source.clone(),
        None => public_url.as_str().trim_end_matches('/').to_owned(),
    };
    Ok((!wanted.is_empty()).then(|| Scribe::new(source, config.profile, wanted)))
}

fn types(name: &str, config: &Config) -> Result<Types, OpenError> {
    Types::parse(&config.types).map_err(|stranger| OpenError::NoSuchType { name: name.to_owned(), stranger })
}

/// Opens the sink `name`. It need not answer yet: a broker that is down keeps nobody from starting. Must be called on
/// the runtime of the control plane.
///
/// # Errors
/// [`OpenError`] says what to change.
pub fn open(name: &str, config: &Config) -> Result<Arc<dyn EventSink>, OpenError> {
    let kind = config.kind.word();
    match config.kind {
        Kind::File => {
            let table = config.file.as_ref().ok_or_else(|| no_table(name, kind))?;
            Ok(Arc::new(FileSink::open(name, table)))
        }
        Kind::Webhook => {
            let table = config.webhook.as_ref().ok_or_else(|| no_table(name, kind))?;
            Ok(Arc::new(WebhookSink::open(name, table)?))
        }
        #[cfg(feature = "event-rabbitmq")]
        Kind::RabbitMq => {
            let table = config.rabbitmq.as_ref().ok_or_else(|| no_table(name, kind))?;
            Ok(Arc::new(super::rabbitmq::RabbitMq::open(name, table).map_err(|misfit| setting(name, kind, misfit))?))
        }
        #[cfg(feature = "event-kafka")]
        Kind::Kafka => {
            let table = config.kafka.as_ref().ok_or_else(|| no_table(name, kind))?;
            Ok(Arc::new(super::kafka::Kafka::open(name, table).map_err(|misfit| setting(name, kind, misfit))?))
        }
        #[cfg(not(feature = "event-rabbitmq"))]
        Kind::RabbitMq => Err(OpenError::NotBuilt { name: name.to_owned(), kind }),
        #[cfg(not(feature = "event-kafka"))]
        Kind::Kafka => Err(OpenError::NotBuilt { name: name.to_owned(), kind }),
    }
}

fn no_table(name: &str, kind: &'static str) -> OpenError {
    OpenError::NoTable { name: name.to_owned(), kind }
}

#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
fn setting(name: &str, kind: &'static str, misfit: super::misfit::Misfit) -> OpenError {
    OpenError::Setting { name: name.to_owned(), kind, key: misfit.key, what: misfit.what }
}
