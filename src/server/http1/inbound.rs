//! The body of a request, read off its connection by whoever wants it.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::wire::Source;
use crate::body::BodyError;

/// The body of one request. Nothing of it is read before it is asked for.
pub(super) struct Inbound {
    source: Arc<Mutex<dyn Source>>,
    exchange: u64,
}

impl Inbound {
    pub(super) fn new(source: Arc<Mutex<dyn Source>>, exchange: u64) -> Self {
        Self { source, exchange }
    }

    fn source(&self) -> MutexGuard<'_, dyn Source + 'static> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source().poll_body(self.exchange, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.source().left(self.exchange) == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.source().left(self.exchange).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}
