//! One request and its answer over a connection.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    answer::{Head, HeadReader, Taking},
    encode,
    idle::Connection,
    patience::Patience,
    wire::Wire,
};
use crate::{
    body::{Body, BodyError},
    http1::{BodyFraming, Decoder, Piece, Sending, Switched, Violation},
    message::{Lines, Request},
    upstream::{error::UpstreamError, stream::Stream},
};

/// An exchange whose answer's head has come. Dropping it closes the connection, whatever is under way.
#[derive(Debug)]
pub(in crate::upstream) struct Exchange {
    wire: Box<Wire>,
    /// Boxed: most requests have no body.
    upload: Option<Box<Upload>>,
    decoder: Decoder,
    keeps_alive: bool,
}

/// What is still to be sent of the request's body.
#[derive(Debug)]
struct Upload {
    body: Body,
    sending: Sending,
    /// Nothing was taken out of it yet.
    untouched: bool,
}

/// The head of an answer, and the rest of the exchange.
#[derive(Debug)]
pub(in crate::upstream) struct Answered {
    pub(in crate::upstream) head: response::Parts,
    /// Fields that need not be looked at.
    pub(in crate::upstream) lines: Lines,
    pub(in crate::upstream) rest: Exchange,
    /// It is a 101: what follows is no HTTP.
    pub(in crate::upstream) switches: bool,
}

/// Why no answer came.
#[derive(Debug)]
pub(in crate::upstream) struct Failure {
    pub(in crate::upstream) error: UpstreamError,
    /// The request is as it was: nothing of its body is gone.
    pub(in crate::upstream) whole: bool,
    /// Not a byte of it was written.
    pub(in crate::upstream) unsent: bool,
    /// The connection failed before a byte of an answer came.
    pub(in crate::upstream) untouched: bool,
}

/// Why an exchange stopped.
#[derive(Debug)]
enum Broken {
    /// The connection failed, or was closed where it must not be.
    Io(io::Error),
    /// The answer has two readings, or none.
    Answer(Violation),
    /// The request's body failed.
    Body(BodyError),
    /// The answer did not begin for so long.
    Slow(Duration),
}

/// Sends `request`, with `lines` beside its own fields, and waits for the head of the answer as long as `patience` lasts.
/// Takes its body; a failure gives it back where it can.
pub(in crate::upstream) async fn send(
    connection: Connection,
    request: &mut Request,
    lines: [&Lines; 2],
    patience: Patience<'_>,
    taking: Taking,
) -> Result<Answered, Failure> {
    let body = std::mem::take(&mut request.body);
    let sending = Sending::of(&body);
    let mut wire = connection.into_wire();
    let mut reader = HeadReader::new(request.head.method == http::Method::HEAD, wire.buffer_bytes, taking);
    wire.begin();
    encode::head(&request.head, lines, sending, wire.lines());
    let upload = (sending != Sending::Nothing).then(|| Box::new(Upload { body, sending, untouched: true }));
    let mut exchange = Exchange { wire, upload, decoder: Decoder::new(BodyFraming::Empty), keeps_alive: true };
    let head = poll_fn(|cx| match exchange.poll_head(cx, &mut reader) {
        Poll::Pending => patience.poll(&mut exchange.wire.waiting, cx).map(|limit| Err(Broken::Slow(limit))),
        head => head,
    });
    match head.await {
        Ok(head) => {
            exchange.decoder = Decoder::new(head.framing);
            exchange.keeps_alive &= head.keeps_alive;
            let switches = head.framing == BodyFraming::Upgrade;
            Ok(Answered { head: head.parts, lines: head.lines, switches, rest: exchange })
        }
        Err(broken) => Err(exchange.fail(broken, request)),
    }
}

