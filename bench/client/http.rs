//! The least HTTP/1.1 that measures: a request in bytes, an answer by its `Content-Length`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

/// No answer takes longer unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to ask whom.
#[derive(Args, Clone)]
pub(crate) struct Ask {
    /// Where to connect.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The Host field.
    #[arg(long)]
    pub(crate) host: String,
    /// The path.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Further fields, as "Name: value".
    #[arg(long)]
    pub(crate) header: Vec<String>,
    /// The status every answer must have.
    #[arg(long, default_value_t = 200)]
    pub(crate) status: u16,
}

impl Ask {
    /// The request as it goes out, with one more field if given.
    pub(crate) fn request(&self, more: Option<&str>) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.host);
        for header in self.header.iter().map(String::as_str).chain(more) {
            text.push_str(header);
            text.push_str("\r\n");
        }
        (text + "\r\n").into_bytes()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// Sends the request and reads the whole answer, which must have the `status`.
pub(crate) fn exchange(stream: &mut (impl Read + Write), request: &[u8], status: u16) -> anyhow::Result<()> {
    stream.write_all(request).context("cannot send the request")?;
    let mut buffer = [0; 16 * 1024];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        ensure!(!room.is_empty(), "the head of the answer is too large");
        let read = stream.read(room).context("cannot read the answer")?;
        ensure!(read > 0, "the connection was closed before the answer was there");
        filled += read;
        let Some((head, length)) = parse(buffer.get(..filled).unwrap_or_default(), status)? else { continue };
        return skip(stream, (head + length).saturating_sub(filled));
    }
}

/// Length of the head and of the body, once the head is there.
fn parse(bytes: &[u8], status: u16) -> anyhow::Result<Option<(usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    if response.code != Some(status) {
        bail!("the answer is {:?}, not {status}: {}", response.code, String::from_utf8_lossy(bytes));
    }
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    match length {
        Some(field) => Ok(Some((head, std::str::from_utf8(field.value)?.parse()?))),
        None if matches!(status, 204 | 304) => Ok(Some((head, 0))),
        None => bail!("the answer has no Content-Length: {}", String::from_utf8_lossy(bytes)),
    }
}

/// Reads what is left of the body.
fn skip(stream: &mut impl Read, mut left: usize) -> anyhow::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let want = left.min(buffer.len());
        let read = stream.read(buffer.get_mut(..want).unwrap_or_default())?;
        ensure!(read > 0, "the connection was closed in the middle of the answer");
        left -= read;
    }
    Ok(())
}
