//! The body of a message on its way through: empty, ready, or streamed from the other side.
//!
//! One enum instead of a boxed trait object, so that the common case costs no allocation.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection it came from failed or was closed.
    #[error("the body was cut off")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is larger than the route allows.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// No byte came for too long.
    #[error("no byte of the body came for {0:?}")]
    Stalled(std::time::Duration),
    /// The session it belongs to has ended.
    #[error("the session ended")]
    SessionEnded,
    /// Anything else a wrapping body reports.
    #[error("{0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// A message body.
#[derive(Debug, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// All of it, ready.
    Full(Bytes),
    /// As it comes from the other side.
    Incoming(Incoming),
    /// Something wrapped around it: limits, timeouts, guards.
    Boxed(BoxBody<Bytes, BodyError>),
}

impl Body {
    /// The body as UTF-8 text or bytes that are ready.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(|error| BodyError::Cut(error.into())),
            Self::Boxed(boxed) => Pin::new(boxed).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Boxed(boxed) => boxed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Boxed(boxed) => boxed.size_hint(),
        }
    }
}
