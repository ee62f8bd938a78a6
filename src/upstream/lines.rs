//! Fields that are ready to be written.
//!
//! What an app is told of a person or a connection is the same from request to request. Kept as the very bytes that go
//! out, it costs a request one copy; as fields in a map each would be hashed, placed, found and written again.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Whole lines, each `name: value` and a line end. Made of names and values alone, so no line can hold another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// None, for requests that go as they came.
    pub const NONE: &'static Self = &Self(Vec::new());

    /// Adds a field. Whoever puts one name twice sends it twice.
    pub fn put(&mut self, name: &HeaderName, value: &HeaderValue) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// The bytes, for HTTP/1.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the fields into a map, for what is no HTTP/1.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        for (name, value) in self.fields() {
            headers.insert(name, value);
        }
    }

    /// Takes them out again.
    pub(super) fn remove_from(&self, headers: &mut HeaderMap) {
        for (name, _) in self.fields() {
            headers.remove(name);
        }
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = memchr::memchr(b':', line)?;
            let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
            Some((name, HeaderValue::from_bytes(line.get(colon + 2..)?).ok()?))
        })
    }
}

impl<'a> FromIterator<(&'a HeaderName, &'a HeaderValue)> for Lines {
    fn from_iter<T: IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>>(fields: T) -> Self {
        let mut lines = Self::default();
        fields.into_iter().for_each(|(name, value)| lines.put(name, value));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lines_and_lines_are_fields() {
        let fields = [("x-forwarded-user", "a: b"), ("x-forwarded-groups", ""), ("x-auth-origin", " google")];
        let fields = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let lines: Lines = fields.iter().map(|(name, value)| (name, value)).collect();
        assert_eq!(lines.bytes(), b"x-forwarded-user: a: b\r\nx-forwarded-groups: \r\nx-auth-origin:  google\r\n");
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-origin", HeaderValue::from_static("forged"));
        lines.insert_into(&mut headers);
        assert_eq!(headers.len(), 3);
        for (name, value) in &fields {
            assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
        }
        lines.remove_from(&mut headers);
        assert!(headers.is_empty());
    }
}
