//! The connection to RabbitMQ: made when it is needed, thrown away when it fails, bounded in time.
//!
//! The driver can reconnect by itself, but then nobody knows which letters were acknowledged before. Here a failure
//! leaves nothing behind, and the relay offers again what was not acknowledged.

use std::{
    fmt,
    net::Shutdown,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::{
    Channel, Connection, ConnectionProperties, ConnectionStatus, Error, ErrorKind, ExchangeKind,
    options::{ConfirmSelectOptions, ExchangeDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    tcp::{AMQPUriTcpExt as _, AsyncTcpStream, RustlsConnector},
    types::{FieldTable, ShortString},
    uri::{AMQPScheme, AMQPUri},
};
use socket2::{SockRef, Socket};
use tokio::time::{Instant, timeout, timeout_at};

use super::words::{Failure, Of};

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Connecting and logging in.
    Connect,
    /// Making or finding the exchange.
    Declare,
    /// Opening a channel, publishing, waiting for the confirm.
    Publish,
}

/// Where to connect, and the connection when there is one.
pub(super) struct Link {
    pub(super) uri: AMQPUri,
    pub(super) tls: Option<RustlsConnector>,
    pub(super) exchange: ShortString,
    /// Longest a batch may take.
    pub(super) timeout: Duration,
    /// Where the settings stand, for people.
    pub(super) section: String,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<(Connection, Cord)>,
    /// Tells a connection that failed from one made since.
    number: u64,
    /// Whether the exchange is known to be there.
    declared: bool,
    /// Open channels nobody uses.
    idle: Vec<Channel>,
}

/// A channel with publisher confirms, for one batch at a time.
pub(super) struct Line {
    pub(super) channel: Channel,
    /// Of its connection.
    pub(super) status: ConnectionStatus,
    connection: u64,
}

impl Link {
    pub(super) fn new(
        uri: AMQPUri,
        tls: Option<RustlsConnector>,
        exchange: ShortString,
        timeout: Duration,
        section: String,
    ) -> Self {
        Self { uri, tls, exchange, timeout, section, state: tokio::sync::Mutex::default() }
    }

    /// A channel to an exchange that is there, all made now if need be.
    pub(super) async fn line(&self, deadline: Instant) -> Result<Line, Failure> {
        let line = timeout_at(deadline, self.try_line()).await.unwrap_or_else(|_| Err(self.late(false)));
        if line.is_err() {
            // Whoever holds the state is making a new connection already.
            if let Ok(mut state) = self.state.try_lock() {
                *state = State { number: state.number, ..State::default() };
            }
        }
        line
    }

    async fn try_line(&self) -> Result<Line, Failure> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let (connection, cord) = match state.connection.take().filter(|(connection, _)| connection.status().connected())
        {
            Some(connected) => connected,
            None => {
                let connected = self.connect().await.map_err(|error| self.failure(&error, Step::Connect))?;
                *state = State { number: state.number + 1, ..State::default() };
                connected
            }
        };
        let (connection, _) = state.connection.insert((connection, cord));
        if !state.declared {
            self.declare(connection).await.map_err(|error| self.failure(&error, Step::Declare))?;
            state.declared = true;
        }
        let open = std::iter::from_fn(|| state.idle.pop()).find(|channel| channel.status().connected());
        let channel = match open {
            Some(channel) => channel,
            None => open_channel(connection).await.map_err(|error| self.failure(&error, Step::Publish))?,
        };
        Ok(Line { channel, status: connection.status().clone(), connection: state.number })
    }

    /// Takes back a channel on which all went well.
    pub(super) async fn give_back(&self, line: Line) {
        let mut state = self.state.lock().await;
        if state.number == line.connection && line.channel.status().connected() {
            state.idle.push(line.channel);
        }
    }

    /// Drops a channel on which something failed, and the connection if that has failed too.
    pub(super) async fn discard(&self, line: Line, of: Of) {
        let mut state = self.state.lock().await;
        if state.number == line.connection {
            state.declared = false;
            if of == Of::Connection {
                state.idle.clear();
                state.connection = None;
            }
        }
    }

    /// Asks whether the exchange is there.
    pub(super) async fn find_exchange(&self, line: &Line, deadline: Instant) -> Result<(), Failure> {
        let passive = ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
        let asked =
            line.channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, passive, FieldTable::default());
        let answer = timeout_at(deadline, asked).await.map_err(|_| self.late(line.status.blocked()))?;
        answer.map_err(|error| self.failure(&error, Step::Declare))
    }

    /// When what begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// No answer in time.
    pub(super) fn late(&self, blocked: bool) -> Failure {
        Failure::late(self.timeout, blocked, &self.section)
    }

    pub(super) fn failure(&self, error: &Error, step: Step) -> Failure {
        Failure::new(error, step, &self.section)
    }

    /// Makes the exchange. Who may not make it may still use one that is there.
    async fn declare(&self, connection: &Connection) -> Result<(), Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let passive = ExchangeDeclareOptions { passive: true, ..durable };
        match self.declare_as(connection, durable).await {
            Err(error) if is_refused(&error) => self.declare_as(connection, passive).await,
            declared => declared,
        }
    }

    /// On a channel of its own: a refusal closes it.
    async fn declare_as(&self, connection: &Connection, options: ExchangeDeclareOptions) -> Result<(), Error> {
        self.declare_with(connection, options, FieldTable::default()).await
    }

    pub(super) async fn declare_with(
        &self,
        connection: &Connection,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let channel = connection.create_channel().await?;
        let declared = channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, options, arguments).await;
        if declared.is_ok() {
            channel.close(200, "done".into()).await?;
        }
        declared
    }

    pub(super) async fn connect(&self) -> Result<(Connection, Cord), Error> {
        let cord = Cord::default();
        let (held, tls) = (Arc::clone(&cord.0), self.tls.clone());
        let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..self.uri.clone() };
        let limit = self.timeout;
        let runtime = lapin::runtime::default_runtime()?;
        let properties = ConnectionProperties::default().with_connection_name("brama".into());
        // The driver dials on a thread of its own, which nobody's giving up would end.
        let connection = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let dialling = async {
                    let stream = plain.connect_async(&runtime).await?;
                    if let AsyncTcpStream::Plain(stream) = &stream {
                        let socket = SockRef::from(stream.get_ref()).try_clone()?;
                        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
                    }
                    match &tls {
                        Some(tls) => stream.into_rustls(tls, &uri.authority.host).await,
                        None => Ok(stream),
                    }
                };
                Ok(timeout(limit, dialling).await.unwrap_or_else(|late| Err(late.into()))?)
            },
            properties,
        )
        .await?;
        Ok((connection, cord))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URI: it holds the password.
        write!(f, "Link({}:{})", self.uri.authority.host, self.uri.authority.port)
    }
}

async fn open_channel(connection: &Connection) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

fn is_refused(error: &Error) -> bool {
    is(error, AMQPSoftError::ACCESSREFUSED)
}

/// Whether RabbitMQ closed the channel with this code.
pub(super) fn is(error: &Error, code: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if *said.kind() == AMQPErrorKind::Soft(code))
}

impl Drop for Link {
    fn drop(&mut self) {
        // All is well: the driver may say goodbye.
        if let Some((_, cord)) = &self.state.get_mut().connection {
            *cord.socket() = None;
        }
    }
}

/// Shuts the socket of a connection that is given up. Towards a peer that says nothing, or has blocked us, the driver's
/// thread would otherwise wait for long or for ever.
#[derive(Default)]
pub(super) struct Cord(Arc<Mutex<Option<Socket>>>);

impl Cord {
    fn socket(&self) -> MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cord {
    fn drop(&mut self) {
        if let Some(socket) = &*self.socket() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
