//! `brama config`: what a configuration file can hold.

use std::process::ExitCode;

use super::Console;
use crate::config::{reference, schema};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Print the reference file: every key with its meaning, type and default.
    Default,
    /// Print the JSON Schema of the file, for editors.
    Schema,
}

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match args {
        Args::Default => write!(console.out, "{}", reference::reference())?,
        Args::Schema => writeln!(console.out, "{:#}", schema::schema())?,
    }
    Ok(ExitCode::SUCCESS)
}
