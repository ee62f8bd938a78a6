//! The body of a response on its way to the client: streamed as it comes, cut when the session ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    body::{Body, BodyError},
    session::streams::OpenStream,
    upstream::{ReadyBody, ResponseBody},
};

/// A response's body that ends with the session.
struct Download {
    /// What was read ahead of the rest.
    first: Option<Bytes>,
    body: ResponseBody,
    cancel: CancellationToken,
    /// Made only when the body makes us wait: most never do.
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Its entry among the open streams; gone with the body.
    _stream: Option<Arc<OpenStream>>,
}

/// Turns the body into one for the client. A short one that is there already is passed on in one piece.
pub(super) fn streamed(
    body: ResponseBody,
    cancel: &CancellationToken,
    stream: Option<Arc<OpenStream>>,
) -> Result<Body, BodyError> {
    let (first, body) = match body.ready() {
        ReadyBody::Whole(whole) => return Ok(whole),
        ReadyBody::Failed(error) => return Err(error),
        ReadyBody::Streamed(body) => (None, body),
        ReadyBody::Begun(first, body) => (Some(first), body),
    };
    Ok(Body::Boxed(BoxBody::new(Download { first, body, cancel: cancel.clone(), cancelled: None, _stream: stream })))
}

impl Download {
    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let cancel = &self.cancel;
        self.cancelled.get_or_insert_with(|| Box::pin(cancel.clone().cancelled_owned())).as_mut().poll(cx)
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            // A body that never makes us wait must end with its session too.
            Poll::Ready(Some(Ok(_))) if this.cancel.is_cancelled() => Poll::Ready(Some(Err(BodyError::SessionEnded))),
            Poll::Pending => this.poll_cancelled(cx).map(|()| Some(Err(BodyError::SessionEnded))),
            ready => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read_ahead = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read_ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read_ahead));
        }
        hint
    }
}
