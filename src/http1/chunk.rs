//! The chunked coding (RFC 9112 §7.1), byte by byte except for the data itself.

use super::{bytes, violation::Violation};

/// Hexadecimal digits of a chunk size: 16 fill a 64-bit number.
const SIZE_DIGITS: u8 = 16;
/// Bytes of chunk extensions in one body. Nothing we know sends any; they are dropped, not forwarded.
const EXTENSION_BYTES: u16 = 4096;
/// Bytes of the trailer section. Nothing we know sends more.
const TRAILER_BYTES: u16 = 8192;

/// Where in a chunked body we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunked {
    at: At,
    extension: u16,
    trailer: u16,
}

/// What the bytes at the front of a chunked body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkPart {
    /// Bytes of the body.
    Data,
    /// Bytes of the trailer section, the empty line after it not included.
    Trailer,
    /// What stands around the data: sizes, extensions, line ends.
    Around,
    /// The last of the body.
    End,
    /// There are none.
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    FieldStart,
    FieldName,
    FieldValue,
    FieldLf,
    EndLf,
}

impl Chunked {
    /// Before the first chunk.
    pub(crate) fn new() -> Self {
        Self { at: At::Size { value: 0, digits: 0 }, extension: 0, trailer: 0 }
    }

    #[cfg(test)]
    /// Reads on. `Ok` tells how many bytes were taken and whether the body has ended with them; the error, how many
    /// were good before the bad one.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Violation)> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..)
            && let Some(&byte) = rest.first()
        {
            if let At::Data { left } = self.at {
                let skipped = left.min(rest.len() as u64);
                self.at = if skipped == left { At::DataCr } else { At::Data { left: left - skipped } };
                taken += usize::try_from(skipped).unwrap_or(rest.len());
                continue;
            }
            let ended = self.at == At::EndLf && byte == b'\n';
            self.at = self.step(byte).map_err(|violation| (taken, violation))?;
            taken += 1;
            if ended {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// Reads on as far as the bytes are of one part: how many, and of which.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<(usize, ChunkPart), Violation> {
        let mut taken = 0;
        let mut part = ChunkPart::Wait;
        while let Some(rest) = bytes.get(taken..)
            && let Some(&byte) = rest.first()
        {
            let of = self.part(byte);
            if taken > 0 && of != part {
                return Ok((taken, part));
            }
            part = of;
            if let At::Data { left } = self.at {
                let count = left.min(rest.len() as u64);
                self.at = if count == left { At::DataCr } else { At::Data { left: left - count } };
                return Ok((usize::try_from(count).unwrap_or(rest.len()), ChunkPart::Data));
            }
            let ended = self.at == At::EndLf && byte == b'\n';
            self.at = self.step(byte)?;
            taken += 1;
            if ended {
                return Ok((taken, ChunkPart::End));
            }
        }
        // Half of the last line end is not the end.
        Ok((taken, if part == ChunkPart::End { ChunkPart::Around } else { part }))
    }

    /// What `byte` is, if it comes next.
    fn part(&self, byte: u8) -> ChunkPart {
        match self.at {
            At::Data { .. } => ChunkPart::Data,
            At::FieldStart if byte == b'\r' => ChunkPart::End,
            At::EndLf => ChunkPart::End,
            At::FieldStart | At::FieldName | At::FieldValue | At::FieldLf => ChunkPart::Trailer,
            At::Size { .. } | At::Extension { .. } | At::SizeLf { .. } | At::DataCr | At::DataLf => ChunkPart::Around,
        }
    }

    fn step(&mut self, byte: u8) -> Result<At, Violation> {
        match (self.at, byte) {
            (At::Size { value, digits }, _) => self.size(value, digits, byte),
            // Strict inside: no controls, hence no line end but CRLF, as everywhere.
            (At::Extension { size }, b'\r') => Ok(At::SizeLf { size }),
            (At::Extension { size }, _) => {
                self.extension += 1;
                let good = self.extension <= EXTENSION_BYTES && matches!(byte, b'\t' | 0x20..=0x7e);
                if good { Ok(At::Extension { size }) } else { Err(Violation::Chunk) }
            }
            (At::SizeLf { size: 0 }, b'\n') => Ok(At::FieldStart),
            (At::SizeLf { size }, b'\n') => Ok(At::Data { left: size }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { value: 0, digits: 0 }),
            (At::SizeLf { .. } | At::Data { .. } | At::DataCr | At::DataLf, _) => Err(Violation::Chunk),
            _ => self.trailer(byte),
        }
    }

    fn size(&self, value: u64, digits: u8, byte: u8) -> Result<At, Violation> {
        match (bytes::hex(byte), byte) {
            (Some(digit), _) if digits < SIZE_DIGITS => {
                let value = value.checked_mul(16).and_then(|value| value.checked_add(digit));
                // As for Content-Length: no reader's integer may wrap.
                let value = value.filter(|value| *value <= i64::MAX as u64).ok_or(Violation::Chunk)?;
                Ok(At::Size { value, digits: digits + 1 })
            }
            (None, b';') if digits > 0 => Ok(At::Extension { size: value }),
            (None, b'\r') if digits > 0 => Ok(At::SizeLf { size: value }),
            _ => Err(Violation::Chunk),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Violation> {
        self.trailer += 1;
        if self.trailer > TRAILER_BYTES {
            return Err(Violation::Trailer);
        }
        match (self.at, byte) {
            (At::FieldStart, b'\r') => Ok(At::EndLf),
            (At::FieldStart | At::FieldName, _) if bytes::is_token(byte) => Ok(At::FieldName),
            (At::FieldName, b':') => Ok(At::FieldValue),
            (At::FieldValue, b'\r') => Ok(At::FieldLf),
            (At::FieldValue, _) if !bytes::has_control(&[byte]) => Ok(At::FieldValue),
            (At::FieldLf, b'\n') => Ok(At::FieldStart),
            (At::EndLf, b'\n') => Ok(At::EndLf),
            _ => Err(Violation::Trailer),
        }
    }
}
