//! The command line: a file a subcommand, each with its arguments and its `run`.
//!
//! Only this module prints, and only through [`Console`], so that a command can be tested without a terminal. Errors
//! are told as what, why (the chain of causes) and what to do.
//!
//! To add a subcommand: a file with `Args` and `run`, a variant of [`Command`], an arm in [`dispatch`].

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::config::{LoadError, keys::KeysError, secrets::SecretError};

mod accounts;
mod check;
mod config;
mod demo;
mod directory;
mod doctor;
mod events;
mod keys;
mod opened;
mod report;
mod serve;

/// A gate before apps that know nothing of logins.
///
/// Signs people in with the social account they have, and hands every request on with identity headers nobody can forge.
#[derive(Debug, Parser)]
#[command(name = "brama", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, nothing to register: gateway, sample app, simulated providers.
    Demo(demo::Args),
    /// Run the gateway.
    Serve(serve::Args),
    /// Read a configuration file and show everything that is wrong with it.
    Check(check::Args),
    /// Ask everything a configuration file names whether it would do: stores, brokers, providers, apps.
    ///
    /// Tells of each how it is, why it fails and what to do. Changes nothing anywhere. The exit code is 1 when something
    /// failed.
    Doctor(doctor::Args),
    /// Show what a configuration file can hold.
    #[command(subcommand)]
    Config(config::Args),
    /// Look after events on their way to sinks.
    #[command(subcommand)]
    Events(events::Args),
    /// Make keys.
    #[command(subcommand)]
    Keys(keys::Args),
    /// Look at accounts, shut, open and delete them.
    #[command(subcommand)]
    Accounts(accounts::Args),
    /// Upgrade, count or copy the accounts as a whole.
    #[command(subcommand)]
    Directory(directory::Args),
}

/// Where a command prints.
struct Console<'a> {
    out: &'a mut dyn Write,
    /// True when what reads `out` shows colours.
    colour: bool,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    // First of all: every TLS configuration made later takes this provider. A second one is no error.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    // Not locked: while the gateway runs, its access and audit logs write there from threads of their own.
    let mut out = io::stdout();
    let colour = shows_colour(&out);
    let result = dispatch(cli.command, &mut Console { out: &mut out, colour });
    match result.and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => code,
        // Whoever reads our output has had enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let mut err = io::stderr().lock();
            let colour = shows_colour(&err);
            let _ = tell(&error, &mut Console { out: &mut err, colour });
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args, console),
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args, console),
        Command::Doctor(args) => doctor::run(&args, console),
        Command::Config(args) => config::run(&args, console),
        Command::Events(args) => events::run(&args, console),
        Command::Keys(args) => keys::run(&args, console),
        Command::Accounts(args) => accounts::run(&args, console),
        Command::Directory(args) => directory::run(&args, console),
    }
}

/// Colours are for terminals, and never against the will of the person (<https://no-color.org>).
fn shows_colour(stream: &impl io::IsTerminal) -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Tells an error: what, why, what to do.
fn tell(error: &anyhow::Error, console: &mut Console<'_>) -> io::Result<()> {
    if let Some(LoadError::Invalid { problems, text, .. }) = error.downcast_ref() {
        console.out.write_all(report::render(problems, text, console.colour).as_bytes())?;
    }
    let paint = report::Paint::new(console.colour);
    writeln!(console.out, "{}: {error}", paint.error("error"))?;
    for cause in error.chain().skip(1) {
        writeln!(console.out, "  because: {cause}")?;
    }
    for remedy in error.chain().filter_map(remedy) {
        writeln!(console.out, "  {}: {remedy}", paint.remedy("help"))?;
    }
    Ok(())
}

/// What to do about an error, when its type knows.
fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<LoadError>() {
        return Some(error.remedy());
    }
    if let Some(error) = error.downcast_ref::<KeysError>() {
        return Some(error.remedy());
    }
    error.downcast_ref::<SecretError>().map(SecretError::remedy)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn help(path: &[&str]) -> String {
        // As wide as it wants to be, whatever the terminal of whoever runs the tests.
        let mut command = Cli::command().term_width(0);
        command.build();
        let mut command = &mut command;
        for name in path {
            command = command.find_subcommand_mut(name).unwrap();
        }
        command.render_long_help().to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_as_agreed() {
        insta::assert_snapshot!("help", help(&[]));
        insta::assert_snapshot!("help_check", help(&["check"]));
        insta::assert_snapshot!("help_doctor", help(&["doctor"]));
        insta::assert_snapshot!("help_config", help(&["config"]));
        insta::assert_snapshot!("help_events", help(&["events"]));
        insta::assert_snapshot!("help_keys", help(&["keys"]));
        insta::assert_snapshot!("help_accounts", help(&["accounts"]));
        insta::assert_snapshot!("help_accounts_list", help(&["accounts", "list"]));
        insta::assert_snapshot!("help_accounts_disable", help(&["accounts", "disable"]));
        insta::assert_snapshot!("help_accounts_unlink", help(&["accounts", "unlink"]));
        insta::assert_snapshot!("help_directory", help(&["directory"]));
        insta::assert_snapshot!("help_directory_copy", help(&["directory", "copy"]));
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_a_remedy() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = LoadError::Unreadable { path: "brama.toml".into(), source };
        let mut out = Vec::new();
        tell(&anyhow::Error::new(error).context("cannot start"), &mut Console { out: &mut out, colour: false })
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "error: cannot start\n  because: cannot read the configuration file brama.toml\n  because: no such file\n  \
             help: name it with --config FILE, or begin with `brama config default > brama.toml`\n"
        );
    }
}
