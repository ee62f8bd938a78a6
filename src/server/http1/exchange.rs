//! One request and its answer.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{StatusCode, header::HeaderMap};
use http_body::Body as _;
use http_body_util::combinators::BoxBody;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    answer::{self, Asked},
    inbound::Inbound,
    request::Head,
    wire::Shared,
};
use crate::{
    body::{Body, BodyError},
    http1::{BodyFraming, Outflow, Sending},
    message::{Request, Response},
    server::{Connection, Handler, drain::Roster, respond, upgrade::Upgrading},
};

/// How a connection goes on after an answer.
#[derive(Debug)]
pub(super) enum After {
    /// With the next request.
    Next,
    /// Not at all: everything was said.
    Close,
    /// Not at all, and what the client still sends is not wanted.
    Linger,
    /// It ended before the answer was whole.
    Gone,
    /// As what the handler makes of it.
    Switch(Upgrading),
}

thread_local! {
    /// Room to write heads in, handed from exchange to exchange.
    static ROOM: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Answers one request.
pub(super) async fn answer<IO, H>(
    wire: &Shared<IO>,
    head: Head,
    handler: Rc<H>,
    connection: Rc<Connection>,
    roster: &Roster,
) -> After
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let Head { parts, framing, keeps_alive, takes_trailers, .. } = head;
    let asked = Asked { method: parts.method.clone(), version: parts.version };
    // What an earlier request was offered, and nobody took, is gone with it.
    drop(connection.upgraded());
    let upgrading = (framing == BodyFraming::Upgrade).then(|| connection.offer_upgrade());
    let request = Request { head: parts, body: body(wire, framing) };
    let Some(response) = ask(wire, handler, request, connection).await else { return After::Gone };
    let response = screen(wire, response, upgrading.is_some());
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let keeps_alive =
        keeps_alive && !answer::says_close(&response.head.headers) && !roster.is_draining() && request_ends(wire);
    let sent = Answering::new(response, &asked, keeps_alive, takes_trailers).send(wire).await;
    match (sent, upgrading) {
        (Err(error), _) => {
            tracing::debug!(%error, "an answer was cut");
            After::Gone
        }
        (Ok(_), Some(upgrading)) if switches => After::Switch(upgrading),
        // A body that is still being read after the answer is nobody's next request.
        (Ok(Ended::Keeps), _) if keeps_alive && wire.lock().has_whole_request() => After::Next,
        (Ok(_), _) if wire.lock().has_whole_request() => After::Close,
        (Ok(_), _) => After::Linger,
    }
}

/// Answers what is no request to the handler. Nothing after it is read.
pub(super) async fn refuse<IO>(wire: &Shared<IO>, response: Response) -> After
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Asked { method: http::Method::GET, version: http::Version::HTTP_11 };
    match Answering::new(response, &asked, false, false).send(wire).await {
        Ok(_) => After::Linger,
        Err(_) => After::Gone,
    }
}

/// The body of the request for the handler.
fn body<IO>(wire: &Shared<IO>, framing: BodyFraming) -> Body
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match framing {
        BodyFraming::Length(_) | BodyFraming::Chunked => {
            let exchange = wire.lock().exchange();
            Body::Boxed(BoxBody::new(Inbound::new(wire.source(), exchange)))
        }
        _ => Body::Empty,
    }
}

/// The handler's answer; nothing when the client left before it.
async fn ask<IO, H>(wire: &Shared<IO>, handler: Rc<H>, request: Request, connection: Rc<Connection>) -> Option<Response>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let mut answer = pin!(respond::ask(handler, request, connection));
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending => wire.lock().poll_gone(cx).map(|()| None),
    })
    .await
}

/// The answer, or what must be said instead.
fn screen<IO>(wire: &Shared<IO>, response: Response, asks_upgrade: bool) -> Response
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // Whatever the handler made of it: the request had no one reading.
    if let Some(violation) = wire.lock().broken() {
        return respond::refuse(violation);
    }
    if response.status().is_informational() && !(asks_upgrade && response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        tracing::error!(status = %response.status(), "a handler switched protocols where nobody asked for it");
        return respond::plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here\n");
    }
    response
}

/// True when the request has ended, or may still end: what nobody will read ends the connection (RFC 9112 §9.3).
fn request_ends<IO>(wire: &Shared<IO>) -> bool
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if wire.has_reader() {
        return wire.lock().broken().is_none();
    }
    let mut wire = wire.lock();
    wire.pass_over();
    wire.has_whole_request() && wire.broken().is_none()
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Where the client sees it.
    Keeps,
    /// With the connection.
    Closes,
}

/// An answer on its way.
struct Answering {
    outflow: Outflow,
    body: Body,
    sending: Sending,
    takes_trailers: bool,
    /// Nothing more comes of the body.
    ended: bool,
}

impl Answering {
    fn new(response: Response, asked: &Asked, keeps_alive: bool, takes_trailers: bool) -> Self {
        let Response { head, lines, body } = response;
        let sending = answer::sending(head.status, asked, &body);
        let keeps_alive = keeps_alive && sending != Sending::UntilClose;
        let mut outflow = Outflow::with_room(ROOM.take());
        answer::head(&head, &lines, asked, sending, keeps_alive, &mut outflow.lines);
        let takes_trailers = takes_trailers && sending == Sending::Chunked;
        Self { outflow, body, sending, takes_trailers, ended: matches!(sending, Sending::Nothing | Sending::Length(0)) }
    }

    async fn send<IO>(mut self, wire: &Shared<IO>) -> Result<Ended, BodyError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        wire.lock().begin_answer();
        poll_fn(|cx| self.poll(cx, wire)).await?;
        ROOM.set(self.outflow.take_room());
        Ok(if self.sending == Sending::UntilClose { Ended::Closes } else { Ended::Keeps })
    }

    /// Sends what there is as soon as it is there. The lock is never held while the body is asked: a body may itself wait
    /// for that of the request.
    fn poll<IO>(&mut self, cx: &mut Context<'_>, wire: &Shared<IO>) -> Poll<Result<(), BodyError>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let waits = !self.ended && !self.outflow.has_data() && self.poll_body(cx)?.is_pending();
            let mut wire = wire.lock();
            ready!(wire.poll_send(cx, &mut self.outflow)).map_err(cut)?;
            if waits || self.ended {
                let flushed = wire.poll_flush(cx, &mut self.outflow).map_err(cut)?;
                if self.ended {
                    return flushed.map(Ok);
                }
                return wire.poll_gone(cx).map(|()| Err(cut(io::ErrorKind::ConnectionReset.into())));
            }
        }
    }

    /// Takes the next piece out of the body, so that it goes out in one write with what stands before it.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()? {
            Some(frame) => match frame.into_data() {
                // An empty chunk would end the body.
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.sending = self.sending.less(data.len())?;
                    self.outflow.put(data, self.sending);
                    if self.body.is_end_stream() {
                        self.end(None)?;
                    }
                }
                Err(frame) => self.end(frame.into_trailers().ok())?,
            },
            None => self.end(None)?,
        }
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), BodyError> {
        self.sending.ends()?;
        match trailers.filter(|_| self.takes_trailers) {
            Some(trailers) => answer::trailers(&trailers, &mut self.outflow.lines),
            None => self.outflow.put_end(self.sending),
        }
        self.ended = true;
        Ok(())
    }
}

fn cut(error: io::Error) -> BodyError {
    BodyError::Cut(error.into())
}
