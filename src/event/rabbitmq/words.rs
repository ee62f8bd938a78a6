//! What RabbitMQ says, as what an operator should do; and whose fault it is.

use std::time::Duration;

use lapin::{
    Error, ErrorKind,
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::ShortStringError,
};

use super::link::Step;
use crate::told;

/// Why something did not go through.
#[derive(Debug)]
pub(super) struct Failure {
    /// What happened and what to do.
    pub(super) words: String,
    /// What it says about the connection and the letter.
    pub(super) of: Of,
}

/// Where a failure lies, the lesser first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    /// A queue refused this letter for now, or there is none that wants it yet; nothing is closed.
    Queue,
    /// RabbitMQ closed the channel.
    Channel,
    /// RabbitMQ closed the channel over a letter on it; over which one, it does not say.
    SomeLetter,
    /// The connection is of no use any more.
    Connection,
}

impl Failure {
    /// What an error of the driver during `step` means. `section` is where the settings stand.
    pub(super) fn new(error: &Error, step: Step, section: &str) -> Self {
        Self { words: words(error, step, section), of: of(error, step) }
    }

    /// No answer within `limit`.
    pub(super) fn late(limit: Duration, blocked: bool, section: &str) -> Self {
        let advice = if blocked {
            "it is short of memory or disk and takes nothing for now (an alarm is set): make room".to_owned()
        } else {
            format!("look at its load and the network, or raise timeout in [{section}]")
        };
        let words = format!("RabbitMQ did not answer within {} ms; {advice}", limit.as_millis());
        Self { words, of: Of::Connection }
    }

    /// A queue refused a letter.
    pub(super) fn refused() -> Self {
        let words = "a queue refuses the message (basic.nack); it is full (x-overflow = reject-publish) or failing: \
                     let its consumers catch up, or look at the queue";
        Self { words: words.to_owned(), of: Of::Queue }
    }
}

/// A letter does not fit into AMQP.
pub(super) fn misfit(why: ShortStringError) -> String {
    format!("its id or type is too long for RabbitMQ ({why})")
}

fn of(error: &Error, step: Step) -> Of {
    match error.kind() {
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::CONTENTTOOLARGE)
                if step == Step::Publish =>
            {
                Of::SomeLetter
            }
            AMQPErrorKind::Soft(_) => Of::Channel,
            AMQPErrorKind::Hard(_) => Of::Connection,
        },
        ErrorKind::InvalidChannel(_) | ErrorKind::InvalidChannelState(..) => Of::Channel,
        _ => Of::Connection,
    }
}

fn words(error: &Error, step: Step, section: &str) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(said) => told::quoting(&advice(said, step, section), said.get_message()),
        ErrorKind::IOError(_) if is_about_certificates(error) => told::quoting(
            &format!(
                "the certificate of RabbitMQ is not trusted; set ca_file in [{section}] to the authority that signed it, \
                 and use the host name it was made for"
            ),
            error,
        ),
        ErrorKind::IOError(_) | ErrorKind::ParsingError(_) | ErrorKind::MissingHeartbeatError => told::quoting(
            &format!(
                "RabbitMQ cannot be reached; is it running at the url of [{section}], is TLS meant (amqps://), does it \
                 ask for a client certificate?"
            ),
            error,
        ),
        _ => format!("RabbitMQ cannot be used: {error}"),
    }
}

fn is_about_certificates(error: &Error) -> bool {
    error.to_string().contains("invalid peer certificate")
}

fn advice(said: &AMQPError, step: Step, section: &str) -> String {
    match (said.kind(), step) {
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(_), Step::Connect)
            if said.get_id() == AMQPSoftError::ACCESSREFUSED.get_id() =>
        {
            format!("RabbitMQ refuses user or password; check username and password_file in [{section}]")
        }
        (AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), _) => format!(
            "the virtual host is missing or closed to this user; check the end of the url in [{section}], or give the \
             user rights on it (rabbitmqctl set_permissions)"
        ),
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), Step::Declare) => format!(
            "the user may not make the exchange; make it beforehand (topic, durable) or give the user the right to \
             configure it; check exchange in [{section}]"
        ),
        (AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND), Step::Declare) => format!(
            "the exchange is not there and the user may not make it; make it (topic, durable) or give the user the \
             right to configure it; check exchange in [{section}]"
        ),
        (AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED), Step::Declare) => format!(
            "an exchange of this name is there, but not as a durable topic exchange; delete it, or name another in \
             exchange of [{section}]"
        ),
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), _) => {
            "the user may not publish to the exchange; give it the right to write there (rabbitmqctl set_permissions)"
                .to_owned()
        }
        (AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND), _) => {
            "the exchange has been deleted; it is made again, but its bindings must be too".to_owned()
        }
        (AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::CONTENTTOOLARGE), _) => {
            "RabbitMQ does not take the message; is it larger than max_message_size?".to_owned()
        }
        (AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED), _) => "RabbitMQ is shutting down or was told to close \
                                                                     the connection"
            .to_owned(),
        _ => "RabbitMQ refuses".to_owned(),
    }
}
