//! What can go wrong on the way to the app.

use std::{io, time::Duration};

use crate::body::BodyError;

/// Whose side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that calls us.
    Downstream,
    /// The app we call.
    Upstream,
    /// This gateway: a limit of its own was reached.
    Gateway,
}

/// Why no response came from the app.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Health checks found no target that answers.
    #[error("no target of the upstream is healthy")]
    NoHealthyTarget,
    /// As many requests are under way as `max_connections` allows, and none ended in time.
    #[error("every connection to the upstream is in use")]
    Busy,
    /// No connection could be made.
    #[error("cannot connect to the upstream")]
    Connect(#[source] io::Error),
    /// No connection was made in time.
    #[error("no connection to the upstream within {0:?}")]
    ConnectTimeout(Duration),
    /// The TLS handshake failed.
    #[error("the TLS handshake with the upstream failed")]
    Tls(#[source] io::Error),
    /// The head of the response did not come in time.
    #[error("no response from the upstream within {0:?}")]
    FirstByteTimeout(Duration),
    /// The connection was closed or failed before the head of the response was complete.
    #[error("the upstream closed the connection before it answered")]
    Reset(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came is not an acceptable HTTP response.
    #[error("the upstream's response is not valid HTTP")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came is HTTP that could be read in two ways, or that nobody asked for.
    #[error("the upstream's response is refused: {0}")]
    BadResponse(&'static str),
    /// The body of the request failed while it was being sent.
    #[error("the request's body failed on its way to the upstream")]
    RequestBody(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot be expressed for this target.
    #[error("the request cannot be sent to the upstream: {0}")]
    Unsendable(&'static str),
}

impl UpstreamError {
    /// A stable word, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoHealthyTarget => "no_healthy_target",
            Self::Busy => "busy",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::Tls(_) => "tls",
            Self::FirstByteTimeout(_) => "first_byte_timeout",
            Self::Reset(_) => "reset",
            Self::Unreadable(_) | Self::BadResponse(_) => "bad_response",
            Self::RequestBody(_) => "request_body",
            Self::Unsendable(_) => "unsendable",
        }
    }

    /// Whose side failed.
    pub fn side(&self) -> Side {
        match self {
            Self::Busy => Side::Gateway,
            Self::RequestBody(_) | Self::Unsendable(_) => Side::Downstream,
            _ => Side::Upstream,
        }
    }

    /// True when the app cannot have seen the request, whatever its method: no connection was made.
    pub fn retry_is_safe(&self) -> bool {
        matches!(self, Self::NoHealthyTarget | Self::Busy | Self::Connect(_) | Self::ConnectTimeout(_) | Self::Tls(_))
    }

    /// What the request's body reported, when it was the body that failed.
    pub fn request_body(&self) -> Option<&BodyError> {
        let Self::RequestBody(error) = self else { return None };
        body_error(&**error)
    }

    /// Sorts what hyper reports of an HTTP/2 connection, and of a probe.
    pub(super) fn from_hyper(error: hyper::Error) -> Self {
        if body_error(&error).is_some() {
            Self::RequestBody(error.into())
        } else if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            Self::Unreadable(error.into())
        } else {
            Self::Reset(error.into())
        }
    }
}

/// The error of a body among `error` and what caused it.
fn body_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a BodyError> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