impl Exchange {
    /// Writes the request and reads until the head of the answer is whole. An app may answer before it has taken the
    /// whole request, and one that closes may have answered before: a failed write decides nothing, the end of what
    /// there is to read does.
    fn poll_head(&mut self, cx: &mut Context<'_>, reader: &mut HeadReader) -> Poll<Result<Head, Broken>> {
        self.poll_upload(cx)?;
        loop {
            if ready!(self.wire.poll_receive(cx)).map_err(Broken::Io)? == 0 {
                return Poll::Ready(Err(Broken::Io(self.wire.why_closed())));
            }
            if let Some(head) = reader.read(&mut self.wire.inflow.received).map_err(Broken::Answer)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Sends what there is of the request, as far as it goes now. An error is the request's body's own.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while !self.wire.is_closed_for_writing() {
            let waits = self.take_from_body(cx)?;
            if self.wire.poll_send(cx).is_pending() {
                return Ok(());
            }
            if waits || self.upload.is_none() {
                self.wire.poll_flush(cx);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the next piece out of the request's body, so that it goes out in one write with what stands before it.
    /// True when there is none yet.
    fn take_from_body(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let Some(upload) = self.upload.as_mut().filter(|_| !self.wire.has_data()) else { return Ok(false) };
        match Pin::new(&mut upload.body).poll_frame(cx) {
            Poll::Pending => return Ok(true),
            Poll::Ready(Some(Err(error))) => return Err(Broken::Body(error)),
            Poll::Ready(Some(Ok(frame))) => {
                // Trailers of requests never pass (threats 1.1), and an empty chunk would end the body.
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    upload.untouched = false;
                    upload.sending = upload.sending.less(data.len()).map_err(Broken::Body)?;
                    self.wire.put(data, upload.sending);
                }
                if !upload.body.is_end_stream() {
                    return Ok(false);
                }
            }
            Poll::Ready(None) => {}
        }
        let sending = upload.sending;
        sending.ends().map_err(Broken::Body)?;
        self.wire.put_end(sending);
        self.upload = None;
        Ok(false)
    }

    /// Sorts a failure before the head.
    fn fail(mut self, broken: Broken, request: &mut Request) -> Failure {
        let (unsent, untouched) = (!self.wire.wrote, !self.wire.read);
        let untouched = untouched && matches!(broken, Broken::Io(_));
        let body = match self.upload {
            Some(upload) => upload.untouched.then_some(upload.body),
            None => self.wire.take_body(),
        };
        let whole = body.map(|body| request.body = body).is_some();
        Failure { whole, error: broken.into_upstream_error(), unsent, untouched }
    }

    /// The connection, ready for another request; nothing when it cannot carry one (threats 3.4, 3.6): the answer or the
    /// request has not ended, the app closes, or bytes follow the answer.
    pub(in crate::upstream) fn into_connection(mut self) -> Option<Connection> {
        let ended = self.decoder.has_ended() && self.upload.is_none() && self.keeps_alive;
        if !ended || !self.wire.is_clean() {
            return None;
        }
        self.wire.rest();
        Some(Connection::resting(self.wire))
    }

    /// The bare stream after a 101, with what was received behind its head.
    pub(in crate::upstream) fn into_switched(self) -> Switched<Stream> {
        self.wire.into_switched()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        if self.upload.is_some() || self.wire.is_sending() {
            self.poll_upload(cx)?;
        }
        loop {
            match self.decoder.next(&mut self.wire.inflow.received).map_err(Broken::Answer)? {
                Piece::Wait => {}
                piece => return Poll::Ready(Ok(piece)),
            }
            match ready!(self.wire.poll_receive_body(cx, self.decoder.left())).map_err(Broken::Io)? {
                0 if self.decoder.closed() => return Poll::Ready(Ok(Piece::End)),
                0 => return Poll::Ready(Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()))),
                _ => {}
            }
        }
    }
}

impl HttpBody for Exchange {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.get_mut().poll_piece(cx)) {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End | Piece::Wait) => None,
            Err(broken) => Some(Err(broken.into_body_error())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Broken {
    fn into_upstream_error(self) -> UpstreamError {
        match self {
            Self::Io(error) => UpstreamError::Reset(error.into()),
            Self::Answer(violation) => UpstreamError::Unreadable(violation.into()),
            Self::Body(error) => UpstreamError::RequestBody(error.into()),
            Self::Slow(limit) => UpstreamError::FirstByteTimeout(limit),
        }
    }

    fn into_body_error(self) -> BodyError {
        match self {
            Self::Io(error) => BodyError::Cut(error.into()),
            Self::Answer(violation) => BodyError::Cut(violation.into()),
            Self::Body(error) => error,
            Self::Slow(limit) => BodyError::Stalled(limit),
        }
    }
}
