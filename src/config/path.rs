//! Paths as they are compared: one canonical form, made once, used by policy, routing, logs and the upstream alike
//! (threat model, 2.1).
//!
//! The canonical form of a path:
//!
//! * it begins with a slash; repeated slashes are **merged** (as nginx does: an app that sees `//` as `/` and one that
//!   does not then see the same), dot segments are removed (RFC 3986, 5.2.4);
//! * escapes of unreserved characters are decoded, all others have upper-case digits (RFC 3986, 6.2.2);
//! * characters that a path may not hold as they are (spaces, quotes, non-ASCII …) are escaped;
//! * invalid escapes, controls, NUL, backslashes and what is not UTF-8 once decoded are refused.
//!
//! What remains can still be read in more than one way by an app: `%2F`, `;parameters`, `%252e`. [`Marks`] say so, and
//! [`readings`] gives every other way to read the path, so that a route is used only when all of them fall on it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    #[error("the path holds an invalid escape")]
    BadEscape,
    /// A control character or NUL, as it is or escaped.
    #[error("the path holds a control character")]
    Control,
    /// A backslash: some servers take it for a slash.
    #[error("the path holds a backslash")]
    Backslash,
    /// It is not UTF-8 once decoded.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A `?` or `#`.
    #[error("the path holds a query or a fragment")]
    NotAPath,
    /// It is escaped so often that it only serves to confuse.
    #[error("the path is escaped too many times")]
    EscapedTooOften,
}

/// What a canonical path still holds that another reader could understand in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(u8);

impl Marks {
    const ENCODED_SLASH: u8 = 1;
    const ESCAPED_ASCII: u8 = 2;
    const PARAMETERS: u8 = 4;

    /// The marks of a canonical path.
    fn of(path: &str) -> Self {
        let mut marks = if path.contains(';') { Self::PARAMETERS } else { 0 };
        for escape in path.split('%').skip(1) {
            marks |= match escape.get(..2) {
                Some("2F" | "5C") => Self::ENCODED_SLASH,
                Some(ascii) if ascii.starts_with(|digit| matches!(digit, '0'..='7')) => Self::ESCAPED_ASCII,
                _ => 0,
            };
        }
        Self(marks)
    }

    /// It holds `%2F` or `%5C`.
    pub fn has_encoded_slash(self) -> bool {
        self.0 & Self::ENCODED_SLASH != 0
    }

    /// It has more than one safe reading: escapes of ASCII characters, or `;`.
    pub fn is_ambiguous(self) -> bool {
        self.0 != 0
    }
}

/// A path in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The path; borrowed when it was canonical already.
    pub path: Cow<'a, str>,
    /// What it still holds.
    pub marks: Marks,
}

/// Brings a path into canonical form.
///
/// # Errors
/// [`BadPath`] for what has no safe form.
pub fn canonical(raw: &str) -> Result<Canonical<'_>, BadPath> {
    if !raw.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_plain(raw) {
        return Ok(Canonical { path: Cow::Borrowed(raw), marks: Marks::default() });
    }
    let path = without_dots(&normal_escapes(raw)?);
    let marks = Marks::of(&path);
    // Borrowing keeps the request's own buffer in use for paths like /.well-known/ and /a%20b.
    let path = if path == raw { Cow::Borrowed(raw) } else { Cow::Owned(path) };
    Ok(Canonical { path, marks })
}

/// What a byte of a path asks for. Anything but `PLAIN` and the slash leaves the fast way.
const PLAIN: u8 = 0;
const SLASH: u8 = 1;
const DOT: u8 = 2;
const OTHER: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "below 256 by the loop")]
        {
            class[byte] = match byte as u8 {
                b'/' => SLASH,
                b'.' => DOT,
                b if is_pchar(b) && b != b';' => PLAIN,
                _ => OTHER,
            };
        }
        byte += 1;
    }
    class
};

/// Characters a path segment may hold as they are (RFC 3986, 3.3).
const fn is_pchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// True for a path that is canonical and has one reading; one pass, no branch but on slashes and dots at a segment's
/// begin.
fn is_plain(path: &str) -> bool {
    let mut previous = PLAIN;
    for &byte in path.as_bytes() {
        let class = CLASS.get(usize::from(byte)).copied().unwrap_or(OTHER);
        if class == OTHER || (previous == SLASH && class != PLAIN) {
            return false;
        }
        previous = class;
    }
    true
}

