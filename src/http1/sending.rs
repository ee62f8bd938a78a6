//! How a body goes out. Pure.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use crate::body::{Body, BodyError};

/// How the length of a body that is sent is told (RFC 9112, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// There is no body.
    Nothing,
    /// So many bytes, or so many more.
    Length(u64),
    /// Chunks, for nobody knows yet.
    Chunked,
    /// Answers to HTTP/1.0 only: the end of the connection is the end of the body.
    UntilClose,
}

/// The end of a chunked body without trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Sending {
    /// That of `body`, where chunks are understood.
    pub(crate) fn of(body: &Body) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::Nothing,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }

    /// After a piece of `sent` bytes.
    ///
    /// # Errors
    /// The body is longer than it said: what is too much would be taken for the next message.
    pub(crate) fn less(self, sent: usize) -> Result<Self, BodyError> {
        match self {
            Self::Nothing | Self::Chunked | Self::UntilClose => Ok(self),
            Self::Length(left) => left
                .checked_sub(sent as u64)
                .map(Self::Length)
                .ok_or_else(|| BodyError::Other("it is longer than it said".into())),
        }
    }

    /// Whether the body may end here.
    ///
    /// # Errors
    /// It is shorter than it said.
    pub(crate) fn ends(self) -> Result<(), BodyError> {
        match self {
            Self::Length(left) if left > 0 => Err(BodyError::Other("it is shorter than it said".into())),
            _ => Ok(()),
        }
    }

    /// Writes what stands before a piece of the body; gives what stands behind it.
    pub(crate) fn around(self, data: &Bytes, out: &mut BytesMut) -> &'static [u8] {
        match self {
            Self::Nothing | Self::Length(_) | Self::UntilClose => b"",
            Self::Chunked => {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                b"\r\n"
            }
        }
    }

    /// Writes what stands behind the whole body.
    pub(crate) fn end(self, out: &mut BytesMut) {
        if self == Self::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_framed() {
        let mut out = BytesMut::new();
        let data = Bytes::from(vec![b'x'; 26]);
        assert_eq!(Sending::Chunked.around(&data, &mut out), b"\r\n");
        Sending::Chunked.end(&mut out);
        assert_eq!(&out[..], b"1a\r\n0\r\n\r\n");
        out.clear();
        assert_eq!(Sending::Length(26).around(&data, &mut out), b"");
        Sending::Length(26).end(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_body_keeps_to_its_length() {
        assert_eq!(Sending::Length(3).less(3).unwrap(), Sending::Length(0));
        assert!(Sending::Length(3).less(4).is_err());
        assert!(Sending::Length(1).ends().is_err());
        assert!(Sending::Length(0).ends().is_ok() && Sending::Chunked.ends().is_ok());
    }
}
