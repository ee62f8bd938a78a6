//! HTTP/1.1 towards a target, driven in the request's own task.
//!
//! A client library has a task per connection and channels between it and whoever asks. A proxy needs neither: the task
//! that has the request may as well write it and read the answer. That saves two task switches, three channels and a copy
//! of the fields a request, and puts the strict rules of [`http1`](crate::http1) in the one place where answers are read.
//!
//! One [`Connection`] carries one exchange at a time ([`exchange`]): it writes what [`encode`] makes of the request and
//! reads the answer by [`answer`] (its head) and the decoder both sides share (its body), all three pure. Nothing runs while a connection
//! lies idle; whether its peer has closed it is looked at when it is taken up again, which costs no system call.
//!
//! What others may rely on, beside the promises of [`upstream`](super):
//!
//! * An answer passes only if it has one reading (threats 3.6): anything else is a violation, and the connection goes.
//! * An answer may begin, and end, before the request's body was sent whole (RFC 9112, 9.5).
//! * At most `buffer_bytes` are read ahead of whoever takes the body.

mod answer;
mod encode;
mod exchange;
mod idle;
mod patience;
mod sift;
mod wire;

pub(super) use self::{
    answer::Taking,
    exchange::{Answered, Exchange, Failure, send},
    idle::Connection,
    patience::Patience,
};
