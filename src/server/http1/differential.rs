//! Three readers, one reading: what the server takes for requests, hyper (a lenient reader) and a third, naive one take for
//! the same requests with the same bodies, as far as the rules let the bytes pass.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use proptest::prelude::*;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::LocalSet,
};

use crate::{
    body::Body,
    config::listen::Limits,
    http1::{Framing, HeadLimits, Violation, cases},
    message,
    server::{Connection, Handler, Protocol, worker::Worker},
};

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 50, target: 2048 };

/// A request: method, target, body.
type Seen = (String, String, Vec<u8>);

/// A socket that receives the given pieces, one a read, and takes any answer.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    answers: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answers.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The requests a reader found.
type Notes = Rc<RefCell<Vec<Seen>>>;

async fn note(notes: Notes, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        let body = body.to_bytes().to_vec();
        notes.borrow_mut().push((head.method.to_string(), head.uri.to_string(), body));
    }
    Response::new(Body::Empty)
}

struct Noting(Notes);

impl Handler for Noting {
    async fn call(self: Rc<Self>, request: message::Request, _: Rc<Connection>) -> message::Response {
        note(Rc::clone(&self.0), request.into_http()).await.into()
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// What the server sees, and what it answers.
fn through_server(pieces: &[Vec<u8>]) -> (Vec<Seen>, String) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let io = Pieces { pieces: pieces.iter().cloned().collect(), answers: Arc::clone(&answers) };
    let notes = Notes::default();
    let limits = Limits {
        head_bytes: LIMITS.bytes,
        head_fields: LIMITS.fields,
        target_bytes: LIMITS.target,
        ..Limits::default()
    };
    let worker = Rc::new(Worker::for_test(Rc::new(Noting(Rc::clone(&notes))), &limits));
    block_on(super::serve(io, Vec::new(), Rc::new(Connection::detached(None, Protocol::H1)), worker));
    let answers = String::from_utf8_lossy(&answers.lock().unwrap()).into_owned();
    (notes.take(), answers)
}

/// What hyper sees of bytes that may pass.
fn through_hyper(passed: Vec<u8>) -> Vec<Seen> {
    let io = Pieces { pieces: [passed].into(), answers: Arc::default() };
    let notes = Notes::default();
    let noting = Rc::clone(&notes);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = note(Rc::clone(&noting), request.map(Body::Incoming));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Half closed: all the bytes are there from the start, and so is the end.
    let mut builder = hyper::server::conn::http1::Builder::new();
    let http = builder.half_close(true).serve_connection(hyper_util::rt::TokioIo::new(io), service);
    block_on(http).ok();
    notes.take()
}

/// What the machine alone lets pass of the whole stream.
fn passed(stream: &[u8]) -> (Vec<u8>, Option<Violation>) {
    let mut framing = Framing::requests(LIMITS);
    let mut passed = Vec::new();
    loop {
        let scanned = framing.feed(&stream[passed.len()..]);
        passed.extend_from_slice(&stream[passed.len()..passed.len() + scanned.pass]);
        if !framing.is_undecided() || scanned.violation.is_some() {
            return (passed, scanned.violation);
        }
        framing.decide(false);
    }
}

/// A reader with no finesse at all: right only because what it reads has one reading.
fn naive(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        // An empty line before a request.
        if end == 0 || bytes.starts_with(b"\r\n") {
            bytes = &bytes[2..];
            continue;
        }
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let start: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.trim_matches([' ', '\t']).to_lowercase()))
            .collect();
        let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let framing = ["transfer-encoding", "content-length"];
        let lengths = fields.iter().filter(|(name, _)| framing.contains(&name.as_str())).count();
        assert!(lengths <= 1, "two lengths passed: {head:?}");
        assert!(fields.iter().filter(|(name, _)| name == "host").count() <= 1, "two hosts passed: {head:?}");
        let body = if field("transfer-encoding").is_some() {
            naive_chunks(&mut bytes)
        } else {
            let length = field("content-length").map_or(0, |length| length.parse().unwrap());
            (bytes.len() >= length).then(|| bytes.split_off(..length).unwrap().to_vec())
        };
        let Some(body) = body else { break };
        // What is no URI is refused.
        let Ok(uri) = start[1].parse::<http::Uri>() else { break };
        seen.push((start[0].to_owned(), uri.to_string(), body));
        let connection = field("connection").unwrap_or_default();
        if connection.contains("close") || (start[2] == "HTTP/1.0" && !connection.contains("keep-alive")) {
            break;
        }
    }
    seen
}

