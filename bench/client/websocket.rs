//! WebSocket echo: one message under way a connection, one thread each.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};

use crate::http::Ask;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    /// Bytes a message.
    #[arg(long)]
    size: usize,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// For how long.
    #[arg(long)]
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.connections).map(|_| scope.spawn(|| echo(args))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect::<anyhow::Result<Vec<usize>>>()
    })?;
    Ok(json!({ "messages": counts.iter().sum::<usize>() }))
}

fn echo(args: &Args) -> anyhow::Result<usize> {
    let mut request = format!("ws://{}{}", args.ask.host, args.ask.path).into_client_request()?;
    for header in &args.ask.header {
        let (name, value) = header.split_once(':').context("a header has no colon")?;
        request.headers_mut().insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value.trim())?);
    }
    let stream = args.ask.connect()?;
    let (mut socket, _) = match tungstenite::client(request, stream) {
        Ok(opened) => opened,
        Err(error) => bail!("the WebSocket cannot be opened: {error}"),
    };
    let message = Message::binary(vec![b'x'; args.size]);
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut messages = 0;
    while Instant::now() < end {
        socket.send(message.clone())?;
        ensure!(socket.read()? == message, "the echo is not what was sent");
        messages += 1;
    }
    socket.close(None)?;
    Ok(messages)
}
