//! One request for each session of a file.

use std::{fs, path::PathBuf, thread};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::http::{Ask, exchange};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    /// Name of the session cookie.
    #[arg(long)]
    cookie: String,
    /// File of session ids, one a line.
    #[arg(long)]
    ids: PathBuf,
    /// Connections, each with a thread.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let text = fs::read_to_string(&args.ids).context("cannot read the ids")?;
    let ids: Vec<&str> = text.lines().collect();
    let share = ids.len().div_ceil(args.connections).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = ids.chunks(share).map(|ids| scope.spawn(move || visit(args, ids))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    Ok(json!({ "visited": ids.len() }))
}

fn visit(args: &Args, ids: &[&str]) -> anyhow::Result<()> {
    let mut stream = args.ask.connect()?;
    ids.iter().try_for_each(|id| {
        let request = args.ask.request(Some(&format!("Cookie: {}={id}", args.cookie)));
        exchange(&mut stream, &request, args.ask.status)
    })
}
