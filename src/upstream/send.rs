//! Sending one request: choose a target, find a way to it, wait for the head of the response, try again where safe.

use std::{future::Future, rc::Rc, sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use tokio::time::Instant;

use super::{
    Upstream,
    balance::{Turn, choose},
    body::{Counted, Lease, ResponseBody},
    connect::Purpose,
    error::UpstreamError,
    http1::{self, Connection, Patience, Taking},
    pool::{Lane, Need, Pool, Shared, Way},
    progress::Progress,
    target::Target,
};
use crate::{
    config::upstream::{Balance, HostHeader, Protocol},
    message::{Lines, Request, Response},
};

/// What differs from request to request.
#[derive(Debug, Clone)]
pub struct SendOptions<'a> {
    /// Fields beside the request's own; none of them stands there.
    pub lines: [&'a Lines; 2],
    /// Hash of the account, for sticky upstreams.
    pub affinity: Option<u64>,
    /// The request may become a WebSocket: a connection of its own, HTTP/1.1, and 101 is an answer.
    pub upgrade: bool,
    /// Instead of the upstream's own `first_byte_timeout`.
    pub first_byte_timeout: Option<Duration>,
    /// Where the request's body notes that it moves; the wait for the response counts from its last byte.
    pub progress: Option<Arc<Progress>>,
    /// Fields of the answer that only pass through may come as lines; else all come in the map.
    pub takes_lines: bool,
}

impl Default for SendOptions<'_> {
    fn default() -> Self {
        Self {
            lines: [Lines::none(); 2],
            affinity: None,
            upgrade: false,
            first_byte_timeout: None,
            progress: None,
            takes_lines: false,
        }
    }
}

/// Sends `request` to a target of `upstream` and returns the response once its head is there.
///
/// The request has its target in origin form and its `Host` set; hop-by-hop fields and framing are gone. Its body is taken;
/// its head stays, with what names the target. Dropping the future, or the response's body before its end, closes the
/// connection and so stops the app's work.
///
/// # Errors
/// Whose side failed and why; nothing was answered then.
pub async fn send(
    pool: &Rc<Pool>,
    upstream: &Arc<Upstream>,
    request: &mut Request,
    options: &SendOptions<'_>,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let lanes = pool.lanes(upstream);
    let mut retries = upstream.config.retries;
    let mut turn =
        Turn { balance: upstream.config.balance, count: pool.next_turn(), affinity: options.affinity, avoid: None };
    let mut fresh = false;
    loop {
        let index = choose(&upstream.targets, turn).ok_or(UpstreamError::NoHealthyTarget)?;
        let (Some(target), Some(lane)) = (upstream.targets.get(index), lanes.get(index)) else {
            return Err(UpstreamError::NoHealthyTarget);
        };
        let attempt = Attempt { upstream, target, index, lane, options, may_repeat: retries > 0, fresh };
        let failed = match attempt.run(request).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        if !failed.again {
            return Err(failed.error);
        }
        // A kept connection that the app closed meanwhile says nothing about the app; a new one is due anyway.
        if !failed.was_stale {
            turn.avoid = Some(index);
        }
        // Going round a closed connection once is no second try: nothing was sent.
        if fresh || !(failed.was_stale && failed.unsent) {
            let Some(left) = retries.checked_sub(1) else { return Err(failed.error) };
            retries = left;
        }
        tracing::debug!(
            upstream.target = target.name(),
            reason = failed.error.reason(),
            "upstream request tried again"
        );
        fresh = true;
    }
}

/// One try at one target.
struct Attempt<'a> {
    upstream: &'a Arc<Upstream>,
    target: &'a Target,
    index: usize,
    lane: &'a Lane,
    options: &'a SendOptions<'a>,
    may_repeat: bool,
    fresh: bool,
}

/// A try that failed.
struct Failed {
    error: UpstreamError,
    /// Sending it again is safe, and it is there to be sent.
    again: bool,
    /// True when not a byte of it was written.
    unsent: bool,
    /// True when it was a kept connection that failed.
    was_stale: bool,
}

impl Failed {
    /// No connection was made, so the app cannot have seen the request.
    fn before_sending(error: UpstreamError) -> Self {
        Self { again: error.retry_is_safe(), error, unsent: true, was_stale: false }
    }

    fn for_good(error: UpstreamError) -> Self {
        Self { error, again: false, unsent: false, was_stale: false }
    }
}

