//! What is good and what is evil, by table.

use super::*;

pub(crate) const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 10, target: 100 };

fn requests(bytes: &[u8]) -> Scanned {
    Framing::requests(LIMITS).feed(bytes)
}

/// What must be refused, and as what. Each stands alone and behind a good request.
pub(crate) const EVIL: &[(&str, Violation)] = &[
    // Line ends and controls.
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", Violation::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Violation::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", Violation::BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", Violation::Control),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n", Violation::Control),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \x0bchunked\r\n\r\n", Violation::Control),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", Violation::Control),
    ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::BareLf),
    // Start line.
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET / \r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET /\r\n\r\n", Violation::StartLine),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Violation::Version),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Violation::Version),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::StartLine),
    ("\x16\x03\x01\x02\x00\x01", Violation::StartLine),
    // Target.
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Violation::Target),
    // Fields.
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Violation::Folded),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Violation::Folded),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", Violation::Folded),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", Violation::FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransf\u{e9}r: b\r\n\r\n", Violation::FieldName),
    // Host.
    ("GET / HTTP/1.1\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Violation::Host),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", Violation::Host),
    // Two lengths.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Violation::TwoLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        Violation::TwoLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        Violation::TwoLengths,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Violation::ContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n", Violation::TransferEncoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", Violation::TransferEncoding),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        Violation::TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        Violation::TransferEncoding,
    ),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Violation::TransferEncoding),
    // Too much.
    (
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
        Violation::TargetTooLong,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n",
        Violation::HeadTooLarge,
    ),
];

/// Chunked bodies that must be refused. All are sent behind [`CHUNKED`].
pub(crate) const EVIL_CHUNKS: &[(&str, Violation)] = &[
    ("3\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3\r\nabc\n0\r\n\r\n", Violation::Chunk),
    ("3\r\nabcd\r\n0\r\n\r\n", Violation::Chunk),
    ("\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    (" 3\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3 \r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("+3\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("-3\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("0x3\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3_0\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("g\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("00000000000000003\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("ffffffffffffffff\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3;a\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3;a\rbc\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3;\0\r\nabc\r\n0\r\n\r\n", Violation::Chunk),
    ("3\rabc\r\n0\r\n\r\n", Violation::Chunk),
    ("0\r\n\n", Violation::Trailer),
    ("0\r\n X: a\r\n\r\n", Violation::Trailer),
    ("0\r\nX : a\r\n\r\n", Violation::Trailer),
    ("0\r\n: a\r\n\r\n", Violation::Trailer),
    ("0\r\nX: a\n\r\n", Violation::Trailer),
    ("0\r\nX: a\rb\r\n\r\n", Violation::Trailer),
    ("0\r\nX: \0\r\n\r\n", Violation::Trailer),
    ("0\r\nGET / HTTP/1.1\r\n\r\n", Violation::Trailer),
];

pub(crate) const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
pub(crate) const GOOD: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// Whole streams that must pass to the last byte.
pub(crate) const GOOD_STREAMS: &[&str] = &[
    GOOD,
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\nhOST:\ta:80 \r\n\r\n",
    "GET HTTPS://a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a?b=[c]&d={e}|f HTTP/1.1\r\nHost: a\r\nX: \u{e9}\tb  \r\nEmpty:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b c\"\r\nabc\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[test]
fn evil_requests_are_refused_alone_and_behind_a_good_one() {
    for (evil, violation) in EVIL {
        let found = requests(evil.as_bytes());
        assert_eq!(found, Scanned { pass: 0, violation: Some(*violation) }, "{evil:?}");
        let found = requests(format!("{GOOD}{evil}").as_bytes());
        assert_eq!(found, Scanned { pass: GOOD.len(), violation: Some(*violation) }, "{evil:?}");
    }
}

#[test]
fn evil_chunks_are_refused_before_their_message_ends() {
    for (evil, violation) in EVIL_CHUNKS {
        let stream = format!("{CHUNKED}{evil}");
        let found = requests(stream.as_bytes());
        assert_eq!(found.violation, Some(*violation), "{evil:?}");
        assert!(found.pass < stream.len() && found.pass >= CHUNKED.len(), "{evil:?}");
    }
}

#[test]
fn good_streams_pass_however_they_are_split() {
    for good in GOOD_STREAMS {
        let bytes = good.as_bytes();
        assert_eq!(requests(bytes), Scanned { pass: bytes.len(), violation: None }, "{good:?}");
        for split in 0..bytes.len() {
            assert_eq!(feed_split(bytes, split), Scanned { pass: bytes.len(), violation: None }, "{good:?} at {split}");
        }
    }
}

#[test]
fn evil_is_refused_however_it_is_split() {
    let chunked = EVIL_CHUNKS.iter().map(|(evil, violation)| (format!("{CHUNKED}{evil}"), violation));
    for (evil, violation) in EVIL.iter().map(|(evil, violation)| ((*evil).to_owned(), violation)).chain(chunked) {
        let whole = requests(evil.as_bytes());
        for split in 0..evil.len() {
            let found = feed_split(evil.as_bytes(), split);
            assert_eq!((found.pass, found.violation), (whole.pass, Some(*violation)), "{evil:?} at {split}");
        }
    }
}

/// Feeds the bytes in two parts as the reader does: what was not passed comes again.
fn feed_split(bytes: &[u8], split: usize) -> Scanned {
    let mut framing = Framing::requests(LIMITS);
    let first = framing.feed(&bytes[..split]);
    if first.violation.is_some() {
        return first;
    }
    let second = framing.feed(&bytes[first.pass..]);
    Scanned { pass: first.pass + second.pass, violation: second.violation }
}

#[test]
fn an_incomplete_head_is_not_passed() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..head.len() {
        assert_eq!(requests(&head[..end]), Scanned { pass: 0, violation: None });
    }
}

#[test]
fn what_has_no_end_is_too_large() {
    let line = [b'A'; 2000];
    assert_eq!(requests(&line).violation, Some(Violation::TargetTooLong));
    let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &line].concat();
    assert_eq!(requests(&head).violation, Some(Violation::HeadTooLarge));
    let extension = [CHUNKED.as_bytes(), b"3;", &[b'a'; 5000]].concat();
    assert_eq!(requests(&extension).violation, Some(Violation::Chunk));
    let trailer = [CHUNKED.as_bytes(), b"0\r\nx:", &[b'a'; 9000]].concat();
    assert_eq!(requests(&trailer).violation, Some(Violation::Trailer));
}

#[test]
fn what_follows_an_upgrade_waits_for_the_decision() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let both = [head.as_slice(), b"\0\x01 not HTTP"].concat();
    let mut framing = Framing::requests(LIMITS);
    assert_eq!(framing.feed(&both), Scanned { pass: head.len(), violation: None });
    assert!(framing.is_undecided());
    framing.decide(true);
    assert_eq!(framing.feed(b"\0\x01 not HTTP").pass, 11);

    let mut framing = Framing::requests(LIMITS);
    framing.feed(&both);
    framing.decide(false);
    assert_eq!(framing.feed(b"\0\x01 not HTTP").violation, Some(Violation::StartLine));
}

#[test]
fn an_upgrade_with_a_body_or_in_http10_is_none() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx",
        "GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut framing = Framing::requests(LIMITS);
        assert_eq!(framing.feed(request.as_bytes()).pass, request.len());
        assert!(!framing.is_undecided() && !framing.is_in_body());
    }
}
