//! A set of header names that are asked for in every spelling some server reads as the same.

use http::HeaderName;

/// Names and prefixes in normal form: lower case, and every character but letters and digits as `-`. CGI and WSGI merge
/// `-` and `_`, PHP `.` too, and older servers whatever is no letter or digit.
#[derive(Debug)]
pub(super) struct Names {
    /// For each first byte, the lengths worth a closer look, as bits; 63 stands for longer ones. Nearly every field of
    /// an ordinary request is settled by this one load.
    lengths: Box<[u64; 256]>,
    exact: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { lengths: Box::new([0; 256]), exact: Vec::new(), prefixes: Vec::new() }
    }
}

const LONGEST: usize = 63;

impl Names {
    pub(super) fn add(&mut self, name: &str) {
        let name = normal(name);
        if !self.exact.contains(&name) {
            self.note(&name, 1 << name.len().min(LONGEST));
            self.exact.push(name);
            // Sorted, so that the search does not grow with own sets.
            self.exact.sort_unstable();
        }
    }

    pub(super) fn add_prefix(&mut self, prefix: &str) {
        let prefix = normal(prefix);
        self.note(&prefix, u64::MAX << prefix.len().min(LONGEST));
        self.prefixes.push(prefix);
    }

    fn note(&mut self, name: &str, lengths: u64) {
        let first = name.bytes().next().unwrap_or_default();
        if let Some(bits) = self.lengths.get_mut(usize::from(first)) {
            *bits |= lengths;
        }
    }

    pub(super) fn has(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        let first = name.first().copied().map(normal_byte).unwrap_or_default();
        let lengths = self.lengths.get(usize::from(first)).copied().unwrap_or_default();
        lengths & (1 << name.len().min(LONGEST)) != 0 && self.search(name)
    }

    fn search(&self, name: &[u8]) -> bool {
        let spelled = || name.iter().copied().map(normal_byte);
        self.exact.binary_search_by(|own| own.bytes().cmp(spelled())).is_ok()
            || self
                .prefixes
                .iter()
                .any(|prefix| name.len() >= prefix.len() && prefix.bytes().eq(spelled().take(prefix.len())))
    }
}

fn normal(name: &str) -> Box<str> {
    name.bytes().map(|byte| char::from(normal_byte(byte))).collect::<String>().into()
}

const fn normal_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}
