//! Requests at a fixed rate, spread evenly over connections.
//!
//! Latency counts from when a request was due if its connection was still busy then, so that a stall is felt by all
//! requests it delayed; otherwise from when it was sent, so that the client's own timer is not blamed on the proxy.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::Value;

use crate::{
    figures,
    http::{Ask, exchange},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    /// Requests a second, all connections together.
    #[arg(long)]
    rate: f64,
    /// Connections, each with a thread.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// For how long.
    #[arg(long)]
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Value> {
    let between = Duration::from_secs_f64(f64::from(args.connections) / args.rate);
    let start = Instant::now() + Duration::from_millis(50);
    let latencies = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.connections)
            .map(|number| {
                let first = start + between.mul_f64(f64::from(number) / f64::from(args.connections));
                scope.spawn(move || connection(args, first, between))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    Ok(figures::latencies(latencies.into_iter().flatten().collect()))
}

fn connection(args: &Args, first: Instant, between: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut stream = args.ask.connect()?;
    let request = args.ask.request(None);
    exchange(&mut stream, &request, args.ask.status)?;
    let end = first + Duration::from_secs_f64(args.seconds);
    let (mut due, mut latencies) = (first, Vec::new());
    while due < end {
        let now = Instant::now();
        let from = if now < due {
            thread::sleep(due - now);
            Instant::now()
        } else {
            due
        };
        exchange(&mut stream, &request, args.ask.status)?;
        latencies.push(from.elapsed());
        due += between;
    }
    Ok(latencies)
}
