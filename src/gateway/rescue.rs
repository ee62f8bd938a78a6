//! Where errors end: each way a request can be turned away gets its status and its words here, once.
//!
//! A person gets a page with a way on and a reference number; a program gets JSON with the address of sign-in; neither
//! gets our internals. What an operator needs is in the log under the same reference.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{self, CONNECTION, WWW_AUTHENTICATE},
    request::Parts,
};

use super::{
    Gate, Seen, Turned,
    forward::ForwardError,
    intercept::{self, Answer, Kind},
    route::NoRoute,
};
use crate::{
    body::Body,
    config::route::Intercept,
    portal::{ErrorPage, page},
    upstream::{Side, UpstreamError},
};

impl Gate {
    /// Answers a request that was turned away.
    pub(super) fn rescue(&self, turned: &Turned, parts: &Parts, seen: &mut Seen, reference: &str) -> Response<Body> {
        seen.denial = Some(reason(turned));
        log(turned, reference);
        let kind = intercept::kind(&parts.headers, self.intercept_of(seen));
        let mut response = match (turned, kind) {
            // Only a proxy that hands it on asks for it; all others never get here with a redirect.
            (Turned::SignIn(Answer::Redirect), _) if seen.sign_in.is_some() => bare(StatusCode::FOUND),
            // Bare, also for WebSockets that fail in other ways: nobody reads their body.
            (Turned::SignIn(Answer::Bare), _) => bare(StatusCode::UNAUTHORIZED),
            (turned, Kind::WebSocket) => bare(ending(turned).status()),
            (turned, kind) => {
                let error = self.told(turned, seen, reference);
                self.site.turned_away(&parts.headers, kind == Kind::Page, &error)
            }
        };
        if let Some(status) = exact_status(turned, seen) {
            *response.status_mut() = status;
        }
        if let Some(sign_in) = seen.sign_in.as_deref().and_then(|at| HeaderValue::try_from(at).ok()) {
            response.headers_mut().insert(header::LOCATION, sign_in);
        }
        close_where_framing_is_in_doubt(turned, response.headers_mut());
        response
    }

    fn intercept_of(&self, seen: &Seen) -> Intercept {
        let route = seen.route.and_then(|index| self.routes.routes().get(index));
        route.map_or(Intercept::Auto, |route| route.intercept)
    }

    fn told(&self, turned: &Turned, seen: &Seen, reference: &str) -> page::Error {
        let wanted = seen.about.as_deref().or(seen.target.as_ref()).map(|target| target.path_and_query().as_str());
        let session = seen.live.as_ref().map(|live| live.session());
        page::Error {
            signed_in_as: session
                .filter(|_| matches!(turned, Turned::Denied(_)))
                .map(|session| page::LinkedIdentity::who(&session.profile, session.origin.key.subject.as_str())),
            retry_url: wanted.filter(|_| matches!(turned, Turned::Store(_) | Turned::Forward(_))).map(str::to_owned),
            sign_in_url: Some(
                seen.sign_in
                    .clone()
                    .unwrap_or_else(|| self.site.sign_in_from(wanted, !matches!(turned, Turned::SignIn(_)))),
            ),
            ..page::Error::new(ending(turned), reference)
        }
    }
}

/// The page of each ending.
fn ending(turned: &Turned) -> ErrorPage {
    match turned {
        Turned::Target(_) | Turned::OwnBody | Turned::ForeignOrigin | Turned::Untold(_) => ErrorPage::BadRequest,
        Turned::Route(NoRoute::NotFound) => ErrorPage::NotFound,
        Turned::Route(_) => ErrorPage::BadRequest,
        Turned::Store(_) => ErrorPage::StoreUnavailable,
        Turned::Denied(_) => ErrorPage::NotAllowed,
        Turned::SignIn(_) => ErrorPage::SignInNeeded,
        Turned::Assertion(_) => ErrorPage::Internal,
        Turned::Forward(error) => match error {
            ForwardError::TooLarge { .. }
            | ForwardError::UploadStalled(_)
            | ForwardError::UploadCut
            | ForwardError::BadUpgrade(_)
            | ForwardError::UpgradeRefused => ErrorPage::BadRequest,
            ForwardError::SessionEnded => ErrorPage::SignInNeeded,
            ForwardError::Upstream(UpstreamError::FirstByteTimeout(_)) => ErrorPage::UpstreamTimedOut,
            ForwardError::ResponseCut(_) | ForwardError::Upstream(_) => ErrorPage::UpstreamUnavailable,
        },
    }
}

/// A status that says more than the page's own.
fn exact_status(turned: &Turned, seen: &Seen) -> Option<StatusCode> {
    match turned {
        // Nothing is missing at the address of the question: what it asks about is refused.
        Turned::Route(_) if seen.about.is_some() => Some(StatusCode::FORBIDDEN),
        // A proxy that asks can hand on 401 and 403; anything else becomes its own error.
        Turned::ForeignOrigin | Turned::Untold(_) => Some(StatusCode::FORBIDDEN),
        Turned::Forward(ForwardError::TooLarge { .. }) => Some(StatusCode::PAYLOAD_TOO_LARGE),
        Turned::Forward(ForwardError::UploadStalled(_)) => Some(StatusCode::REQUEST_TIMEOUT),
        _ => None,
    }
}

/// A body that was not read to its end leaves bytes nobody has judged (threats 3.4).
fn close_where_framing_is_in_doubt(turned: &Turned, headers: &mut HeaderMap) {
    let in_doubt = matches!(
        turned,
        Turned::OwnBody
            | Turned::Forward(ForwardError::TooLarge { .. } | ForwardError::UploadStalled(_) | ForwardError::UploadCut)
    );
    if in_doubt {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Cookie realm=\"brama\""));
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A short, stable word for metrics and the access log.
pub(super) fn reason(turned: &Turned) -> &'static str {
    match turned {
        Turned::Target(_) => "bad_target",
        Turned::Route(NoRoute::NotFound) => "no_route",
        Turned::Route(_) => "ambiguous_path",
        Turned::Store(_) => "store_unavailable",
        Turned::Denied(denial) => denial.reason(),
        Turned::SignIn(_) => "not_signed_in",
        Turned::ForeignOrigin => "foreign_origin",
        Turned::OwnBody => "bad_body",
        Turned::Untold(untold) => untold.reason(),
        Turned::Assertion(_) => "no_assertion",
        Turned::Forward(error) => error.reason(),
    }
}

/// Failures are logged once, here; what a client did wrong is no failure of ours.
fn log(turned: &Turned, reference: &str) {
    match turned {
        Turned::Store(error) => tracing::error!(%error, request = reference, "the session store did not answer"),
        Turned::Assertion(error) => tracing::error!(%error, request = reference, "an assertion could not be signed"),
        Turned::Forward(error) if error.side() == Side::Upstream => {
            tracing::warn!(error = error as &dyn std::error::Error, request = reference, "the upstream failed");
        }
        Turned::Target(error) => tracing::debug!(%error, request = reference, "a request was refused"),
        Turned::Untold(error) => tracing::debug!(%error, request = reference, "a question was refused"),
        turned => tracing::debug!(reason = reason(turned), request = reference, "a request was turned away"),
    }
}
