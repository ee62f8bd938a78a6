//! `brama directory copy`: all accounts from one directory into another.
//!
//! A page is read, its accounts are put side by side, and only then the next page begins: the cursor that is told is
//! always one behind which everything was copied.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::{
    Console,
    opened::{accounts, awaited},
    report::plain,
};
use crate::{
    config::Config,
    directory::{Account, Cursor, Directory, DirectoryError, Put, Search},
    identity::{AccountId, IdentityKey},
};

/// Accounts read at a time.
const PAGE: u16 = 500;
/// Accounts put side by side.
const AT_ONCE: usize = 8;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The configuration file of the directory to copy from; it is only read.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration file of the directory to copy into; its schema is created if need be.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Go on after this cursor, as an interrupted copy told it.
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<Cursor>,
}

pub(in crate::cli) fn cursor(text: &str) -> Result<Cursor, &'static str> {
    Cursor::parse(text).ok_or("not a cursor: give it as it was printed")
}

/// How far a copy is.
#[derive(Debug, Default)]
struct Copied {
    accounts: usize,
    conflicts: Vec<(AccountId, IdentityKey)>,
}

/// Copies everything; the exit code is 1 when accounts were left out. `progress` is told how far it is.
pub(super) fn run(args: &Args, console: &mut Console<'_>, progress: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let from = Config::load(&args.from)?;
    let to = Config::load(&args.to)?;
    let copied = awaited(async {
        let source = accounts(&from).await.context("cannot open the directory to copy from")?;
        let target = accounts(&to).await.context("cannot open the directory to copy into")?;
        copy(&*source, &*target, args.after.clone(), progress).await
    })?;
    for (id, key) in &copied.conflicts {
        let (issuer, subject) = (plain(key.issuer.as_str()), plain(key.subject.as_str()));
        writeln!(console.out, "not copied: {id}, for {subject} at {issuer} is another account's there")?;
    }
    writeln!(console.out, "copied {} accounts, left out {}", copied.accounts, copied.conflicts.len())?;
    Ok(if copied.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn copy(
    source: &dyn Directory,
    target: &dyn Directory,
    mut after: Option<Cursor>,
    progress: &mut dyn Write,
) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    loop {
        let page = source.list(&Search::Everyone, after.as_ref(), PAGE).await;
        let page = page.with_context(|| interrupted("read", after.as_ref()))?;
        let put = put_all(target, &page.accounts).await.with_context(|| interrupted("write", after.as_ref()))?;
        copied.accounts += page.accounts.len() - put.len();
        copied.conflicts.extend(put);
        let Some(next) = page.next else { return Ok(copied) };
        writeln!(progress, "{} accounts; to go on from here: --after {next}", copied.accounts)?;
        after = Some(next);
    }
}

/// Puts them all; gives those that were in the way of others.
async fn put_all(
    target: &dyn Directory,
    accounts: &[Account],
) -> Result<Vec<(AccountId, IdentityKey)>, DirectoryError> {
    let put = stream::iter(accounts).map(|account| async move {
        match target.put(account).await {
            Ok(Put::Done) => Ok(None),
            Ok(Put::Conflict(key)) => Ok(Some((account.id, key))),
            Err(error) => Err(error),
        }
    });
    let put: Vec<_> = put.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(put.into_iter().flatten().collect())
}

fn interrupted(what: &str, after: Option<&Cursor>) -> String {
    match after {
        Some(after) => format!("the copy ended early, for it could not {what}; go on with --after {after}"),
        None => format!("the copy ended before its first page was done, for it could not {what}"),
    }
}
