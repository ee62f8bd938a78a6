//! TLS 1.3 handshakes. Each connection makes one small request, in whose answer the tickets come along, and closes.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};

use crate::{
    http::{Ask, exchange},
    tls::{self, Tls},
};

/// A thousandth of all may find no ticket; more would be something else than resumption.
const UNRESUMED_PER_MILLE: usize = 1;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    tls: Tls,
    /// Resume, instead of full handshakes.
    #[arg(long)]
    resume: bool,
    /// For how long.
    #[arg(long)]
    seconds: f64,
    /// Connections under way at once.
    #[arg(long, default_value_t = 4)]
    threads: usize,
}

/// What one thread saw.
#[derive(Default)]
struct Seen {
    all: usize,
    resumed: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let seen = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(|| connections(args))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let all: usize = seen.iter().map(|seen| seen.all).sum();
    let resumed: usize = seen.iter().map(|seen| seen.resumed).sum();
    let strays = if args.resume { all - resumed } else { resumed };
    ensure!(strays * 1000 <= all * UNRESUMED_PER_MILLE, "{strays} of {all} handshakes were of the other kind");
    Ok(json!({ "handshakes": all, "resumed": resumed }))
}

fn connections(args: &Args) -> anyhow::Result<Seen> {
    let client = args.tls.client(args.resume)?;
    let request = args.ask.request(Some("Connection: close"));
    if args.resume {
        // The first is always full: it brings the ticket, and is not counted.
        connection(args, &client, &request)?;
    }
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut seen = Seen::default();
    while Instant::now() < end {
        seen.all += 1;
        seen.resumed += usize::from(connection(args, &client, &request)? == HandshakeKind::Resumed);
    }
    Ok(seen)
}

fn connection(args: &Args, client: &Arc<ClientConfig>, request: &[u8]) -> anyhow::Result<HandshakeKind> {
    let mut stream = tls::over(args.ask.connect()?, client)?;
    exchange(&mut stream, request, args.ask.status)?;
    let kind = stream.conn.handshake_kind().unwrap_or(HandshakeKind::Full);
    stream.conn.send_close_notify();
    let _ = stream.conn.complete_io(&mut stream.sock);
    Ok(kind)
}
