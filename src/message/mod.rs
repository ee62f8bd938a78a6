//! A request and its answer on their way through.
//!
//! Between two ends that speak HTTP/1 most of a message is only passed on. So a request's head is behind a pointer, which
//! every step hands to the next, and of an answer only what somebody here looks at is taken apart: the other
//! fields stay the [`Lines`] they came as.

mod lines;

use http::{HeaderMap, StatusCode, request, response};

pub use lines::Lines;

use crate::body::Body;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Method, target and fields. Boxed: a head by value would be copied at each of a dozen steps.
    pub head: Box<request::Parts>,
    /// Its body.
    pub body: Body,
}

impl Request {
    /// As libraries take it.
    pub fn into_http(self) -> http::Request<Body> {
        http::Request::from_parts(*self.head, self.body)
    }
}

impl From<http::Request<Body>> for Request {
    fn from(request: http::Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        Self { head: Box::new(head), body }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response<B = Body> {
    /// Status and fields.
    pub head: response::Parts,
    /// More fields, ready to be written: whole, and each good to be passed on as it is.
    pub lines: Lines,
    /// Its body.
    pub body: B,
}

impl<B> Response<B> {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The fields that are in the map.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.head.headers
    }

    /// As libraries take it: all fields in the map.
    pub fn into_http(mut self) -> http::Response<B> {
        self.lines.append_to(&mut self.head.headers);
        http::Response::from_parts(self.head, self.body)
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    fn from(response: http::Response<B>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, lines: Lines::default(), body }
    }
}
