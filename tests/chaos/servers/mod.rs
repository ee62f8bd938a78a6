//! The servers that are killed: real ones, each on its own port of the loopback, in a folder of its own, started again
//! on the same data and port, and gone with this process, however it ends.

pub(crate) mod gateway;
mod leash;
pub(crate) mod postgres;
pub(crate) mod rabbitmq;
pub(crate) mod redis;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use leash::Leash;

/// How a server is started, each time alike.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Where it runs; its output is appended to the file `log` there.
    pub(crate) folder: PathBuf,
    /// As whom it runs, when not as us.
    pub(crate) user: Option<(u32, u32)>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Server {
    /// What kind it is, for the report.
    pub(crate) kind: &'static str,
    command: Command,
    state: Mutex<State>,
    ended_by_itself: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Leash>,
    /// Down because it was killed, and not to be looked after.
    killed: bool,
}

impl Server {
    pub(crate) fn new(kind: &'static str, command: Command) -> Self {
        let state = Mutex::new(State { running: None, killed: true });
        Self { kind, command, state, ended_by_itself: AtomicU64::new(0) }
    }

    /// Starts it; whether it answers is not waited for.
    pub(crate) fn start(&self) {
        let mut state = self.state();
        state.running = Some(Leash::start(&self.command));
        state.killed = false;
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.killed = true;
        state.running = None;
    }

    /// Starts it again when it has ended by itself, as a service manager would: PostgreSQL does while a process of the
    /// killed server is on its way out.
    pub(crate) fn look_after(&self) {
        let mut state = self.state();
        if !state.killed && state.running.as_ref().is_some_and(Leash::has_ended) {
            self.ended_by_itself.fetch_add(1, Ordering::Relaxed);
            state.running = None;
            state.running = Some(Leash::start(&self.command));
        }
    }

    /// How often it ended without being killed.
    pub(crate) fn ended_by_itself(&self) -> u64 {
        self.ended_by_itself.load(Ordering::Relaxed)
    }

    /// The end of what it has said.
    pub(crate) fn last_words(&self) -> String {
        let said = std::fs::read(self.folder().join("log")).unwrap_or_default();
        let from = said.len().saturating_sub(4000);
        String::from_utf8_lossy(&said[from..]).into_owned()
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder().join("log")).unwrap_or_default()).into_owned()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.command.folder
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port of the loopback that is free now. Not one that the system gives to outgoing connections: while its server is
/// down one of those could take it, or even connect to itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    const FIRST: u64 = 12_000;
    const COUNT: u64 = 20_000;
    let start = u64::from(std::process::id()).wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + (start + step) % COUNT).expect("below 32768");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A new folder that is removed at the end.
pub(crate) fn new_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("brama-chaos-").tempdir().expect("a temporary folder")
}
