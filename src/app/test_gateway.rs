//! A whole gateway for tests: simulated providers, the sample app and an embedded store in a folder of its own, all on
//! free ports of the loopback; and a browser that keeps cookies and says exactly what it is told to.
//!
//! People know the gateway as `http://gate.test`, whatever its port is; [`Browser`] is the resolver.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use url::Url;

use super::Running;
use crate::{
    config::{self, listen::Address},
    demo::{Parts, Ports},
};

/// A running gateway and all it talks to; everything ends when it is dropped.
pub(crate) struct TestGateway {
    pub(crate) running: Running,
    pub(crate) parts: Parts,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl TestGateway {
    /// Starts one with the routes and further sections in `more`; its upstream is called `app`, and each provider by
    /// its kind.
    pub(crate) async fn start(more: &str) -> Self {
        Self::start_with(|_| more.to_owned()).await
    }

    /// As [`start`](Self::start), for sections that speak of the simulators.
    pub(crate) async fn start_with(more: impl FnOnce(&Parts) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::start(Ports::FREE, &[Url::parse("http://gate.test/").unwrap()]).await.unwrap();
        let text = format!(
            r#"
[[listen]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[portal]
public_url = "http://gate.test"
allowed_hosts = ["app.gate.test"]
[directory]
file = {:?}
[telemetry]
audit_log = "off"
access_log = "off"
[upstream.app]
targets = ["http://{}"]
{}
{}"#,
            folder.path().join("brama.db"),
            parts.app.address(),
            parts.providers_toml(),
            more(&parts)
        );
        let (config, problems) = config::load::read(&folder.path().join("brama.toml"), &text);
        let running = Running::start(config.unwrap_or_else(|| panic!("{problems:#?}"))).await.unwrap();
        let [Address::Tcp(address)] = running.addresses() else { panic!("one address") };
        let address = *address;
        Self { running, parts, address, _folder: folder }
    }

    /// A browser nobody is signed in with.
    pub(crate) fn browser(&self) -> Browser {
        Browser { gateway: self.address, host: "gate.test".into(), cookies: BTreeMap::new() }
    }

    /// A browser in which `person` has signed in by the provider called `provider`.
    pub(crate) async fn signed_in(&self, person: &str, provider: &str) -> Browser {
        let mut browser = self.browser();
        browser.sign_in(self, person, provider).await;
        browser
    }

    /// Lets everybody who comes to the simulator of this kind be this person, without a page.
    pub(crate) fn approve(&self, person: &str, provider: &str) {
        let simulators = self.parts.simulators();
        let simulator = simulators.iter().find(|simulator| simulator.kind().word() == provider).unwrap();
        simulator.auto_approve(Some(person)).unwrap();
    }
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Every value of a field, its name in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that must be there exactly once.
    pub(crate) fn header(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [value] => value,
            ref values => panic!("{name} should be there once, and is {values:?}: {self:?}"),
        }
    }
}

/// A browser with a jar of cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    gateway: SocketAddr,
    pub(crate) host: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) async fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", path, fields, "").await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let request = self.request(method, path, fields, body);
        let answer = converse(TcpStream::connect(self.gateway).await.unwrap(), &request).await;
        self.keep(&answer);
        answer
    }

    /// The bytes of a request.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> String {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.host);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.push_str(&format!("cookie: {}\r\n", cookies.join("; ")));
        }
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request + "\r\n" + body
    }

    /// Keeps the cookies of an answer.
    pub(crate) fn keep(&mut self, answer: &Answer) {
        for cookie in answer.all("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            match rest.split(';').next().unwrap() {
                _ if cookie.contains("Max-Age=0") => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// Goes where a login that was begun leads: to the simulator and, with its answer, back.
    pub(crate) async fn follow_login(&mut self, begun: &Answer) -> Answer {
        let at_provider = Url::parse(begun.header("location")).unwrap();
        let approved = fetch(&at_provider).await;
        let back = Url::parse(approved.header("location")).unwrap();
        // A fragment, such as Facebook's, stays in the browser.
        self.get(&back[url::Position::BeforePath..url::Position::AfterQuery], &[]).await
    }

    pub(crate) async fn sign_in(&mut self, gateway: &TestGateway, person: &str, provider: &str) {
        gateway.approve(person, provider);
        let begun = self.get(&format!("/oauth2/start/{provider}?rd=/"), &[]).await;
        let signed_in = self.follow_login(&begun).await;
        assert_eq!((signed_in.status, signed_in.header("location").trim_end_matches('#')), (303, "/"), "{signed_in:?}");
    }
}

/// A page of a simulator's, as a browser without cookies gets it.
pub(crate) async fn fetch(url: &Url) -> Answer {
    let authority = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = format!("GET {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    converse(TcpStream::connect(&authority).await.unwrap(), &request).await
}

/// Says these bytes and reads the answer to the end of the connection.
pub(crate) async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    let talk = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let heard = tokio::time::timeout(std::time::Duration::from_secs(20), talk).await.expect("an answer within 20 s");
    parse(&heard)
}

/// Reads an answer.
pub(crate) fn parse(heard: &[u8]) -> Answer {
    let heard = String::from_utf8_lossy(heard).into_owned();
    let (head, body) = heard.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {heard:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}
