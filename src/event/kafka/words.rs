//! What Kafka says, as what an operator should do.

use std::time::Duration;

use rskafka::{
    BackoffError, ConnectionError, SaslError,
    client::error::{Error, ProtocolError},
};

use crate::told;

/// What is known of an error.
pub(super) struct Failure {
    /// What happened and what to do.
    pub(super) words: String,
    /// The batch is larger than the topic takes.
    pub(super) too_large: bool,
    /// The record itself is refused.
    pub(super) invalid: bool,
    /// Another broker leads the partition now, or will in a moment.
    pub(super) moving: bool,
}

impl Failure {
    /// What `error` means. `section` is where the settings stand.
    pub(super) fn new(error: &Error, section: &str) -> Self {
        let code = code(error);
        Self {
            words: words(error, code, section),
            too_large: matches!(code, Some(ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge)),
            invalid: matches!(code, Some(ProtocolError::InvalidRecord | ProtocolError::InvalidTimestamp)),
            moving: matches!(
                code,
                Some(
                    ProtocolError::NotLeaderOrFollower
                        | ProtocolError::LeaderNotAvailable
                        | ProtocolError::UnknownTopicOrPartition
                )
            ),
        }
    }

    /// No answer within `limit`.
    pub(super) fn late(limit: Duration, section: &str) -> Self {
        Self::from(format!(
            "Kafka did not answer within {} ms; look at its load, its in-sync replicas and the network, or raise timeout \
             in [{section}]",
            limit.as_millis()
        ))
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self { words, too_large: false, invalid: false, moving: false }
    }
}

/// The code a broker answered with, if one did.
fn code(error: &Error) -> Option<ProtocolError> {
    match error {
        Error::ServerError { protocol_error, .. } => Some(*protocol_error),
        Error::Connection(ConnectionError::SaslFailed(SaslError::ApiError(code))) => Some(*code),
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            source.downcast_ref::<Error>().and_then(code)
        }
        _ => None,
    }
}

fn words(error: &Error, code: Option<ProtocolError>, section: &str) -> String {
    let said = error.to_string();
    let advice = match code {
        Some(code) => by_code(code, section),
        None => by_text(&said, section),
    };
    told::quoting(&advice, said)
}

fn by_code(code: ProtocolError, section: &str) -> String {
    match code {
        ProtocolError::UnknownTopicOrPartition => unknown_topic(section),
        ProtocolError::TopicAuthorizationFailed => format!(
            "the user may not write to the topic; give it Describe and Write on it (kafka-acls), and Create if \
             create_topic is set; check topic in [{section}]"
        ),
        ProtocolError::ClusterAuthorizationFailed => format!(
            "the user may not do this in the cluster; give it Create on the topic, or make the topic yourself and drop \
             create_topic in [{section}]"
        ),
        ProtocolError::SaslAuthenticationFailed => wrong_password(section),
        ProtocolError::UnsupportedSaslMechanism | ProtocolError::IllegalSaslState => wrong_mechanism(section),
        ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge => {
            "it is larger than the topic takes; raise max.message.bytes of the topic".to_owned()
        }
        ProtocolError::InvalidRecord | ProtocolError::InvalidTimestamp => {
            "the topic refuses the record; look at its cleanup.policy, message.timestamp settings and validation"
                .to_owned()
        }
        ProtocolError::NotEnoughReplicas | ProtocolError::NotEnoughReplicasAfterAppend => {
            "too few replicas are in sync (min.insync.replicas); bring the missing brokers back".to_owned()
        }
        ProtocolError::LeaderNotAvailable | ProtocolError::NotLeaderOrFollower => {
            "the partition has no leader, or a new one; it will be asked for again".to_owned()
        }
        ProtocolError::InvalidReplicationFactor => {
            format!("there are fewer brokers than copies asked for; lower replication in [{section}], or add brokers")
        }
        ProtocolError::InvalidTopicException | ProtocolError::InvalidPartitions | ProtocolError::PolicyViolation => {
            format!("Kafka does not want such a topic; check topic, partitions and replication in [{section}]")
        }
        ProtocolError::KafkaStorageError => "Kafka cannot write to its disk; look at the broker".to_owned(),
        _ => "Kafka refuses".to_owned(),
    }
}

/// While connecting, the driver gives no codes but a text for all the brokers it tried.
fn by_text(said: &str, section: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["SaslAuthenticationFailed"]) {
        wrong_password(section)
    } else if says(&["UnsupportedSaslMechanism", "unsupported sasl mechanism", "IllegalSaslState"]) {
        wrong_mechanism(section)
    } else if says(&["invalid peer certificate"]) {
        format!(
            "the certificate of Kafka is not trusted; set ca_file in [{section}] to the authority that signed it, and \
             use the host names it was made for"
        )
    } else if says(&["received corrupt message", "received fatal alert", "Cannot read framed message", "handshake eof"])
    {
        format!(
            "Kafka hangs up; are tls, sasl and the port of [{section}] those of one listener, does it ask for a client \
             certificate?"
        )
    } else {
        format!(
            "Kafka cannot be reached; is it running at brokers of [{section}], and can its advertised.listeners be?"
        )
    }
}

/// The topic is not among those this user may see.
pub(super) fn unknown_topic(section: &str) -> String {
    format!(
        "the topic is not there, or the user may not see it; make it, or set create_topic in [{section}]; give the user \
         Describe and Write on it"
    )
}

fn wrong_password(section: &str) -> String {
    format!("Kafka refuses user or password; check username and password_file in [{section}]")
}

fn wrong_mechanism(section: &str) -> String {
    format!("Kafka does not offer this login; check sasl in [{section}] and sasl.enabled.mechanisms of the listener")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_refuses_is_told_with_its_remedy() {
        for (code, remedy) in [
            (ProtocolError::TopicAuthorizationFailed, "Describe and Write"),
            (ProtocolError::UnknownTopicOrPartition, "create_topic in [event.sink.log.kafka]"),
            (ProtocolError::NotEnoughReplicas, "min.insync.replicas"),
            (ProtocolError::SaslAuthenticationFailed, "password_file in [event.sink.log.kafka]"),
        ] {
            let error = Error::Connection(ConnectionError::SaslFailed(SaslError::ApiError(code)));
            let failure = Failure::new(&error, "event.sink.log.kafka");
            assert!(failure.words.contains(remedy), "{}", failure.words);
            assert!(!failure.too_large && !failure.invalid);
            assert_eq!(failure.moving, code == ProtocolError::UnknownTopicOrPartition);
        }
    }
}
