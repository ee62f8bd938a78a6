//! Connections that have made one request and then keep still.

use std::net::TcpStream;

use serde_json::json;

use crate::{
    hold,
    http::{Ask, exchange},
    tls::{self, Tls},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    over: Over,
    /// How many.
    #[arg(long)]
    count: usize,
}

#[derive(clap::Subcommand)]
enum Over {
    /// In the clear.
    Plain,
    /// Over TLS.
    Tls(Tls),
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let request = args.ask.request(None);
    match &args.over {
        Over::Plain => {
            let open = (0..args.count).map(|_| plain(args, &request)).collect::<anyhow::Result<Vec<_>>>()?;
            hold(&json!({ "open": open.len() }))
        }
        Over::Tls(settings) => {
            let client = settings.client(false)?;
            let open = (0..args.count)
                .map(|_| {
                    let mut stream = tls::over(args.ask.connect()?, &client)?;
                    exchange(&mut stream, &request, args.ask.status)?;
                    Ok(stream)
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            hold(&json!({ "open": open.len() }))
        }
    }
}

fn plain(args: &Args, request: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = args.ask.connect()?;
    exchange(&mut stream, request, args.ask.status)?;
    Ok(stream)
}