impl Attempt<'_> {
    async fn run(&self, request: &mut Request) -> Result<Response<ResponseBody>, Failed> {
        let config = &self.upstream.config;
        let slot = match self.lane.slot(config.connect_timeout).await {
            Ok(slot) => slot,
            Err(error) => return Err(Failed::before_sending(error)),
        };
        let counted = (config.balance == Balance::LeastConnections).then(|| Counted::new(self.upstream, self.index));
        let lease = Lease::new(slot, counted);
        let purpose = if self.options.upgrade { Purpose::Upgrade } else { Purpose::Requests };
        let way = match self.lane.way(self.upstream, self.target, Need { purpose, fresh: self.fresh }).await {
            Ok(way) => way,
            Err(error) => {
                self.blame(&error);
                return Err(Failed::before_sending(error));
            }
        };
        let outcome = match way {
            Way::Single(connection) => self.over_single(connection, request, lease).await,
            // Boxed: it is larger than what HTTP/1 takes, and has allocations enough of its own.
            Way::Multiplexed(shared) => Box::pin(self.over_multiplexed(shared, request, lease)).await,
        };
        match &outcome {
            Ok(_) => self.target.succeeded(),
            Err(failed) if !failed.was_stale => self.blame(&failed.error),
            Err(_) => {}
        }
        outcome
    }

    fn blame(&self, error: &UpstreamError) {
        if error.side() == super::Side::Upstream {
            self.target.failed(self.upstream.config.max_fails, self.upstream.config.fail_timeout);
        }
    }

    async fn over_single(
        &self,
        connection: Connection,
        request: &mut Request,
        lease: Lease,
    ) -> Result<Response<ResponseBody>, Failed> {
        self.name_for_http1(&mut request.head);
        let reused = connection.is_reused();
        let patience = Patience::new(self.patience(), self.options.progress.as_deref());
        let taking = if self.options.takes_lines { Taking::Lines } else { Taking::Map };
        let sent = http1::send(connection, request, self.options.lines, patience, taking).await;
        let http1::Answered { head, lines, rest, switches } =
            sent.map_err(|failure| self.sort(failure, request, reused))?;
        check(head.status, self.options.upgrade).map_err(Failed::for_good)?;
        let body = match switches {
            true => ResponseBody::switched(rest, lease),
            false => {
                let lease = lease.returning_to(Arc::clone(self.lane.shelf()));
                ResponseBody::single(rest, lease, self.upstream.config.idle_timeout)
            }
        };
        Ok(Response { head, lines, body })
    }

    /// Whether a request that failed on its own connection may be sent again.
    fn sort(&self, failure: http1::Failure, request: &Request, reused: bool) -> Failed {
        if matches!(failure.error, UpstreamError::FirstByteTimeout(_)) {
            return Failed::for_good(failure.error);
        }
        let repeatable = reused && self.may_repeat && failure.untouched;
        let again = failure.whole && (failure.unsent || (repeatable && is_repeatable(request)));
        Failed { unsent: failure.unsent && again, again, error: failure.error, was_stale: reused }
    }

    async fn over_multiplexed(
        &self,
        mut shared: Shared,
        request: &mut Request,
        lease: Lease,
    ) -> Result<Response<ResponseBody>, Failed> {
        // A copy: the next way may be HTTP/1, and whoever asked may need the head to tell that there was none.
        let mut head = (*request.head).clone();
        self.name_for_http2(&mut head).map_err(Failed::for_good)?;
        self.options.lines.iter().for_each(|lines| lines.insert_into(&mut head.headers));
        let sending = http::Request::from_parts(head, std::mem::take(&mut request.body));
        let sent = self.within_time(shared.sender.try_send_request(sending)).await.map_err(Failed::for_good)?;
        let response = sent.map_err(|mut failure| {
            let unsent = failure.take_message().map(|returned| request.body = returned.into_body()).is_some();
            if unsent {
                self.lane.retire(&shared);
            }
            Failed { error: UpstreamError::from_hyper(failure.into_error()), again: unsent, unsent, was_stale: unsent }
        })?;
        check(response.status(), false).and_then(|()| check_framing(response.headers())).map_err(Failed::for_good)?;
        let idle_timeout = self.upstream.config.idle_timeout;
        Ok(response.map(|incoming| ResponseBody::multiplexed(incoming, lease, idle_timeout)).into())
    }

    /// Names the target as HTTP/1.1 does: `Host` and origin form (RFC 9112, 3.2).
    fn name_for_http1(&self, head: &mut Parts) {
        self.set_host(head);
        // Trailers are asked for hop by hop (RFC 9110, 10.1.4), and on this hop nobody asks.
        head.headers.remove(TE);
        head.version = Version::HTTP_11;
    }

    /// Names the target as HTTP/2 does: scheme and `:authority` (RFC 9113, 8.3.1).
    fn name_for_http2(&self, head: &mut Parts) -> Result<(), UpstreamError> {
        self.set_host(head);
        let authority = head.headers.remove(HOST).map(|host| Authority::try_from(host.as_bytes()));
        let Some(Ok(authority)) = authority else {
            return Err(UpstreamError::Unsendable("its Host is not an authority"));
        };
        let scheme = if self.target.protocol() == Protocol::Tls { Scheme::HTTPS } else { Scheme::HTTP };
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        head.uri = uri.map_err(|_| UpstreamError::Unsendable("its address cannot be written"))?;
        head.version = Version::HTTP_2;
        Ok(())
    }

    fn set_host(&self, head: &mut Parts) {
        let host = match &self.upstream.config.host {
            HostHeader::Pass if head.headers.contains_key(HOST) => return,
            HostHeader::Pass | HostHeader::Target => self.target.host(),
            HostHeader::Fixed(host) => host,
        };
        head.headers.insert(HOST, host.clone());
    }

    /// Longest the head of the response may take.
    fn patience(&self) -> Duration {
        self.options.first_byte_timeout.unwrap_or(self.upstream.config.first_byte_timeout)
    }

    /// Waits for the head of the response: that long from now, or from the last byte of the request's body.
    async fn within_time<T>(&self, response: impl Future<Output = T>) -> Result<T, UpstreamError> {
        let limit = self.patience();
        if limit.is_zero() {
            return Ok(response.await);
        }
        let mut response = std::pin::pin!(response);
        let mut deadline = Instant::now() + limit;
        loop {
            if let Ok(response) = tokio::time::timeout_at(deadline, response.as_mut()).await {
                return Ok(response);
            }
            match self.options.progress.as_ref().and_then(|progress| progress.last_moved()) {
                Some(moved) if moved + limit > deadline => deadline = moved + limit,
                _ => return Err(UpstreamError::FirstByteTimeout(limit)),
            }
        }
    }
}