/// Decodes what may be decoded, escapes what must be, upper-cases the rest, refuses what has no place.
fn normal_escapes(raw: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut decoded_utf8 = Vec::new();
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = match byte {
            b'%' => (unescape(bytes.next(), bytes.next())?, true),
            other => (other, false),
        };
        check_byte(byte, escaped)?;
        if byte >= 0x80 {
            decoded_utf8.push(byte);
            push_escaped(&mut out, byte);
            continue;
        }
        check_utf8(&mut decoded_utf8)?;
        match byte {
            b'/' if !escaped => out.push('/'),
            _ if is_unreserved(byte) || (is_pchar(byte) && !escaped) => out.push(char::from(byte)),
            _ => push_escaped(&mut out, byte),
        }
    }
    check_utf8(&mut decoded_utf8)?;
    Ok(out)
}

fn check_byte(byte: u8, escaped: bool) -> Result<(), BadPath> {
    match byte {
        0..=0x1f | 0x7f => Err(BadPath::Control),
        b'\\' if !escaped => Err(BadPath::Backslash),
        b'?' | b'#' if !escaped => Err(BadPath::NotAPath),
        _ => Ok(()),
    }
}

/// A run of bytes above ASCII must be UTF-8 by itself, without C1 controls; empties it.
fn check_utf8(run: &mut Vec<u8>) -> Result<(), BadPath> {
    if run.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(run).map_err(|_| BadPath::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(BadPath::Control);
    }
    run.clear();
    Ok(())
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Result<u8, BadPath> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(BadPath::BadEscape);
    let value = digit(high)? * 16 + digit(low)?;
    u8::try_from(value).map_err(|_| BadPath::BadEscape)
}

fn push_escaped(out: &mut String, byte: u8) {
    out.push_str(percent_encoding::percent_encode_byte(byte));
}

/// Removes dot segments and merges slashes. The path stays below its root (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        out.push('/');
    }
    out
}

/// How often a path may be escaped before it is refused.
const MAX_DECODINGS: usize = 4;

/// Every other way to read an ambiguous canonical path: decoded once, twice …, with backslashes as slashes, each with
/// and without `;parameters`, and without what follows a decoded `?` or `#`. All in canonical form.
///
/// # Errors
/// [`BadPath::EscapedTooOften`] when decoding does not come to an end, and whatever else a reading shows.
pub fn readings(path: &str) -> Result<Vec<String>, BadPath> {
    let mut found: Vec<String> = Vec::new();
    let mut current = path.to_owned();
    for _ in 0..=MAX_DECODINGS {
        let bare = without_parameters(&current);
        for reading in
            [as_read(&current), as_read(&bare), as_read(before_query(&current)), as_read(before_query(&bare))]
        {
            if reading != path && !found.contains(&reading) {
                found.push(reading);
            }
        }
        let decoded = percent_decode_str(&current).decode_utf8().map_err(|_| BadPath::NotUtf8)?.into_owned();
        if decoded.chars().any(char::is_control) {
            return Err(BadPath::Control);
        }
        if decoded == current {
            return Ok(found);
        }
        current = decoded;
    }
    Err(BadPath::EscapedTooOften)
}

/// What must be escaped in a path for it to be canonical; `%` is handled by whoever knows whether it begins an escape.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The canonical form of text that was decoded, where every character stands for itself.
fn as_read(decoded: &str) -> String {
    let slashes = decoded.replace('\\', "/");
    without_dots(&utf8_percent_encode(&slashes, NOT_IN_PATH).to_string())
}

fn without_parameters(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for (index, segment) in path.split(['/', '\\']).enumerate() {
        if index > 0 {
            out.push('/');
        }
        out.push_str(segment.split(';').next().unwrap_or_default());
    }
    out
}

fn before_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Compiles a path rule so that it must match the whole path.
///
/// # Errors
/// When it is not a regular expression or grows too large.
pub fn anchored(pattern: &str) -> Result<regex::Regex, regex::Error> {
    // First alone: `a)|(b` must not pass only because of the group around it.
    regex::Regex::new(pattern)?;
    regex::RegexBuilder::new(&anchored_pattern(pattern)).size_limit(1 << 20).build()
}

