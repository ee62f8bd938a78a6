//! `[event.sink.NAME.rabbitmq]`: a RabbitMQ exchange.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{
        problem::Problems,
        secrets,
        value::{At, Check, section},
    },
    secret::Secret,
};

section! {
    /// A RabbitMQ exchange.
    pub struct RabbitMq {
        /// Address: amqp://host:5672/vhost, or amqps://host:5671/vhost for TLS. The default vhost "/" is written %2f.
        url: String,
        /// User name.
        username: Option<String> = None,
        /// Password; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// File with the certificate authorities of the server (PEM); by default the system's.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// Durable topic exchange to publish to; made when it is not there.
        exchange: String = "brama.events".into(),
        /// Routing key; {type} stands for the event's type.
        routing_key: String = "{type}".into(),
        /// How long an event that no queue wants, and what comes behind it, waits for a queue to be bound before it goes
        /// to the dead letters. Others with its routing key go there at once then, until a queue is bound.
        unroutable_after: Duration = Duration::from_mins(10),
        /// Longest a batch of events may take until the broker has confirmed it.
        timeout: Duration = Duration::from_secs(10),
    }
}

impl Check for RabbitMq {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let tls = self.url.starts_with("amqps://");
        if !tls && !self.url.starts_with("amqp://") {
            at.problem_at(
                "url",
                problems,
                "it is not a RabbitMQ address",
                "write amqp://host:5672/vhost, or amqps://host:5671/vhost for TLS",
            );
        } else if !tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            at.problem_at(
                "url",
                problems,
                "certificates are given, but the address is without TLS",
                "write amqps://host:5671/vhost",
            );
        }
        if self.exchange.is_empty() {
            at.problem_at("exchange", problems, "it is empty", "name an exchange, such as \"brama.events\"");
        }
        super::check_client_certificate(self.cert_file.is_some(), self.key_file.is_some(), at, problems);
        super::check_given_once("password", self.password.is_some(), self.password_file.is_some(), at, problems);
        secrets::check(at, "password", &self.password, &self.password_file, problems);
    }
}
