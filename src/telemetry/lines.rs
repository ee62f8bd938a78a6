//! Lines written off the path of whoever has something to say.
//!
//! Each producer appends to a buffer of its own, which nobody else touches but the one writer thread, and that for no
//! longer than it takes to swap the buffer for an empty one. A producer never waits for a disk or a pipe: when its
//! buffer is full, lines are dropped and counted.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;

use crate::config::telemetry::Destination;

/// How much a producer holds before lines are dropped, in bytes.
const CAPACITY: usize = 1 << 20;
/// How long lines are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(50);

/// One destination with its writer thread. When the last clone and the last producer are dropped, what was said is
/// written and the thread ends.
#[derive(Clone)]
pub struct Lines(Arc<Writer>);

struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    join: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    buffers: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    closing: AtomicBool,
    dropped: Counter,
}

/// What one worker says lines to.
pub struct Producer {
    buffer: Arc<Mutex<Vec<u8>>>,
    writer: Arc<Writer>,
}

impl Lines {
    /// Opens the destination and begins the thread, called `name`. Lines that had to be dropped are counted.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot begin.
    pub fn open(name: &str, destination: &Destination, dropped: Counter) -> io::Result<Self> {
        let mut sink = Sink::open(destination)?;
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let theirs = Arc::clone(&shared);
        let join = thread::Builder::new().name(name.to_owned()).spawn(move || write(&theirs, &mut sink))?;
        let thread = join.thread().clone();
        Ok(Self(Arc::new(Writer { shared, thread, join: Mutex::new(Some(join)) })))
    }

    /// A new producer: one a worker.
    pub fn producer(&self) -> Producer {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        lock(&self.0.shared.buffers).push(Arc::clone(&buffer));
        Producer { buffer, writer: Arc::clone(&self.0) }
    }
}

impl Producer {
    /// Says one line; `line` appends it without its line break, and must not append one inside.
    pub fn say(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = lock(&self.buffer);
        if buffer.len() >= CAPACITY {
            self.writer.shared.dropped.inc();
            return;
        }
        let first = buffer.is_empty();
        line(&mut buffer);
        buffer.push(b'\n');
        drop(buffer);
        if first {
            self.writer.thread.unpark();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.thread.unpark();
        let join = lock(&self.join).take();
        if let Some(join) = join {
            let _ = join.join();
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("dropped", &self.0.shared.dropped.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

/// A panic while a line was being made leaves a shorter line, not a broken program.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer thread: sleeps until somebody speaks, gathers for a moment, writes everything at once.
fn write(shared: &Shared, sink: &mut Sink) {
    let mut failing = false;
    loop {
        thread::park();
        let closing = shared.closing.load(Ordering::SeqCst);
        if !closing {
            thread::sleep(GATHER);
        }
        let result = drain(shared, sink);
        if let Err(error) = &result
            && !failing
        {
            tracing::error!(%error, "lines of a log cannot be written and are lost");
        }
        failing = result.is_err();
        if closing {
            return;
        }
    }
}

fn drain(shared: &Shared, sink: &mut Sink) -> io::Result<()> {
    let mut buffers = lock(&shared.buffers);
    // Buffers of producers that are gone are written a last time.
    let gone: Vec<bool> = buffers.iter().map(|buffer| Arc::strong_count(buffer) == 1).collect();
    let taken: Vec<Arc<Mutex<Vec<u8>>>> = buffers.iter().map(Arc::clone).collect();
    let mut keep = gone.into_iter().map(|gone| !gone);
    buffers.retain(|_| keep.next().unwrap_or(true));
    drop(buffers);
    let mut result = Ok(());
    let mut spare = Vec::new();
    for buffer in taken {
        let mut own = lock(&buffer);
        std::mem::swap(&mut *own, &mut spare);
        drop(own);
        if !spare.is_empty() {
            result = sink.write(&spare).and(result);
        }
        // The emptied buffer serves the next producer, unless it grew out of proportion.
        spare.clear();
        spare.shrink_to(CAPACITY / 16);
    }
    result
}

/// An open destination.
enum Sink {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::Stdout => Self::Stdout,
            Destination::Stderr => Self::Stderr,
            Destination::File(path) => Self::File { path: path.clone(), file: append(path)? },
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
            Self::File { path, file } => {
                // Log rotation renames the file away; go on in a new one of the same name.
                if !is_same(path, file) {
                    *file = append(path)?;
                }
                file.write_all(lines)
            }
        }
    }
}

/// Opens for appending; what is in these files is for the operator only.
fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn is_same(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn say(producer: &Producer, text: &str) {
        producer.say(|line| line.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn what_was_said_is_written_when_the_last_handle_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines = Lines::open("test", &Destination::File(path.clone()), Counter::default()).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|worker| {
                let producer = lines.producer();
                thread::spawn(move || (0..1000).for_each(|n| say(&producer, &format!("{worker} {n}"))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(lines);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4000);
        for worker in 0..4 {
            let prefix = format!("{worker} ");
            let own: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
            assert!(own.iter().enumerate().all(|(n, line)| *line == n.to_string()), "in order");
        }
    }

    #[test]
    fn lines_beyond_the_capacity_are_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let dropped = Counter::default();
        let path = folder.path().join("log");
        let lines = Lines::open("test", &Destination::File(path), dropped.clone()).unwrap();
        let producer = lines.producer();
        // While this is held the writer cannot swap any buffer, as when its disk hangs.
        let stalled = lock(&lines.0.shared.buffers);
        let long = "x".repeat(CAPACITY / 4);
        (0..10).for_each(|_| say(&producer, &long));
        assert_eq!(dropped.get(), 6);
        drop(stalled);
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = Sink::open(&Destination::File(path.clone())).unwrap();
        sink.write(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        sink.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }
}