/// The pattern of [`anchored`].
pub fn anchored_pattern(pattern: &str) -> String {
    format!("\\A(?:{pattern})\\z")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(raw: &str) -> Result<String, BadPath> {
        canonical(raw).map(|canonical| canonical.path.into_owned())
    }

    #[test]
    fn each_path_has_one_form() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b.c", "/a/b.c"),
            ("/%61", "/a"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%7eb", "/a~b"),
            ("/a//b///c", "/a/b/c"),
            ("//a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/../../etc", "/etc"),
            ("/%2e%2E/etc", "/etc"),
            ("/a/.%2e/b", "/b"),
            ("/a//../b", "/b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a%40b", "/a%40b"),
            ("/a b", "/a%20b"),
            ("/п", "/%D0%BF"),
            ("/%d0%bf", "/%D0%BF"),
            ("/a;x=1", "/a;x=1"),
            ("/%252e%252e", "/%252e%252e"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn what_has_no_safe_form_is_refused() {
        for (raw, why) in [
            ("a", BadPath::NotAbsolute),
            ("", BadPath::NotAbsolute),
            ("/%", BadPath::BadEscape),
            ("/%2", BadPath::BadEscape),
            ("/%zz", BadPath::BadEscape),
            ("/%+1", BadPath::BadEscape),
            ("/a\0", BadPath::Control),
            ("/a%00b", BadPath::Control),
            ("/a%0d%0ab", BadPath::Control),
            ("/%7f", BadPath::Control),
            ("/%c2%80", BadPath::Control),
            ("/a\\b", BadPath::Backslash),
            ("/%ff", BadPath::NotUtf8),
            ("/%c0%ae%c0%ae/", BadPath::NotUtf8),
            ("/%d0x%bf", BadPath::NotUtf8),
            ("/a#b", BadPath::NotAPath),
        ] {
            assert_eq!(path(raw), Err(why), "{raw:?}");
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        for raw in ["/", "/index.html", "/a/b/c-d_e~f", "/a:b@c", "/.well-known/x"] {
            assert!(matches!(canonical(raw).unwrap().path, Cow::Borrowed(_)), "{raw}");
        }
    }

    #[test]
    fn marks_tell_what_another_reader_could_see() {
        for (raw, slash, ambiguous) in [
            ("/a", false, false),
            ("/%D0%BF", false, false),
            ("/a%2Fb", true, true),
            ("/a%5cb", true, true),
            ("/a;b", false, true),
            ("/a%3Bb", false, true),
            ("/%252e", false, true),
            ("/%40", false, true),
        ] {
            let marks = canonical(raw).unwrap().marks;
            assert_eq!((marks.has_encoded_slash(), marks.is_ambiguous()), (slash, ambiguous), "{raw}");
        }
    }

    #[test]
    fn readings_show_where_else_a_path_could_lead() {
        for (path, reading) in [
            ("/public/..;/admin", "/admin"),
            ("/public/..%3B/admin", "/admin"),
            ("/public/..%3Bx/admin", "/admin"),
            ("/public/%252e%252e/admin", "/admin"),
            ("/public/%25252e%25252e/admin", "/admin"),
            ("/public%2F..%2Fadmin", "/admin"),
            ("/public%5C..%5Cadmin", "/admin"),
            ("/%40admin", "/@admin"),
            ("/admin;x/y", "/admin/y"),
            ("/admin%3Fx", "/admin"),
            ("/admin%23/x", "/admin"),
        ] {
            let found = readings(path).unwrap();
            assert!(found.iter().any(|found| found == reading), "{path} reads as {found:?}");
        }
        assert_eq!(readings("/%2525252525252e"), Err(BadPath::EscapedTooOften));
        assert_eq!(readings("/%2500"), Err(BadPath::Control));
    }

    #[test]
    fn a_pattern_must_match_the_whole_path() {
        assert!(anchored("/a|/b").unwrap().is_match("/b"));
        for path in ["/ax", "x/b", "/a\n", "/a/b"] {
            assert!(!anchored("/a|/b").unwrap().is_match(path), "{path:?}");
        }
        assert!(!anchored("(?m)^/a$").unwrap().is_match("/x\n/a"));
        // A comment would swallow the anchor: refused, not half anchored.
        assert!(anchored("(?x) /a # comment").is_err());
        assert!(anchored("a)|(b").is_err());
    }

    proptest! {
        #[test]
        fn canonicalising_twice_changes_nothing(raw in "/[a-z/.;%\\\\025eEfFcCп@ ]{0,30}") {
            if let Ok(once) = canonical(&raw) {
                let twice = canonical(&once.path).unwrap();
                prop_assert_eq!(&twice.path, &once.path);
                prop_assert_eq!(twice.marks, once.marks);
            }
        }

        #[test]
        fn no_dot_segment_or_double_slash_survives(raw in "/[a.%2eE/;]{0,30}") {
            if let Ok(canonical) = canonical(&raw) {
                prop_assert!(!canonical.path.contains("//"));
                prop_assert!(!canonical.path.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn a_path_without_marks_means_itself_however_often_it_is_decoded(raw in "/[a-c/.%2e5;@]{0,24}") {
            let canonical = canonical(&raw);
            if let Ok(canonical) = canonical && !canonical.marks.is_ambiguous() {
                prop_assert_eq!(readings(&canonical.path), Ok(vec![]));
            }
        }
    }
}
