//! The last step: the request goes to the app, the response comes back, both streamed.
//!
//! Whoever wants to forward needs two proofs: a [`Permit`], which only the policy gives, and a [`Hop`], which only
//! [`strip_hop_by_hop`](hygiene::strip_hop_by_hop) makes. So nothing is forwarded that was not judged, and nothing that
//! still carries what belonged to the client's connection. The order for the gateway is: strip, judge, add our own fields,
//! forward.
//!
//! # What others may rely on
//!
//! * Framing is never copied; the length told to the app is that of the body sent to it.
//! * Request trailers never pass; response trailers pass for gRPC and where the route allows them.
//! * The only upgrade is a WebSocket, and only after a 101 that answers its handshake. An h2c upgrade is never passed on,
//!   and WebSockets over HTTP/2 (RFC 8441) are not offered.
//! * Nothing is held back: a piece of a body goes on as soon as it is there.
//! * A body that fails midway, on either side, ends in an error, so that the connection is cut rather than closed as if
//!   the message were whole.
//! * When the session ends, its streams and WebSockets end with it.
//!
//! What is deliberately absent: identity fields (`enrich`), status codes and pages for failures (`rescue`), interim
//! responses (1xx) of the app, which end here, and `Via`, which would tell strangers what stands here.

use std::{mem::take, rc::Rc, sync::Arc, time::Duration};

use http::Method;
use tokio_util::sync::CancellationToken;

use self::{hygiene::Hop, upgrade::Answer};
use crate::{
    body::BodyError,
    message::{Lines, Request, Response},
    policy::Permit,
    server::Connection,
    session::streams::OpenStream,
    upstream::{self, Pool, ResponseBody, SendOptions, Side, Upstream, UpstreamError},
};

mod download;
pub mod hygiene;
mod message;
#[cfg(test)]
mod tests;
mod tunnel;
mod upgrade;
mod upload;
mod websocket;

/// What a route says about forwarding.
#[derive(Debug, Clone)]
pub struct ForwardSettings {
    /// Most bytes a request's body may have; 0 is no limit.
    pub max_body: u64,
    /// Longest a client may pause within its request's body; zero is no limit.
    pub upload_stall: Duration,
    /// Instead of the upstream's own `first_byte_timeout`.
    pub first_byte_timeout: Option<Duration>,
    /// Instead of the upstream's own `idle_timeout` between bytes of a response.
    pub idle_timeout: Option<Duration>,
    /// Lets trailers of responses through; for gRPC they always pass.
    pub allow_trailers: bool,
    /// Lets WebSockets through.
    pub websocket: bool,
    /// Longest a WebSocket may be silent both ways; zero is no limit.
    pub websocket_idle_timeout: Duration,
}

impl Default for ForwardSettings {
    fn default() -> Self {
        Self {
            max_body: 100 * 1024 * 1024,
            upload_stall: Duration::from_secs(30),
            first_byte_timeout: None,
            idle_timeout: None,
            allow_trailers: false,
            websocket: true,
            websocket_idle_timeout: Duration::ZERO,
        }
    }
}

/// Where a request goes and under which terms.
#[derive(Debug)]
pub struct Passage<'a> {
    /// The app.
    pub upstream: &'a Arc<Upstream>,
    /// What its route says.
    pub settings: &'a ForwardSettings,
    /// Proof that the hop-by-hop fields are gone, and what they asked for.
    pub hop: Hop,
    /// What the app is told beside the request's own fields; none of them stands there.
    pub lines: [&'a Lines; 2],
    /// Fields of the answer that only pass through may come as lines: whoever asks speaks HTTP/1.
    pub takes_lines: bool,
    /// Hash of the account, for sticky upstreams.
    pub affinity: Option<u64>,
    /// Fires when the session ends or the server closes.
    pub cancel: &'a CancellationToken,
    /// What must last as long as the exchange does.
    pub keep: Keep,
}

/// What a stream or tunnel holds on to until it ends.
#[derive(Debug, Clone, Default)]
pub struct Keep {
    /// Its entry among the open streams.
    pub stream: Option<Arc<OpenStream>>,
    /// The client's connection, for a tunnel: it becomes one, counts as open until it ends, and tells when the server closes.
    pub connection: Option<Rc<Connection>>,
}

