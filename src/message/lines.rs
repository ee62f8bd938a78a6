//! Fields that are ready to be written.
//!
//! What an app is told of a person or a connection is the same from request to request, and most of what it answers is
//! nobody's business but the client's. Kept as the very bytes that go out, it costs one copy; as fields in a map each
//! would be hashed, placed, found and written again.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header::DATE};

/// Whole lines, each `name: value` and a line end, so that no line can hold another: made of names and values, or of what
/// [`http1`](crate::http1) has judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    bytes: Bytes,
    dated: bool,
}

impl Lines {
    /// None, for requests that go as they came.
    pub fn none() -> &'static Self {
        static NONE: Lines = Lines { bytes: Bytes::new(), dated: false };
        &NONE
    }

    /// Lines that were judged where they were read; `dated` when one of them is `Date`.
    pub(crate) fn judged(bytes: Bytes, dated: bool) -> Self {
        Self { bytes, dated }
    }

    /// Adds a field. Whoever puts one name twice sends it twice.
    pub fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
        write(&mut bytes, name, value);
        self.bytes = bytes.freeze();
        self.dated |= *name == DATE;
    }

    /// The bytes, for HTTP/1.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when one of them is `Date`.
    pub(crate) fn is_dated(&self) -> bool {
        self.dated
    }

    /// Adds the fields to a map, for what is no HTTP/1.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            headers.append(name, value);
        }
    }

    /// Puts the fields into a map, each in the place of all of its name.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            headers.insert(name, value);
        }
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = memchr::memchr(b':', line)?;
            let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
            let value = line.get(colon + 1..)?.trim_ascii();
            Some((name, HeaderValue::from_maybe_shared(self.bytes.slice_ref(value)).ok()?))
        })
    }
}

fn write(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

impl<'a> FromIterator<(&'a HeaderName, &'a HeaderValue)> for Lines {
    fn from_iter<T: IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>>(fields: T) -> Self {
        let (mut bytes, mut dated) = (BytesMut::new(), false);
        for (name, value) in fields {
            write(&mut bytes, name, value);
            dated |= *name == DATE;
        }
        // In its own size: it lies beside a session for long.
        Self { bytes: Bytes::from(bytes.to_vec()), dated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lines_and_lines_are_fields() {
        let fields = [("x-forwarded-user", "a: b"), ("x-forwarded-groups", ""), ("x-auth-origin", "google")];
        let fields = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let lines: Lines = fields.iter().map(|(name, value)| (name, value)).collect();
        assert_eq!(lines.bytes(), b"x-forwarded-user: a: b\r\nx-forwarded-groups: \r\nx-auth-origin: google\r\n");
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-origin", HeaderValue::from_static("forged"));
        lines.insert_into(&mut headers);
        assert_eq!(headers.len(), 3);
        for (name, value) in &fields {
            assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
        }
    }

    #[test]
    fn what_came_as_lines_is_added_and_takes_no_place() {
        let lines = Lines::judged(Bytes::from_static(b"Vary: a\r\nDate:now\r\nVary:  b \r\n"), true);
        let mut headers = HeaderMap::new();
        headers.insert("vary", HeaderValue::from_static("c"));
        lines.append_to(&mut headers);
        assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["c", "a", "b"]);
        assert_eq!(headers["date"], "now");
    }

    #[test]
    fn a_date_is_known_of() {
        let mut lines = Lines::default();
        assert!(!lines.is_dated());
        lines.put(&DATE, &HeaderValue::from_static("now"));
        assert!(lines.is_dated());
        let fields = [(DATE, HeaderValue::from_static("now"))];
        assert!(fields.iter().map(|(name, value)| (name, value)).collect::<Lines>().is_dated());
    }
}
