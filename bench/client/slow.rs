//! Slow downloads: each client takes a little now and then, through a receive buffer as small as the system allows.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::{hold, http::Ask};

/// The system rounds it up to what it can do.
const RECEIVE_BUFFER: usize = 4 * 1024;
/// What a client takes each second.
const SIP: usize = 1024;
/// How long the proxies have to fill whatever they buffer, before all is said to be open.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    /// How many.
    #[arg(long)]
    count: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut open = (0..args.count).map(|_| begin(args)).collect::<anyhow::Result<Vec<_>>>()?;
    let settled = Instant::now() + SETTLE;
    while Instant::now() < settled {
        sip(&mut open)?;
        thread::sleep(Duration::from_secs(1));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sipping = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sip(&mut open)?;
                thread::sleep(Duration::from_millis(200));
            }
            anyhow::Ok(())
        });
        let held = hold(&json!({ "open": args.count }));
        stop.store(true, Ordering::Relaxed);
        sipping.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")).and(held)
    })
}

fn begin(args: &Args) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(args.ask.address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&args.ask.address.into())?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(&args.ask.request(None))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A little from each. A download that has ended was none of the large ones it should be.
fn sip(open: &mut [TcpStream]) -> anyhow::Result<()> {
    for stream in open {
        match stream.read(&mut [0; SIP]) {
            Ok(read) => ensure!(read > 0, "a slow download was ended by the other side"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
