//! Asking the targets, again and again, whether they are well. Runs in the control plane, off the workers' threads.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{Request, StatusCode};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::sync::CancellationToken;

use super::{
    Upstream,
    connect::{Purpose, connect},
    error::UpstreamError,
    target::Target,
};
use crate::{
    body::Body,
    config::upstream::{HostHeader, Protocol},
};

/// A target goes down after so many bad answers in a row, for one lost packet is no illness; it is up after one good.
const FALL: u32 = 2;

/// Asks every target of `upstream` for its `health_path` until `cancel`; returns at once when there is none.
pub async fn watch(upstream: Arc<Upstream>, cancel: CancellationToken) {
    let Some(path) = upstream.config.health_path.clone() else { return };
    let probes = upstream.targets.iter().map(|target| watch_target(&upstream, target, &path));
    cancel.run_until_cancelled(join_all(probes)).await;
}

async fn watch_target(upstream: &Upstream, target: &Target, path: &str) {
    let mut bad = 0_u32;
    loop {
        let timeout = upstream.config.health_timeout;
        let outcome = tokio::time::timeout(timeout, probe(upstream, target, path, timeout)).await;
        let why = match outcome {
            Ok(Ok(status)) if upstream.is_healthy_status(status) => None,
            Ok(Ok(_)) => Some("status"),
            Ok(Err(error)) => Some(error.reason()),
            Err(_) => Some("timeout"),
        };
        bad = if why.is_some() { bad.saturating_add(1) } else { 0 };
        note(upstream, target, bad, why);
        tokio::time::sleep(upstream.config.health_interval).await;
    }
}

fn note(upstream: &Upstream, target: &Target, bad: u32, why: Option<&'static str>) {
    match why {
        None if target.set_answers_probes(true) => {
            tracing::info!(upstream.name = upstream.name, upstream.target = target.name(), "upstream target is up");
        }
        Some(reason) if bad >= FALL && target.set_answers_probes(false) => {
            tracing::warn!(
                upstream.name = upstream.name,
                upstream.target = target.name(),
                reason,
                "upstream target is down"
            );
        }
        _ => {}
    }
}

/// One question on a connection of its own: whether new connections work is part of the answer.
async fn probe(
    upstream: &Upstream,
    target: &Target,
    path: &str,
    timeout: Duration,
) -> Result<StatusCode, UpstreamError> {
    let stream = connect(target, upstream.tls.as_ref(), Purpose::Requests, timeout).await?;
    let over_h2 = target.protocol() == Protocol::H2c || stream.chose_h2();
    let request = question(upstream, target, path, over_h2)?;
    let io = TokioIo::new(stream);
    let response = if over_h2 {
        let (mut sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), io).await.map_err(UpstreamError::from_hyper)?;
        driven(sender.send_request(request), connection).await?
    } else {
        let (mut sender, connection) = conn::http1::handshake(io).await.map_err(UpstreamError::from_hyper)?;
        driven(sender.send_request(request), connection).await?
    };
    Ok(response.status())
}

/// Waits for the response while driving the connection.
async fn driven(
    response: impl Future<Output = hyper::Result<http::Response<Incoming>>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<http::Response<Incoming>, UpstreamError> {
    let mut response = std::pin::pin!(response);
    tokio::select! {
        response = &mut response => response.map_err(UpstreamError::from_hyper),
        // The connection ended; the response, if there was one, is waiting.
        _ = connection => response.await.map_err(UpstreamError::from_hyper),
    }
}

fn question(upstream: &Upstream, target: &Target, path: &str, over_h2: bool) -> Result<Request<Body>, UpstreamError> {
    let host = match &upstream.config.host {
        HostHeader::Fixed(host) => host,
        HostHeader::Pass | HostHeader::Target => target.host(),
    };
    let request = Request::get(path).header(http::header::USER_AGENT, "brama-health");
    let request = if over_h2 {
        let scheme = if target.protocol() == Protocol::Tls { "https" } else { "http" };
        request.uri(format!("{scheme}://{}{path}", target.authority()))
    } else {
        request.header(http::header::HOST, host)
    };
    request.body(Body::Empty).map_err(|_| UpstreamError::Unsendable("health_path cannot be asked for"))
}
