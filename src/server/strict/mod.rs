//! The strict reader: what two parsers could read in two ways never gets past it.
//!
//! Request smuggling lives on the difference between two readers of the same bytes. hyper is a lenient reader: it
//! takes a bare LF for a line end, any Transfer-Encoding list that ends in `chunked`, and drops a Content-Length
//! beside a Transfer-Encoding without a word. So a small machine of our own ([`Framing`]) reads every byte of an
//! HTTP/1 connection *before* hyper does and follows the framing by itself: heads, Content-Length bodies (skipped by
//! count), chunks, trailers. It keeps to one reading and refuses what has another (threat model, section 3).
//!
//! What others may rely on:
//! - hyper never sees a byte of a request head that was not accepted whole; an incomplete head is held back.
//! - Everything passed has exactly one reading: hyper finds the same requests with the same bodies (a property test
//!   at the foot of this folder holds us to it).
//! - In the common case, a head that arrives in one read, nothing is copied and nothing allocated.
//!
//! How a refusal becomes an answer: a refused *head* is replaced by a stand-in request that only the server's own
//! service knows. hyper therefore answers the good requests before it first, in order, and then the service answers
//! the stand-in with 400, 408, 414, 431 or 505 and closes. A refusal *inside a body* ends that body with an error and
//! turns the answer, if it has not begun, into 400; hyper closes after it.
//!
//! Deliberately absent: any opinion on paths, hosts or methods beyond what framing needs (that is the gateway's), and
//! HTTP/2, whose framing has one reading.
//!
//! The rules of heads and chunks ([`MessageHead`], [`Chunked`]) do no I/O and judge answers as well as requests: the
//! upstream side reads by them.

mod bytes;
mod chunk;
mod framing;
mod head;
mod reader;
mod verdict;
mod violation;

#[cfg(test)]
mod differential;
#[cfg(test)]
pub(crate) use framing::tests as cases;

pub(crate) use bytes::trim;
pub(crate) use chunk::{ChunkPart, Chunked};
pub(crate) use framing::Framing;
pub(crate) use head::{Asked, BodyFraming, Head as MessageHead, HeadLimits};
pub(crate) use reader::{Strict, Timeouts};
pub(crate) use verdict::Verdict;
pub(crate) use violation::Violation;
