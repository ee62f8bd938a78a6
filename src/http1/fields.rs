//! Lines of a head, taken apart.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use memchr::memmem::Finder;

use super::{bytes::trim, violation::Violation};

/// Where a head ends: at its first empty line.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Where the head at the start of `bytes` ends, its empty line included; nothing while it is not whole. No end stands in
/// the first `searched` bytes.
pub(crate) fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    END.find(bytes.get(from..)?).map(|at| from + at + 4)
}

/// Takes a line off the front.
pub(crate) fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Violation> {
    let newline = memchr::memchr(b'\n', rest).ok_or(Violation::StartLine)?;
    let (line, after) = rest.split_at_checked(newline + 1).ok_or(Violation::StartLine)?;
    *rest = after;
    line.strip_suffix(b"\r\n").ok_or(Violation::BareLf)
}

/// How many fields are on the lines that are left of a head, its empty line included. A map made for so many at once does
/// not grow, and is no larger than it need be.
pub(crate) fn count_fields(rest: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', rest).count().saturating_sub(1)
}

/// The name and value of a line of `head`, whose buffer the value shares. That a name is a token and a value has no
/// controls is what their types hold (RFC 9110, 5.1 and 5.5).
pub(crate) fn field(line: &[u8], head: &Bytes) -> Result<(HeaderName, HeaderValue), Violation> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(Violation::Folded);
    }
    let colon = memchr::memchr(b':', line).ok_or(Violation::FieldName)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Violation::FieldName)?;
    let name = HeaderName::from_bytes(name).map_err(|_| Violation::FieldName)?;
    let value = trim(value.get(1..).unwrap_or_default());
    let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(|_| Violation::Control)?;
    Ok((name, value))
}

/// Reads the trailer section of a chunked body, which the decoder has passed.
pub(super) fn trailers(section: &[u8]) -> Result<HeaderMap, Violation> {
    let section = Bytes::copy_from_slice(section);
    let mut rest: &[u8] = &section;
    let mut trailers = HeaderMap::new();
    while !rest.is_empty() {
        let (name, value) = field(next_line(&mut rest)?, &section)?;
        trailers.append(name, value);
    }
    Ok(trailers)
}