/// Why nothing was forwarded, or no response came.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The request's body is larger than the route allows.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The client paused too long within the request's body.
    #[error("no byte of the request's body came for {0:?}")]
    UploadStalled(Duration),
    /// The client went away within the request's body.
    #[error("the request's body was cut off")]
    UploadCut,
    /// The handshake of a WebSocket is wrong.
    #[error("the WebSocket handshake is refused: {0}")]
    BadUpgrade(&'static str),
    /// The route lets no WebSocket through.
    #[error("this route lets no WebSocket through")]
    UpgradeRefused,
    /// The session ended while the app was answering.
    #[error("the session ended")]
    SessionEnded,
    /// The app sent the head of a response and then failed at once.
    #[error("the upstream's response was cut off")]
    ResponseCut(#[source] BodyError),
    /// The app could not be reached, or did not answer.
    #[error(transparent)]
    Upstream(UpstreamError),
}

impl ForwardError {
    /// A stable word, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "body_too_large",
            Self::UploadStalled(_) => "upload_stalled",
            Self::UploadCut => "upload_cut",
            Self::BadUpgrade(_) => "bad_upgrade",
            Self::UpgradeRefused => "upgrade_refused",
            Self::SessionEnded => "session_ended",
            Self::ResponseCut(_) => "response_cut",
            Self::Upstream(error) => error.reason(),
        }
    }

    /// Whose side failed.
    pub fn side(&self) -> Side {
        match self {
            Self::TooLarge { .. } | Self::UploadStalled(_) | Self::UploadCut | Self::BadUpgrade(_) => Side::Downstream,
            Self::UpgradeRefused | Self::SessionEnded => Side::Gateway,
            Self::ResponseCut(_) => Side::Upstream,
            Self::Upstream(error) => error.side(),
        }
    }
}

impl From<UpstreamError> for ForwardError {
    /// A request that failed because its body did is the client's failure, or its limit's.
    fn from(error: UpstreamError) -> Self {
        match error.request_body() {
            Some(BodyError::TooLarge { limit }) => Self::TooLarge { limit: *limit },
            Some(BodyError::Stalled(silence)) => Self::UploadStalled(*silence),
            Some(BodyError::SessionEnded) => Self::SessionEnded,
            Some(BodyError::Cut(_) | BodyError::Other(_)) => Self::UploadCut,
            None => Self::Upstream(error),
        }
    }
}

/// Forwards the requests of one worker over its pool.
#[derive(Debug, Clone)]
pub struct Forwarder {
    pool: Rc<Pool>,
}

impl Forwarder {
    /// Forwards over `pool`.
    pub fn new(pool: Rc<Pool>) -> Self {
        Self { pool }
    }

    /// Sends the request to the app and returns the response once its head is there; its body streams on.
    ///
    /// The request is final: canonical path and query, stripped, enriched. Its body is taken. Dropping the future, or the response's body,
    /// stops the app's work at once.
    ///
    /// # Errors
    /// Nothing was answered yet, so the caller may answer.
    pub async fn forward(
        &self,
        permit: Permit,
        request: &mut Request,
        passage: &Passage<'_>,
    ) -> Result<Response, ForwardError> {
        // The permit is spent on this one request.
        let _spent: Permit = permit;
        if request.head.method == Method::CONNECT {
            // Neither a proxy's tunnel nor a WebSocket over HTTP/2 (RFC 8441).
            return Err(ForwardError::BadUpgrade("CONNECT is not forwarded"));
        }
        let pass_trailers = passage.settings.allow_trailers || message::is_grpc(&request.head.headers, passage.hop);
        let response = if passage.hop.wants_websocket() {
            // Boxed: a rare path must not make every request's future larger.
            match Box::pin(upgrade::forward(&self.pool, request, passage)).await? {
                Answer::Switched(response) => return Ok(response),
                Answer::Declined(response) => response,
            }
        } else {
            self.send(request, passage, pass_trailers).await?
        };
        if passage.cancel.is_cancelled() {
            return Err(ForwardError::SessionEnded);
        }
        back(response, &request.head.method, passage, pass_trailers)
    }

    async fn send(
        &self,
        request: &mut Request,
        passage: &Passage<'_>,
        pass_trailers: bool,
    ) -> Result<Response<ResponseBody>, ForwardError> {
        let (body, progress) =
            upload::limited(take(&mut request.body), passage.settings.max_body, passage.settings.upload_stall)?;
        request.body = body;
        message::prepare(request, passage.hop, pass_trailers);
        let options = SendOptions {
            lines: passage.lines,
            affinity: passage.affinity,
            upgrade: false,
            first_byte_timeout: passage.settings.first_byte_timeout,
            progress,
            takes_lines: passage.takes_lines,
        };
        Ok(upstream::send(&self.pool, passage.upstream, request, &options).await?)
    }
}

/// The response for the client.
fn back(
    response: Response<ResponseBody>,
    asked_by: &Method,
    passage: &Passage<'_>,
    pass_trailers: bool,
) -> Result<Response, ForwardError> {
    let Response { head: mut parts, lines, mut body } = response;
    message::clean_response(&mut parts.headers, parts.status, asked_by);
    // The reason phrase and whatever else hyper attached are the app's connection's own.
    parts.extensions.clear();
    parts.version = http::Version::HTTP_11;
    if pass_trailers {
        body.pass_trailers();
    }
    if let Some(idle_timeout) = passage.settings.idle_timeout {
        body.set_idle_timeout(idle_timeout);
    }
    let body =
        download::streamed(body, passage.cancel, passage.keep.stream.clone()).map_err(ForwardError::ResponseCut)?;
    Ok(Response { head: parts, lines, body })
}
