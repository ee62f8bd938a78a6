//! An app that does exactly what a script says, byte by byte: most of what it does no HTTP library would.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

/// Runs a test as a worker would, and not for ever.
pub(crate) async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(tokio::time::timeout(Duration::from_secs(20), test)).await.expect("the test ends in time")
}

/// One thing the app does on a connection.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads the head of a request.
    Head,
    /// Reads so many bytes of a body.
    Body(usize),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Does nothing for a while.
    Pause(Duration),
    /// Sends these bytes until nobody takes them.
    Endless(&'static [u8]),
    /// Waits until the other side closes, and notes it.
    WaitClosed,
}

pub(crate) fn say(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

#[derive(Clone)]
pub(crate) struct RawApp {
    pub(crate) address: SocketAddr,
    connections: Rc<Cell<usize>>,
    closed: Rc<Cell<usize>>,
    heads: Rc<RefCell<Vec<String>>>,
}

impl RawApp {
    /// Starts an app that does on its nth connection (from 0) what `script` says, then closes it.
    pub(crate) async fn start(script: impl Fn(usize) -> Vec<Step> + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub(crate) fn on(listener: TcpListener, script: impl Fn(usize) -> Vec<Step> + 'static) -> Self {
        let app = Self {
            address: listener.local_addr().unwrap(),
            connections: Rc::default(),
            closed: Rc::default(),
            heads: Rc::default(),
        };
        let serving = app.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let nth = serving.connections.replace(serving.connections.get() + 1);
                tokio::task::spawn_local(serving.clone().serve(stream, script(nth)));
            }
        });
        app
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }

    /// Returns once the other side has closed so many connections on which the app waited for it.
    pub(crate) async fn closed(&self, count: usize) {
        while self.closed.get() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn serve(self, mut stream: TcpStream, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Head => match read_head(&mut stream).await {
                    Some(head) => self.heads.borrow_mut().push(head),
                    None => return,
                },
                Step::Body(length) => {
                    stream.read_exact(&mut vec![0; length]).await.unwrap();
                }
                Step::Send(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                }
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Endless(bytes) => while stream.write_all(bytes).await.is_ok() {},
                Step::WaitClosed => {
                    while !matches!(stream.read(&mut [0; 1024]).await, Ok(0) | Err(_)) {}
                    self.closed.set(self.closed.get() + 1);
                }
            }
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}
