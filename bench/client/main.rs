//! `bench-client`: the load that no public tool makes, and the app behind the proxies where nginx will not do.
//!
//! Everything but the app is threads and blocking sockets: a timer of theirs is exact to some 60 µs, an asynchronous
//! runtime's to a millisecond. What is measured is the proxy, by its own CPU time and memory; what the client itself
//! costs is nobody's concern, except where latency is measured, and there it sleeps most of the time.
//!
//! Every command prints one line of JSON, and fails when anything went otherwise than measured.

use std::io::{BufRead as _, Write as _};

use clap::{Parser, Subcommand};

mod app;
mod figures;
mod handshake;
mod http;
mod idle;
mod paced;
mod slow;
mod tls;
mod visit;
mod websocket;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// An app: small answers, WebSocket echo, bodies of any size taken and given.
    App(app::Args),
    /// Requests at a fixed rate; latency of each from when it was due.
    Paced(paced::Args),
    /// One request for each session of a file, so that all of them are cached.
    Visit(visit::Args),
    /// TLS 1.3 handshakes, full or resumed, each with one small request.
    Handshake(handshake::Args),
    /// Opens connections, makes one request on each, and holds them idle.
    Idle(idle::Args),
    /// Slow downloads: takes little, and holds them open.
    Slow(slow::Args),
    /// WebSocket echo, one message under way a connection.
    Websocket(websocket::Args),
}

fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().command {
        Command::App(args) => app::run(&args),
        Command::Paced(args) => tell(&paced::run(&args)?),
        Command::Visit(args) => tell(&visit::run(&args)?),
        Command::Handshake(args) => tell(&handshake::run(&args)?),
        Command::Idle(args) => idle::run(&args),
        Command::Slow(args) => slow::run(&args),
        Command::Websocket(args) => tell(&websocket::run(&args)?),
    }
}

fn tell(figures: &serde_json::Value) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}

/// Says that everything is open, and keeps it so until standard input has a line or ends.
fn hold(figures: &serde_json::Value) -> anyhow::Result<()> {
    tell(figures)?;
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
