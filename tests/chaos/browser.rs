//! A browser: keeps cookies, sends what it is told to, and takes an answer only when it has come whole.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// How people know the gateways.
pub(crate) const HOST: &str = "gate.test";

/// Longest a browser waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The first value of a field, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(heard: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(heard);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let field = |line: &str| {
            Some((line.split_once(':')?.0.to_ascii_lowercase(), line.split_once(':')?.1.trim().to_owned()))
        };
        let headers: Vec<_> = lines.filter_map(field).collect();
        let answer = Self { status, headers, body: body.to_owned() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let whole = match (answer.header("transfer-encoding"), length) {
            (Some(_), _) => body.ends_with("0\r\n\r\n"),
            (None, Some(length)) => heard.len() - (head.len() + 4) >= length,
            (None, None) => true,
        };
        whole.then_some(answer)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens: nothing was asked.
    Unreachable,
    /// The connection ended, or nothing came in time: what was asked may have been done.
    Cut,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::Cut => "cut",
        })
    }
}

/// A browser with a jar of cookies, at an address of its own: how many sign in from one address is limited.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    address: Ipv4Addr,
    cookies: BTreeMap<String, String>,
}

/// The cookie that holds a session.
const SESSION: &str = "brama";

impl Browser {
    pub(crate) fn at(address: Ipv4Addr) -> Self {
        Self { address, cookies: BTreeMap::new() }
    }

    /// The session it holds.
    pub(crate) fn session(&self) -> Option<&str> {
        self.cookies.get(SESSION).map(String::as_str)
    }

    pub(crate) async fn get(&mut self, port: u16, target: &str) -> Result<Answer, Trouble> {
        self.send(port, "GET", target, "", "").await
    }

    pub(crate) async fn post(&mut self, port: u16, target: &str, form: &[(&str, &str)]) -> Result<Answer, Trouble> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let fields = format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n", body.len());
        self.send(port, "POST", target, &fields, &body).await
    }

    async fn send(
        &mut self,
        port: u16,
        method: &str,
        target: &str,
        fields: &str,
        body: &str,
    ) -> Result<Answer, Trouble> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if cookies.is_empty() { String::new() } else { format!("cookie: {}\r\n", cookies.join("; ")) };
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n{cookies}{fields}\r\n{body}");
        let answer = converse(self.address, port, &request).await?;
        self.keep(&answer);
        Ok(answer)
    }

    fn keep(&mut self, answer: &Answer) {
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let Some((name, rest)) = cookie.split_once('=') else { continue };
            match rest.split(';').next() {
                _ if cookie.contains("Max-Age=0") => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.unwrap_or_default().to_owned()),
            };
        }
    }
}

/// Asks without cookies, by the address.
pub(crate) async fn ask(port: u16, target: &str) -> Result<Answer, Trouble> {
    let request = format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    converse(Ipv4Addr::LOCALHOST, port, &request).await
}

async fn converse(from: Ipv4Addr, port: u16, request: &str) -> Result<Answer, Trouble> {
    let mut stream = connect(from, port).await.map_err(|_| Trouble::Unreachable)?;
    let talk = async {
        stream.write_all(request.as_bytes()).await?;
        let mut heard = Vec::new();
        // A connection that is cut after a whole answer has served.
        let _ = stream.read_to_end(&mut heard).await;
        std::io::Result::Ok(heard)
    };
    let heard = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| Trouble::Cut)?.map_err(|_| Trouble::Cut)?;
    Answer::parse(&heard).ok_or(Trouble::Cut)
}

async fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}
