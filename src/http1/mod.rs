//! HTTP/1 as bytes, for both sides: the clients' ([`server`](crate::server)) and the apps'
//! ([`upstream`](crate::upstream)).
//!
//! Request smuggling lives on the difference between two readers of the same bytes. So there is one set of rules for
//! requests and answers alike, and it keeps to one reading and refuses what has another (threat model, section 3): what a
//! lenient reader forgives, a bare LF, a second length, a `Transfer-Encoding` other than `chunked`, is a [`Violation`].
//!
//! * [`head`] judges start lines and fields, and what they say together about the body; [`fields`] takes them apart.
//! * [`chunk`] follows the chunked coding byte by byte; [`body`] takes a body of any framing out of what was received.
//! * [`head_watch`] judges a head while it arrives. In tests, `framing` follows a whole stream of requests by the rules
//!   alone: the reader that the server is held against.
//! * [`inflow`] and [`outflow`] are what has come and what is to go over one connection; [`switched`] is a connection that
//!   speaks no HTTP any more.
//!
//! Deliberately absent: any opinion on paths, hosts or methods beyond what framing needs (that is the gateway's), and
//! HTTP/2, whose framing has one reading.

mod body;
mod bytes;
mod chunk;
mod fields;
#[cfg(test)]
mod framing;
mod head;
mod head_watch;
mod inflow;
mod outflow;
mod sending;
mod switched;
mod violation;

#[cfg(test)]
pub(crate) use framing::{Framing, tests as cases};

pub(crate) use self::{
    body::{Decoder, Piece},
    bytes::{is_token, trim},
    chunk::{ChunkPart, Chunked},
    fields::{count_fields, field, head_end, next_line},
    head::{Asked, BodyFraming, Head as MessageHead, HeadLimits},
    head_watch::{HeadWatch, empty_line},
    inflow::Inflow,
    outflow::Outflow,
    sending::Sending,
    switched::Switched,
    violation::Violation,
};
