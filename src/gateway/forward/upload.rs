//! The body of a request on its way to the app: not too large, not too slow, without trailers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::BoxBody;

use super::ForwardError;
use crate::{
    body::{Body, BodyError},
    upstream::{Progress, Stall},
};

/// A request's body with its limits.
///
/// Trailers of requests are always dropped: no protocol we forward needs them (gRPC has none on requests), and an app
/// that merges them into its fields would take an identity field from a client (threats 1.1).
#[derive(Debug)]
struct Upload {
    body: Body,
    limit: u64,
    left: u64,
    stall: Stall,
    progress: Arc<Progress>,
}

/// Puts the limits on a body: at most `limit` bytes (0: any number), never silent for longer than `stall`. A body that
/// is empty or all there passes as it is. The second value tells when the body last moved.
pub(super) fn limited(body: Body, limit: u64, stall: Duration) -> Result<(Body, Option<Arc<Progress>>), ForwardError> {
    let limit = if limit == 0 { u64::MAX } else { limit };
    // What is announced is refused before a byte of it is read (RFC 9110, 15.5.14).
    if body.size_hint().lower() > limit {
        return Err(ForwardError::TooLarge { limit });
    }
    if body.is_end_stream() {
        return Ok((Body::Empty, None));
    }
    if matches!(body, Body::Full(_)) {
        return Ok((body, None));
    }
    let progress = Arc::new(Progress::new());
    let upload = Upload { body, limit, left: limit, stall: Stall::new(stall), progress: Arc::clone(&progress) };
    Ok((Body::Boxed(BoxBody::new(upload)), Some(progress)))
}

impl Upload {
    fn take(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, BodyError> {
        self.stall.moved();
        self.progress.note();
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                Ok(Frame::data(bytes))
            }
            None => Err(BodyError::TooLarge { limit: self.limit }),
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(this.take(bytes)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return this.stall.poll(cx).map(|silence| Some(Err(BodyError::Stalled(silence)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn chunks(sizes: &[usize]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, BodyError>> =
            sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
        Body::Boxed(BoxBody::new(StreamBody::new(stream::iter(frames))))
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_cut_at_the_limit() {
        for (sizes, limit, whole) in
            [(&[3, 3][..], 6, true), (&[3, 4], 6, false), (&[7], 6, false), (&[1000, 1000], 0, true), (&[], 6, true)]
        {
            let (body, _) = limited(chunks(sizes), limit, Duration::from_secs(5)).unwrap();
            let outcome = body.collect().await;
            assert_eq!(outcome.is_ok(), whole, "{sizes:?} with limit {limit}");
            if let Err(error) = outcome {
                assert!(matches!(error, BodyError::TooLarge { limit: 6 }));
            }
        }
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_at_once() {
        let refused = limited(Body::full("1234567"), 6, Duration::ZERO);
        assert!(matches!(refused, Err(ForwardError::TooLarge { limit: 6 })));
        assert!(limited(Body::full("123456"), 6, Duration::ZERO).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let silent = Body::Boxed(BoxBody::new(StreamBody::new(stream::pending())));
        let (body, progress) = limited(silent, 0, Duration::from_secs(30)).unwrap();
        let began = tokio::time::Instant::now();
        let error = body.collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Stalled(silence) if silence == Duration::from_secs(30)));
        assert!(began.elapsed() >= Duration::from_secs(30));
        assert_eq!(progress.unwrap().last_moved(), None);
    }

    #[tokio::test]
    async fn trailers_of_a_request_never_pass() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-forwarded-user", "mallory".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
        let body = Body::Boxed(BoxBody::new(StreamBody::new(stream::iter(frames))));
        let (body, _) = limited(body, 0, Duration::ZERO).unwrap();
        let collected = body.collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "x");
    }
}
