//! `brama keys`: keys that seal.

use std::process::ExitCode;

use super::Console;
use crate::config::keys;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Print a fresh sealing key; put it first in the file of keys.sealing_file, above the older ones.
    New,
}

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match args {
        Args::New => writeln!(console.out, "{}", keys::fresh().expose())?,
    }
    Ok(ExitCode::SUCCESS)
}
