//! The lines of a head: what each may hold and what they say together about the body.

use super::{bytes, violation::Violation};

/// How large a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Bytes of the head, start line and empty line included.
    pub(crate) bytes: usize,
    /// Number of fields.
    pub(crate) fields: usize,
    /// Bytes of the request target.
    pub(crate) target: usize,
}

/// What an answer answers: it decides whether the answer can have a body (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// HEAD: no body, whatever the fields say.
    Head,
    /// Any other method.
    Other,
}

/// How a message goes on after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// No body.
    Empty,
    /// This many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Answers only: everything until the connection closes.
    UntilClose,
    /// Requests: no body, and an upgrade was asked for. Answers: 101, the protocol changes here.
    Upgrade,
    /// Answers only: a 1xx, another head follows.
    Interim,
}

/// The version of the start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartLine {
    Request(Version),
    Answer(Version, u16),
}

/// What was read of a head so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    start: Option<StartLine>,
    fields: usize,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Head {
    /// True when the start line was read.
    pub(super) fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// Reads `METHOD SP target SP HTTP/1.x` (RFC 9112 §3).
    pub(crate) fn request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
        let (method, rest) = line.split_at_checked(bytes::token_length(line)).ok_or(Violation::StartLine)?;
        let rest = rest.strip_prefix(b" ").filter(|_| !method.is_empty()).ok_or(Violation::StartLine)?;
        let space = memchr::memchr(b' ', rest).ok_or(Violation::StartLine)?;
        let (target, version) = rest.split_at_checked(space).ok_or(Violation::StartLine)?;
        check_target(method, target, limits)?;
        self.start = Some(StartLine::Request(read_version(version.strip_prefix(b" ").unwrap_or_default())?));
        Ok(())
    }

    /// Reads `HTTP/1.x SP 3DIGIT [SP reason]` (RFC 9112 §4; the space before an absent reason is often left out).
    pub(crate) fn status_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        let (version, rest) = line.split_at_checked(8).ok_or(Violation::StartLine)?;
        let version = read_version(version)?;
        let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
            return Err(Violation::StartLine);
        };
        if !matches!(reason, [] | [b' ', ..]) {
            return Err(Violation::StartLine);
        }
        if bytes::has_control(reason) {
            return Err(Violation::Control);
        }
        let digit = |byte: &u8| u16::from(byte - b'0');
        self.start = Some(StartLine::Answer(version, digit(a) * 100 + digit(b) * 10 + digit(c)));
        Ok(())
    }

    /// The length that was told, if any.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Reads `name: value` (RFC 9112 §5), and gives them apart.
    pub(crate) fn field<'a>(&mut self, line: &'a [u8], limits: &HeadLimits) -> Result<(&'a [u8], &'a [u8]), Violation> {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(Violation::Folded);
        }
        let (name, rest) = line.split_at_checked(bytes::token_length(line)).ok_or(Violation::FieldName)?;
        let value = rest.strip_prefix(b":").filter(|_| !name.is_empty()).ok_or(Violation::FieldName)?;
        if bytes::has_control(value) {
            return Err(Violation::Control);
        }
        self.judge(name, value, limits)?;
        Ok((name, value))
    }

    /// Judges what a field says of the message, `name` being a token and `value` without controls.
    pub(crate) fn judge(&mut self, name: &[u8], value: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Violation::HeadTooLarge);
        }
        // Told apart by length first: most fields are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(bytes::trim(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(bytes::trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(bytes::trim(value)),
            _ => Ok(()),
        }
    }

    /// The whole head was read: what follows it?
    pub(crate) fn end(&self, asked: Asked) -> Result<BodyFraming, Violation> {
        if self.chunked && self.length.is_some() {
            return Err(Violation::TwoLengths);
        }
        match self.start {
            Some(StartLine::Request(version)) => self.end_request(version),
            Some(StartLine::Answer(version, status)) => self.end_answer(version, status, asked),
            None => Err(Violation::StartLine),
        }
    }

    fn end_request(&self, version: Version) -> Result<BodyFraming, Violation> {
        match version {
            Version::Http10 if self.chunked => return Err(Violation::TransferEncoding),
            Version::Http11 if self.hosts != 1 => return Err(Violation::Host),
            Version::Http10 | Version::Http11 => {}
        }
        Ok(match self.length {
            _ if self.chunked => BodyFraming::Chunked,
            Some(length) if length > 0 => BodyFraming::Length(length),
            _ if self.upgrade && version == Version::Http11 => BodyFraming::Upgrade,
            _ => BodyFraming::Empty,
        })
    }

    fn end_answer(&self, version: Version, status: u16, asked: Asked) -> Result<BodyFraming, Violation> {
        if version == Version::Http10 && self.chunked {
            return Err(Violation::TransferEncoding);
        }
        // RFC 9112 §6.1: no Transfer-Encoding in 1xx and 204; RFC 9110 §8.6: no Content-Length either.
        if matches!(status, 100..=199 | 204) {
            if self.chunked {
                return Err(Violation::TransferEncoding);
            }
            if self.length.is_some_and(|length| length > 0) {
                return Err(Violation::ContentLength);
            }
        }
        Ok(match (status, self.length) {
            (101, _) => BodyFraming::Upgrade,
            (100..=199, _) => BodyFraming::Interim,
            (204 | 304, _) => BodyFraming::Empty,
            _ if asked == Asked::Head => BodyFraming::Empty,
            _ if self.chunked => BodyFraming::Chunked,
            (_, Some(0)) => BodyFraming::Empty,
            (_, Some(length)) => BodyFraming::Length(length),
            (_, None) => BodyFraming::UntilClose,
        })
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Violation> {
        self.hosts += 1;
        // Answers may carry anything here; it means nothing there.
        if matches!(self.start, Some(StartLine::Request(_))) && (self.hosts > 1 || !bytes::is_host(value)) {
            return Err(Violation::Host);
        }
        self.hosts = self.hosts.min(2);
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        // Even equal duplicates: RFC 9112 §6.3 lets a recipient refuse them, and no honest client sends them.
        if self.length.is_some() {
            return Err(Violation::ContentLength);
        }
        self.length = Some(bytes::decimal(value).ok_or(Violation::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Violation::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }
}

/// Origin-form, absolute-form, or `*` for OPTIONS; no CONNECT, no authority-form (RFC 9112 §3.2).
fn check_target(method: &[u8], target: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
    if target.len() > limits.target {
        return Err(Violation::TargetTooLong);
    }
    if !bytes::is_target(target) {
        return Err(Violation::Target);
    }
    match target {
        _ if method == b"CONNECT" => Err(Violation::Target),
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ if is_absolute(target) => Ok(()),
        _ => Err(Violation::Target),
    }
}

fn is_absolute(target: &[u8]) -> bool {
    let starts = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    starts(b"http://") || starts(b"https://")
}

fn read_version(text: &[u8]) -> Result<Version, Violation> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Violation::Version),
        _ => Err(Violation::StartLine),
    }
}
