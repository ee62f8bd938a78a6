//! `brama doctor`: asks everything that the configuration names whether it would do.
//!
//! How a part is asked is known beside that part (`examine` in [`session`](crate::session),
//! [`directory`](crate::directory), [`event`](crate::event) and so on). Here stands what is asked, that all of it is asked
//! side by side, and how it is told.
//!
//! Nothing is changed anywhere: no schema is made or upgraded, no topic, exchange or file is made, no event is sent.

mod certificates;
mod configuration;
mod edge;
mod finding;
mod hurried;
mod others;
mod question;
mod shown;
mod stores;
#[cfg(test)]
mod tests;

use std::{process::ExitCode, time::Duration};

use self::{
    finding::{Finding, Status},
    question::{Question, ask_all},
};
use super::{Console, opened::ConfigFile, report};
use crate::{
    app,
    clock::{Clock as _, SystemClock},
    config::{Config, load::Inspected},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Print a JSON array of {item, subject, status, detail, remedy} instead; status is ok, warning or failed.
    #[arg(long)]
    json: bool,
    /// Longest any one of them may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = limit)]
    timeout: Duration,
}

fn limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        Ok(_) => Err("nothing answers in no time; write a duration such as 10s".to_owned()),
        Err(error) => Err(format!("{error}; write a duration such as 10s")),
    }
}

/// Shows how everything is; the exit code is 1 when something failed. Warnings do not count.
pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let (inspected, mut findings) = configuration::examine(&args.file.config);
    if let Some(config) = inspected.as_ref().and_then(|inspected| inspected.config.clone()) {
        findings.extend(examine(config, args.timeout)?);
    }
    if args.json {
        writeln!(console.out, "{}", shown::json(&findings)?)?;
    } else {
        write_human(args, inspected.as_ref(), &findings, console)?;
    }
    let failed = findings.iter().any(|finding| finding.status == Status::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file with mistakes is shown as `brama check` shows it, with its lines; nothing else could be asked then.
fn write_human(
    args: &Args,
    inspected: Option<&Inspected>,
    findings: &[Finding],
    console: &mut Console<'_>,
) -> std::io::Result<()> {
    if let Some(Inspected { config: None, problems, text }) = inspected {
        console.out.write_all(report::render(problems, text, console.colour).as_bytes())?;
        return writeln!(console.out, "{}", report::summary(&args.file.config, problems, console.colour));
    }
    console.out.write_all(shown::human(findings, console.colour).as_bytes())
}

/// Asks everything `config` names, side by side.
fn examine(config: Config, limit: Duration) -> anyhow::Result<Vec<Finding>> {
    let config = hurried::hurried(config, limit);
    let runtime = app::control_plane()?;
    let findings = runtime.block_on(async { ask_all(questions(&config, limit), limit).await });
    // A name that is still being looked up need not be waited for.
    runtime.shutdown_background();
    Ok(findings)
}

fn questions(config: &Config, limit: Duration) -> Vec<Question<'_>> {
    let mut questions = vec![stores::keys(config), stores::sessions(config), stores::accounts(config)];
    questions.extend(others::sinks(config));
    questions.extend(others::providers(config));
    questions.extend(others::targets(config, limit.mul_f32(0.9)));
    questions.extend(edge::listeners(config));
    questions.extend(certificates::all(config, SystemClock.now()));
    questions
}
