//! `brama accounts`: the people who signed in, one by one.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{
    Console,
    directory::cursor,
    opened::{ConfigFile, accounts, awaited, end_sessions},
};
use crate::{
    config::Config,
    directory::{Cursor, Search, Unlinked},
    identity::{AccountId, IdentityKey, Issuer, Subject},
    session::Whose,
};

mod table;
#[cfg(test)]
pub(super) mod tests;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List accounts, a page at a time.
    List(List),
    /// Show one account with its identities.
    Show(Show),
    /// Shut an account: nobody signs in to it, and its sessions end.
    ///
    /// Gateways that share a Redis end them at once. A gateway with embedded sessions that runs meanwhile ends each
    /// within a minute or so of its use.
    Disable(One),
    /// Open an account that was shut.
    Enable(One),
    /// Take an identity from an account and end the sessions that came by it. The last one stays.
    ///
    /// As with disable, a running gateway with embedded sessions hears of it within a minute or so.
    Unlink(Unlink),
    /// Delete an account with all its identities and end its sessions. Whoever signs in by one later gets a new account.
    ///
    /// As with disable, a running gateway with embedded sessions hears of it within a minute or so.
    Delete(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    file: ConfigFile,
    /// Only those with this address, letter case aside.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Begin after this cursor, as the page before told it.
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<Cursor>,
    /// How many at most.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print JSON: the accounts, and the cursor of the next page.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    one: One,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    #[command(flatten)]
    file: ConfigFile,
    /// The account's id, as list prints it and apps are told it.
    #[arg(value_parser = account_id)]
    id: AccountId,
}

#[derive(Debug, clap::Args)]
pub(super) struct Unlink {
    #[command(flatten)]
    one: One,
    /// The issuer, as show prints it.
    issuer: String,
    /// The subject, as show prints it.
    subject: String,
}

fn account_id(text: &str) -> Result<AccountId, &'static str> {
    AccountId::parse(text).ok_or("not an account id, such as 0190a5f2-5a3c-7d21-9c4e-2f6b8a1d3e57")
}

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let told = match args {
        Args::List(args) => list(args)?,
        Args::Show(args) => show(args)?,
        Args::Disable(one) => disable(one)?,
        Args::Enable(one) => enable(one)?,
        Args::Unlink(args) => unlink(args)?,
        Args::Delete(one) => delete(one)?,
    };
    writeln!(console.out, "{}", told.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &List) -> anyhow::Result<String> {
    let config = args.file.load()?;
    let which = args.email.as_ref().map_or(Search::Everyone, |email| Search::Email(email.clone()));
    let page = awaited(async { Ok(accounts(&config).await?.list(&which, args.after.as_ref(), args.limit).await?) })?;
    Ok(if args.json { table::page_json(&page)? } else { table::page(&page) })
}

fn show(args: &Show) -> anyhow::Result<String> {
    let config = args.one.file.load()?;
    let account = awaited(async { Ok(accounts(&config).await?.find(&args.one.id).await?) })?;
    let Some(account) = account else { bail!(nobody(&args.one.id)) };
    Ok(if args.json { serde_json::to_string_pretty(&account)? } else { table::account(&account) })
}

fn disable(one: &One) -> anyhow::Result<String> {
    let config = one.file.load()?;
    awaited(async {
        if !accounts(&config).await?.set_disabled(&one.id, true).await? {
            bail!(nobody(&one.id));
        }
        let ended = ended(&config, &Whose::Account(one.id), "the account is shut").await?;
        Ok(format!("{} is shut; {ended}", one.id))
    })
}

fn enable(one: &One) -> anyhow::Result<String> {
    let config = one.file.load()?;
    if !awaited(async { Ok(accounts(&config).await?.set_disabled(&one.id, false).await?) })? {
        bail!(nobody(&one.id));
    }
    Ok(format!("{} is open", one.id))
}

fn unlink(args: &Unlink) -> anyhow::Result<String> {
    let (config, id) = (args.one.file.load()?, args.one.id);
    let key = IdentityKey { issuer: Issuer::new(&*args.issuer), subject: Subject::new(&*args.subject) };
    awaited(async {
        match accounts(&config).await?.unlink(&id, &key).await? {
            Unlinked::NotThere => bail!("{id} has no such identity; `brama accounts show {id}` prints those it has"),
            Unlinked::Last => bail!(
                "it is the last identity of {id}, and without one nobody could sign in to it; to be rid of the account, use `brama accounts delete`"
            ),
            Unlinked::Done(account) => {
                let ended = ended(&config, &Whose::Identity(key), "the identity is taken").await?;
                Ok(format!("{id} has {} left; {ended}", counted(account.identities.len(), "identity", "identities")))
            }
        }
    })
}

fn delete(one: &One) -> anyhow::Result<String> {
    let config = one.file.load()?;
    awaited(async {
        if !accounts(&config).await?.delete(&one.id).await? {
            bail!(nobody(&one.id));
        }
        let ended = ended(&config, &Whose::Account(one.id), "the account is gone").await?;
        Ok(format!("{} is deleted; {ended}", one.id))
    })
}

/// Ends the sessions; `so_far` says what was done already should that fail.
async fn ended(config: &Config, whose: &Whose, so_far: &str) -> anyhow::Result<String> {
    let ended = end_sessions(config, whose).await;
    let ended = ended.with_context(|| {
        format!("{so_far}, but its sessions could not be ended; end them once the session store answers")
    })?;
    Ok(format!("{} ended", counted(ended, "session", "sessions")))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn nobody(id: &AccountId) -> String {
    format!("there is no account {id}; `brama accounts list --email ADDRESS` finds one by its address")
}