fn naive_chunks(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = memchr::memmem::find(bytes, b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..line_end]).unwrap();
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        *bytes = &bytes[line_end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        *bytes = bytes.get(size + 2..)?;
    }
    loop {
        let line_end = memchr::memmem::find(bytes, b"\r\n")?;
        *bytes = &bytes[line_end + 2..];
        if line_end == 0 {
            return Some(body);
        }
    }
}

/// A good request.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "X-A: b\r\n",
        "Accept: */*\r\n",
        "cookie: a=b; c=d\r\n",
        "X-Empty:\r\n",
        "X-Tab:\tb\t\r\n",
        "Upgrade: h2c\r\n",
        "Expect: 100-continue\r\n",
        "TE: trailers\r\n",
    ]);
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        (prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..4), any::<bool>(), any::<bool>())
            .prop_map(|(chunks, extension, trailer)| {
                let mut body = Vec::new();
                for chunk in chunks {
                    body.extend_from_slice(
                        format!("{:x}{}\r\n", chunk.len(), if extension { ";a=b" } else { "" }).as_bytes(),
                    );
                    body.extend_from_slice(&chunk);
                    body.extend_from_slice(b"\r\n");
                }
                body.extend_from_slice(if trailer { b"0\r\nX-Sum: 1\r\n\r\n" } else { b"0\r\n\r\n" });
                ("transfer-encoding: chunked\r\n".to_owned(), body)
            }),
    ];
    let start = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a/b?c=d HTTP/1.1\r\n",
        "DELETE http://a/x HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
    ]);
    (start, prop::collection::vec(field, 0..4), body).prop_map(|(start, fields, (length, body))| {
        [start.as_bytes(), b"Host: a\r\n", fields.concat().as_bytes(), length.as_bytes(), b"\r\n", &body].concat()
    })
}

/// One small change somewhere.
fn mutation() -> impl Strategy<Value = (prop::sample::Index, u8, Vec<u8>)> {
    let snippet = prop::sample::select(vec![
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        ":",
        ",",
        ";",
        "0",
        "\r\n\r\n",
        "0\r\n\r\n",
        "5\r\n",
        "\u{b}",
        "HTTP/1.0",
        "#",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: x\r\n",
        "Host: b\r\n",
        "GET / HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "Connection: close\r\n",
        "-",
        "+",
        "a",
        "Transfer-Encoding : chunked\r\n",
        " chunked",
        "\r\n ",
        "\u{e9}",
        "CONNECT",
    ]);
    let bytes = prop_oneof![4 => snippet.prop_map(|text| text.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|byte| vec![byte])];
    (any::<prop::sample::Index>(), 0..6u8, bytes)
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(request(), 1..4), prop::collection::vec(mutation(), 0..3)).prop_map(
        |(requests, mutations)| {
            let mut stream = requests.concat();
            for (at, kind, bytes) in mutations {
                let at = at.index(stream.len() + 1);
                let cut = match kind {
                    0..=2 => 0,
                    3 | 4 => bytes.len(),
                    _ => 9,
                };
                let end = stream.len().min(at + cut);
                stream.splice(at..end, if kind == 5 { Vec::new() } else { bytes });
            }
            stream
        },
    )
}

fn split(stream: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let mut start = 0;
    cuts.iter().map(|&end| stream[std::mem::replace(&mut start, end)..end].to_vec()).filter(|p| !p.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 3000 } else { 100_000 }))]

    #[test]
    fn what_passes_has_one_reading(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (passed, violation) = passed(&stream);
        let expected = naive(&passed);
        let (seen, answers) = through_server(&split(&stream, &cuts));
        prop_assert_eq!(&seen, &expected, "violation {:?}, answers {:?}", violation, answers);
        prop_assert_eq!(through_hyper(passed), expected, "hyper, violation {:?}", violation);
    }

    #[test]
    fn noise_never_panics_and_never_passes_unread(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let (passed, _) = passed(&noise);
        prop_assert_eq!(through_server(&[noise]).0, naive(&passed));
    }
}

#[test]
fn good_and_evil_cases_read_the_same_at_every_split() {
    let evil = cases::EVIL.iter().map(|(evil, _)| format!("{}{evil}", cases::GOOD));
    let chunks = cases::EVIL_CHUNKS.iter().map(|(evil, _)| format!("{}{evil}", cases::CHUNKED));
    let good = cases::GOOD_STREAMS.iter().map(|good| (*good).to_owned());
    for stream in good.chain(evil).chain(chunks) {
        let stream = stream.as_bytes();
        let expected = naive(&passed(stream).0);
        for at in 1..stream.len() {
            let (seen, answers) = through_server(&[stream[..at].to_vec(), stream[at..].to_vec()]);
            assert_eq!(seen, expected, "{:?} split at {at}: {answers}", String::from_utf8_lossy(stream));
        }
    }
}
