//! `brama serve`: the gateway.

use std::{path::PathBuf, process::ExitCode};

use super::check::DEFAULT_FILE;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "BRAMA_CONFIG", hide_env_values = true, default_value = DEFAULT_FILE)]
    config: PathBuf,
}

/// Runs until told to stop.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::app::serve(&args.config)?;
    Ok(ExitCode::SUCCESS)
}