/// True when a request may be sent again even though the app may have seen the first (RFC 9110, 9.2.2): the method is
/// idempotent and there is no body.
fn is_repeatable(request: &Request) -> bool {
    matches!(
        request.head.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    ) && request.body.is_end_stream()
}

/// A 101 that nobody asked for would make what follows be read as something it is not (threats 3.5).
fn check(status: StatusCode, upgrade: bool) -> Result<(), UpstreamError> {
    if status == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err(UpstreamError::BadResponse("it switches protocols though nobody asked for it"));
    }
    Ok(())
}

/// RFC 9113, 8.1.1: a length that is told, is told once. What HTTP/1 says of it is judged where it is read.
fn check_framing(headers: &HeaderMap) -> Result<(), UpstreamError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(UpstreamError::BadResponse("it has more than one Content-Length"));
    }
    if length.is_some_and(|length| !is_digits(length.as_bytes())) {
        return Err(UpstreamError::BadResponse("its Content-Length is not a number"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if length.is_some() => {
            Err(UpstreamError::BadResponse("it has both Transfer-Encoding and Content-Length"))
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(UpstreamError::BadResponse("its Transfer-Encoding is not chunked alone")),
    }
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= 19 && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::body::Body;

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        let length = CONTENT_LENGTH;
        let coding = TRANSFER_ENCODING;
        for (fields, accepted) in [
            (vec![], true),
            (vec![(&length, "5")], true),
            (vec![(&coding, "chunked")], true),
            (vec![(&coding, "Chunked")], true),
            (vec![(&length, "5"), (&length, "5")], false),
            (vec![(&length, "5, 5")], false),
            (vec![(&length, "+5")], false),
            (vec![(&length, "")], false),
            (vec![(&length, "5"), (&coding, "chunked")], false),
            (vec![(&coding, "gzip, chunked")], false),
            (vec![(&coding, "chunked"), (&coding, "chunked")], false),
            (vec![(&coding, "xchunked")], false),
            (vec![(&coding, "identity")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(check_framing(&headers).is_ok(), accepted, "{fields:?}");
        }
    }

    #[test]
    fn only_what_can_be_repeated_is() {
        for (method, body, repeatable) in [
            (Method::GET, Body::Empty, true),
            (Method::DELETE, Body::Empty, true),
            (Method::GET, Body::full("x"), false),
            (Method::PUT, Body::full("x"), false),
            (Method::POST, Body::Empty, false),
            (Method::PATCH, Body::Empty, false),
        ] {
            let request = http::Request::builder().method(&method).body(body).unwrap().into();
            assert_eq!(is_repeatable(&request), repeatable, "{method}");
        }
    }
}
