//! Why a message was refused.

use http::StatusCode;

/// What two parsers could have read in two ways, or what is more than we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// RFC 9112 §2.2: a lone LF may be taken for a line end or not.
    #[error("a line ends in LF without CR")]
    BareLf,
    /// RFC 9112 §2.2, RFC 9110 §5.5: CR, NUL and other controls mean different things to different readers.
    #[error("a control character stands in the head")]
    Control,
    /// RFC 9112 §3: method SP target SP version, single spaces.
    #[error("the start line is malformed")]
    StartLine,
    /// RFC 9112 §2.3: only HTTP/1.0 and HTTP/1.1 are spoken here.
    #[error("the protocol version is not HTTP/1.0 or HTTP/1.1")]
    Version,
    /// RFC 9112 §3.2: forms of the target we do not serve, or characters it may not hold.
    #[error("the request target is malformed or of a form not served here")]
    Target,
    /// RFC 9112 §5.1: nothing but a token before the colon, no whitespace, not empty.
    #[error("a field name is malformed")]
    FieldName,
    /// RFC 9112 §5.2: folded lines, and whitespace before the first field (§2.2).
    #[error("a line begins with whitespace")]
    Folded,
    /// RFC 9112 §6.1: only a single `chunked`, only in HTTP/1.1.
    #[error("the Transfer-Encoding is not a single \"chunked\"")]
    TransferEncoding,
    /// RFC 9112 §6.1: the classic of request smuggling.
    #[error("Transfer-Encoding and Content-Length stand together")]
    TwoLengths,
    /// RFC 9112 §6.3: digits only, one field, one value.
    #[error("the Content-Length is malformed or repeated")]
    ContentLength,
    /// RFC 9112 §3.2: exactly one Host in HTTP/1.1.
    #[error("the Host field is missing, repeated or malformed")]
    Host,
    /// RFC 9112 §7.1: size line, data, CRLF.
    #[error("the chunked coding is malformed")]
    Chunk,
    /// RFC 9112 §7.1.2.
    #[error("the trailer section is malformed or too large")]
    Trailer,
    /// More bytes, or more fields, than a head may have.
    #[error("the head is too large")]
    HeadTooLarge,
    /// A longer target than we take.
    #[error("the request target is too long")]
    TargetTooLong,
    /// The head did not arrive whole in time.
    #[error("the head did not arrive in time")]
    HeadTooSlow,
    /// No byte of the body came for too long.
    #[error("the body stalled")]
    BodyTooSlow,
    /// Answers only: more 1xx answers than anyone needs (RFC 9110 §15.2).
    #[error("too many interim answers")]
    TooManyInterim,
}

impl Violation {
    /// The status a client is told.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooSlow | Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
