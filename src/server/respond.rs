//! The answers the edge gives by itself, and the guard around the handler.

use std::{panic::AssertUnwindSafe, rc::Rc};

use futures_util::FutureExt;
use http::{HeaderValue, StatusCode, header};

use super::{Connection, Handler};
use crate::{
    body::Body,
    http1::Violation,
    message::{Request, Response},
};

/// Asks the handler. A panic in it is this request's 500.
pub(super) async fn ask<H: Handler>(handler: Rc<H>, request: Request, connection: Rc<Connection>) -> Response {
    // Boxed: whoever holds this future, and whoever holds that, would otherwise be as large as all that a handler does, and
    // each moves what it holds into place.
    let answer = async move { Box::pin(handler.call(request, connection)).await };
    // Unwind safe: the handler's state is behind its own cells, as after any early return.
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a handler panicked; its request was answered with 500");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here\n")
        }
    }
}

/// Refuses a request that has two readings or is too large; HTTP/1 closes after it.
pub(super) fn refuse(violation: Violation) -> Response {
    let mut response = plain(violation.status(), format!("{violation}\n"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A short text.
pub(super) fn plain(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response {
    let mut response = http::Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.into()
}
