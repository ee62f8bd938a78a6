//! Answers that are streamed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{StreamBody, combinators::BoxBody};

use crate::body::{Body, BodyError};

type Piece = Result<Frame<Bytes>, BodyError>;

fn streamed(media_type: &'static str, pieces: impl Stream<Item = Piece> + Send + Sync + 'static) -> Response<Body> {
    let mut response = Response::new(Body::Boxed(BoxBody::new(StreamBody::new(pieces))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Server-sent events: the first at once, then one every `pause`.
pub(super) fn events(pause: Duration, count: u64) -> Response<Body> {
    let ticks = stream::unfold(0_u64, move |tick| async move {
        if tick >= count {
            return None;
        }
        if tick > 0 {
            tokio::time::sleep(pause).await;
        }
        let text = format!("id: {tick}\nevent: tick\ndata: {{\"tick\":{tick}}}\n\n");
        Some((Ok(Frame::data(Bytes::from(text))), tick + 1))
    });
    streamed("text/event-stream", ticks)
}

/// `length` bytes whose values count up from 0 to 250 again and again, so that a lost or doubled piece shows.
pub(super) fn big(length: u64) -> Response<Body> {
    const PIECE: u64 = 251 * 256;
    let whole: Bytes = (0..=250_u8).cycle().take(251 * 256).collect();
    let pieces = stream::unfold(length, move |left| {
        let whole = whole.clone();
        async move {
            let now = left.min(PIECE);
            let piece = whole.slice(..usize::try_from(now).unwrap_or(0));
            (now > 0).then(|| (Ok(Frame::data(piece)), left - now))
        }
    });
    let mut response = streamed("application/octet-stream", pieces);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A chunked answer with two trailer fields (RFC 9110, 6.5).
pub(super) fn trailers() -> Response<Body> {
    let mut fields = HeaderMap::new();
    fields.insert(HeaderName::from_static("x-checksum"), HeaderValue::from_static("abc123"));
    fields.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let pieces = [Frame::data(Bytes::from_static(b"before the trailers\n")), Frame::trailers(fields)];
    let mut response = streamed("text/plain", stream::iter(pieces.map(Ok)));
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-checksum, grpc-status"));
    response
}
