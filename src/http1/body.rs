//! A body out of the bytes on the wire. Pure.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{BodyFraming, ChunkPart, Chunked, Violation, fields};

/// Where in the body we stand.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, and the bytes of the trailer section so far.
    Chunked(Box<(Chunked, BytesMut)>),
    /// All that comes until the connection closes.
    UntilClose,
    /// It has ended.
    Ended,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// Some of the body.
    Data(Bytes),
    /// The trailers after it.
    Trailers(HeaderMap),
    /// Its end.
    End,
    /// More has to be read.
    Wait,
}

impl Decoder {
    /// For the body that `framing` announces.
    pub(crate) fn new(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked(Box::new((Chunked::new(), BytesMut::new()))),
            BodyFraming::UntilClose => Self::UntilClose,
            BodyFraming::Empty | BodyFraming::Upgrade | BodyFraming::Interim => Self::Ended,
        }
    }

    /// True once the end was found.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Ended => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// The next piece of what was received.
    pub(crate) fn next(&mut self, received: &mut BytesMut) -> Result<Piece, Violation> {
        match self {
            Self::Ended => Ok(Piece::End),
            _ if received.is_empty() => Ok(Piece::Wait),
            Self::UntilClose => Ok(Piece::Data(received.split().freeze())),
            Self::Length(left) => {
                let taken = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Piece::Data(received.split_to(taken).freeze()))
            }
            Self::Chunked(chunks) => {
                let (chunked, section) = &mut **chunks;
                let piece = next_of_chunks(chunked, section, received)?;
                if matches!(piece, Piece::Trailers(_) | Piece::End) {
                    *self = Self::Ended;
                }
                Ok(piece)
            }
        }
    }

    /// The connection was closed: true when that is this body's end, false when it was cut.
    pub(crate) fn closed(&mut self) -> bool {
        let whole = matches!(self, Self::UntilClose | Self::Ended);
        if whole {
            *self = Self::Ended;
        }
        whole
    }
}

/// Follows the chunks; data is split off without a copy, everything around it is read by the strict rules and dropped.
fn next_of_chunks(chunked: &mut Chunked, section: &mut BytesMut, received: &mut BytesMut) -> Result<Piece, Violation> {
    loop {
        let (taken, part) = chunked.next(received)?;
        let bytes = received.split_to(taken);
        match part {
            ChunkPart::Data => return Ok(Piece::Data(bytes.freeze())),
            ChunkPart::Trailer => section.extend_from_slice(&bytes),
            ChunkPart::Around => {}
            ChunkPart::End if section.is_empty() => return Ok(Piece::End),
            ChunkPart::End => return Ok(Piece::Trailers(fields::trailers(section)?)),
            ChunkPart::Wait => return Ok(Piece::Wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of `wire`, received in pieces of `step` bytes.
    fn decode(framing: BodyFraming, wire: &[u8], step: usize) -> (Vec<u8>, Option<HeaderMap>, bool) {
        let (mut decoder, mut received) = (Decoder::new(framing), BytesMut::new());
        let (mut body, mut trailers) = (Vec::new(), None);
        for piece in wire.chunks(step) {
            received.extend_from_slice(piece);
            loop {
                match decoder.next(&mut received).unwrap() {
                    Piece::Data(bytes) => body.extend_from_slice(&bytes),
                    Piece::Trailers(found) => trailers = Some(found),
                    Piece::End | Piece::Wait => break,
                }
            }
        }
        (body, trailers, decoder.has_ended())
    }

    #[test]
    fn bodies_are_the_same_however_they_arrive() {
        let chunks = b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\ngrpc-status: 0\r\nx: y\r\n\r\n";
        for step in 1..chunks.len() {
            let (body, trailers, ended) = decode(BodyFraming::Chunked, chunks, step);
            assert_eq!((body.as_slice(), ended), (&b"abcdefgh"[..], true), "{step}");
            let trailers = trailers.unwrap();
            assert_eq!((&trailers["grpc-status"], &trailers["x"]), (&"0".parse().unwrap(), &"y".parse().unwrap()));
            assert_eq!(decode(BodyFraming::Length(5), b"abcde", step), (b"abcde".to_vec(), None, true));
            assert_eq!(decode(BodyFraming::UntilClose, b"abcde", step), (b"abcde".to_vec(), None, false));
        }
        assert_eq!(decode(BodyFraming::Chunked, b"0\r\n\r\n", 1), (vec![], None, true));
    }

    #[test]
    fn what_follows_a_body_is_not_part_of_it() {
        for (framing, wire) in [(BodyFraming::Length(2), "okHTTP"), (BodyFraming::Chunked, "2\r\nok\r\n0\r\n\r\nHTTP")]
        {
            let (mut decoder, mut received) = (Decoder::new(framing), BytesMut::from(wire));
            assert_eq!(decoder.next(&mut received).unwrap(), Piece::Data(Bytes::from_static(b"ok")));
            assert_eq!(decoder.next(&mut received).unwrap(), Piece::End);
            assert_eq!(&received[..], b"HTTP");
        }
    }

    #[test]
    fn a_closed_connection_ends_only_a_body_without_another_end() {
        for (framing, whole) in [
            (BodyFraming::Length(1), false),
            (BodyFraming::Chunked, false),
            (BodyFraming::UntilClose, true),
            (BodyFraming::Empty, true),
        ] {
            assert_eq!(Decoder::new(framing).closed(), whole, "{framing:?}");
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for wire in ["zz\r\n", "2\r\nokx", "\r\n", "2 \r\n", "-1\r\n", "ffffffffffffffffff\r\n"] {
            let mut received = BytesMut::from(wire);
            let mut decoder = Decoder::new(BodyFraming::Chunked);
            let outcome = loop {
                match decoder.next(&mut received) {
                    Ok(Piece::Data(_)) => {}
                    other => break other,
                }
            };
            assert!(outcome.is_err(), "{wire:?}: {outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_chunked_comes_out_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6), step in 1_usize..400) {
            let mut wire = Vec::new();
            for part in &parts {
                wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                wire.extend_from_slice(part);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(BodyFraming::Chunked, &wire, step), (parts.concat(), None, true));
        }
    }
}
