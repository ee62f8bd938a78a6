//! `brama directory`: the accounts as a whole.

use std::{io, process::ExitCode};

use anyhow::Context as _;

use super::{
    Console,
    opened::{ConfigFile, accounts, awaited},
};

mod copy;

pub(super) use self::copy::cursor;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Create the schema of the accounts or upgrade it, whatever directory.migrate says.
    ///
    /// Several may do so at once. A gateway with directory.migrate = false then needs no right to change tables.
    Migrate(ConfigFile),
    /// Print how many accounts there are. May read the whole directory.
    Count(ConfigFile),
    /// Copy all accounts from one directory into another, also of another engine.
    ///
    /// Each keeps its id, its identities and its times. Copying twice is as copying once, so that a copy may begin while
    /// people still sign in to the old directory: copy, stop the gateways, copy again, start them with the new one. An
    /// account that was deleted in between stays in the copy.
    Copy(copy::Args),
}

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match args {
        Args::Migrate(file) => migrate(file, console),
        Args::Count(file) => count(file, console),
        Args::Copy(args) => copy::run(args, console, &mut io::stderr()),
    }
}

fn migrate(file: &ConfigFile, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let mut config = file.load()?;
    config.directory.migrate = true;
    awaited(async {
        let directory = accounts(&config).await?;
        directory.ping().await.context("cannot upgrade the directory")
    })?;
    writeln!(console.out, "the schema of the accounts ({}) is up to date", config.directory.engine.word())?;
    Ok(ExitCode::SUCCESS)
}

fn count(file: &ConfigFile, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let config = file.load()?;
    let count = awaited(async { Ok(accounts(&config).await?.count().await?) })?;
    writeln!(console.out, "{count}")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
