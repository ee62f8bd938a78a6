//! `brama demo`: everything in one process, nothing to register.

use std::{path::PathBuf, process::ExitCode};

use super::Console;
use crate::demo::{self, Wanted};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Keep accounts and sessions in this folder instead of a throw-away one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Port of the gateway on localhost.
    #[arg(long, value_name = "PORT", default_value_t = 4180)]
    port: u16,
    /// Run only the simulated providers and the sample app, and print the tables a configuration of your own needs to
    /// use them.
    #[arg(long)]
    simulators: bool,
}

/// Runs until Ctrl-C.
pub(super) fn run(args: Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let wanted = Wanted { data: args.data, port: args.port };
    if args.simulators {
        demo::simulators(&wanted, console.out)?
    } else {
        demo::run(&wanted, console.out)?
    }
    Ok(ExitCode::SUCCESS)
}
