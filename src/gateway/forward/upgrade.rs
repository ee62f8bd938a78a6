//! Forwarding a WebSocket: the handshake through, then a tunnel.

use std::{rc::Rc, sync::Arc};

use http::{
    HeaderValue, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use http_body::Body as _;

use super::{ForwardError, ForwardSettings, Passage, message, tunnel, websocket::Accept};
use crate::{
    body::Body,
    message::{Request, Response},
    upstream::{self, Pool, ResponseBody, SendOptions, Upstream, UpstreamError},
};

/// Sends the handshake on. A 101 that answers it makes a tunnel, which lives in a task of its own until either side ends
/// or the session does; any other response is an ordinary one and returned as such.
pub(super) async fn forward(
    pool: &Rc<Pool>,
    request: &mut Request,
    passage: &Passage<'_>,
) -> Result<Answer, ForwardError> {
    // Asked for on this hop anew; and whoever tells of a failure sees that a WebSocket was asked for.
    switch(&mut request.head.headers);
    let ForwardSettings { websocket, first_byte_timeout, websocket_idle_timeout, .. } = passage.settings;
    if !websocket {
        return Err(ForwardError::UpgradeRefused);
    }
    if !request.body.is_end_stream() {
        // Its bytes would be taken for the first frames.
        return Err(ForwardError::BadUpgrade("a WebSocket is asked for without a body"));
    }
    let head = &request.head;
    let accept = Accept::expected(&head.method, head.version, &head.headers).map_err(ForwardError::BadUpgrade)?;
    let downstream = passage.keep.connection.as_ref().and_then(|connection| connection.upgraded());
    let downstream = downstream.ok_or(ForwardError::BadUpgrade("this connection cannot become a WebSocket"))?;
    let options = SendOptions {
        lines: passage.lines,
        affinity: passage.affinity,
        upgrade: true,
        first_byte_timeout: *first_byte_timeout,
        progress: None,
        takes_lines: false,
    };
    let response = send(pool, passage.upstream, request, passage, &options).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Declined(response));
    }
    accept.check(&response.head.headers).map_err(UpstreamError::BadResponse)?;
    if passage.cancel.is_cancelled() {
        return Err(ForwardError::SessionEnded);
    }
    let Response { head: mut parts, body, .. } = response;
    let (upstream, under_way) =
        body.into_switched().ok_or(UpstreamError::BadResponse("it switches protocols on a shared connection"))?;
    let (idle, cancel, keep) = (*websocket_idle_timeout, passage.cancel.clone(), passage.keep.clone());
    tokio::task::spawn_local(async move {
        let closing = keep.connection.as_ref().map(|connection| connection.shutdown());
        tokio::select! {
            () = tunnel::run(downstream, upstream, idle, cancel) => {}
            () = until(closing) => {}
        }
        drop(keep);
        // Until here it counts as a request under way.
        drop(under_way);
    });
    parts.extensions.clear();
    message::clean_response(&mut parts.headers, parts.status, &http::Method::GET);
    switch(&mut parts.headers);
    Ok(Answer::Switched(http::Response::from_parts(parts, Body::Empty).into()))
}

/// Resolves when the server closes.
async fn until(closing: Option<impl Future<Output = ()>>) {
    match closing {
        Some(closing) => closing.await,
        None => std::future::pending().await,
    }
}

/// How the app answered a handshake.
pub(super) enum Answer {
    /// The connection becomes a tunnel; this is the 101.
    Switched(Response),
    /// It stays HTTP.
    Declined(Response<ResponseBody>),
}

async fn send(
    pool: &Rc<Pool>,
    to: &Arc<Upstream>,
    request: &mut Request,
    passage: &Passage<'_>,
    options: &SendOptions<'_>,
) -> Result<Response<ResponseBody>, UpstreamError> {
    request.body = Body::Empty;
    message::prepare(request, passage.hop, false);
    upstream::send(pool, to, request, options).await
}

fn switch(headers: &mut http::HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}
