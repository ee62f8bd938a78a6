//! `brama events`: what waits for sinks, what was given up, what events look like.
//!
//! Works on the session store that the configuration names, beside a running gateway or without one.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc};

use super::{Console, check::DEFAULT_FILE};
use crate::{
    app,
    clock::{Clock as _, SystemClock},
    config::Config,
    directory::sql::sqlite::SqliteFile,
    event::{
        catalogue,
        outbox::{DeadLetter, Outbox, Partition, Position},
    },
    session,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Show how many events wait for a sink, and how far each sink is behind.
    Pending {
        #[command(flatten)]
        file: File,
        /// List the events that a sink can never take instead.
        #[arg(long)]
        dead: bool,
    },
    /// Offer events again that a sink could never take, once what was wrong is mended.
    Replay {
        #[command(flatten)]
        file: File,
        /// Which: their ids, as `brama events pending --dead` lists them.
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Drop events for good that a sink can never take.
    Discard {
        #[command(flatten)]
        file: File,
        /// Which: their ids, as `brama events pending --dead` lists them.
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Print the JSON Schema of all events.
    Schema,
}

#[derive(Debug, clap::Args)]
pub(super) struct File {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "BRAMA_CONFIG", hide_env_values = true, default_value = DEFAULT_FILE)]
    config: PathBuf,
}

/// How many dead letters are read at a time.
const PAGE: u32 = 500;

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match args {
        Args::Schema => writeln!(console.out, "{:#}", catalogue::json_schema())?,
        Args::Pending { file, dead: false } => with_outbox(file, console, pending)?,
        Args::Pending { file, dead: true } => with_outbox(file, console, list_dead)?,
        Args::Replay { file, ids, .. } => {
            return with_outbox(file, console, async |opened, console| {
                each_dead(opened, ids, console, "will be offered again", async |position, dead| {
                    opened.outbox.revive(position, dead, SystemClock.now()).await
                })
                .await
            });
        }
        Args::Discard { file, ids, .. } => {
            return with_outbox(file, console, async |opened, console| {
                each_dead(opened, ids, console, "dropped", async |position, _| opened.outbox.discard(position).await)
                    .await
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the commands work on.
struct Opened {
    outbox: Arc<dyn Outbox>,
    sinks: Vec<String>,
}

fn with_outbox<T>(
    file: &File,
    console: &mut Console<'_>,
    work: impl AsyncFnOnce(&Opened, &mut Console<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let config = Config::load(&file.config)?;
    app::control_plane()?.block_on(async {
        let database = SqliteFile::open(&config.directory.file).await?;
        let store = session::open(&config.session, &database).await?;
        let opened = Opened { outbox: store, sinks: config.event.sink.keys().cloned().collect() };
        let done = work(&opened, console).await;
        database.close().await;
        done
    })
}

/// Totals, then a line for each sink.
async fn pending(opened: &Opened, console: &mut Console<'_>) -> anyhow::Result<()> {
    let outbox = &*opened.outbox;
    let (mut count, mut oldest) = (0, None);
    for partition in Partition::all() {
        let measure = outbox.measure(partition).await?;
        count += measure.count;
        oldest = [oldest, measure.oldest].into_iter().flatten().min();
    }
    let since = oldest.map(|oldest| format!(", the oldest since {oldest}")).unwrap_or_default();
    writeln!(console.out, "{count} events wait{since}")?;
    for sink in &opened.sinks {
        writeln!(console.out, "{sink}: {} behind", behind(outbox, sink).await?)?;
    }
    writeln!(console.out, "{} dead letters", outbox.dead_count().await?)?;
    Ok(())
}

/// How many letters are after the marks of `sink`, whether it wants them or not.
async fn behind(outbox: &dyn Outbox, sink: &str) -> anyhow::Result<usize> {
    let mut behind = 0;
    for partition in Partition::all() {
        let mut mark = outbox.mark(partition, sink).await?;
        loop {
            let page = outbox.peek(partition, mark, PAGE).await?;
            behind += page.len();
            match page.last() {
                Some(last) => mark = last.position,
                None => break,
            }
        }
    }
    Ok(behind)
}

/// A line for each dead letter.
async fn list_dead(opened: &Opened, console: &mut Console<'_>) -> anyhow::Result<()> {
    let mut after = Position::default();
    loop {
        let page = opened.outbox.dead(after, PAGE).await?;
        for (position, DeadLetter { sink, why, at, letter }) in &page {
            writeln!(console.out, "{}  {at}  {sink}  {}  {}", letter.id, letter.kind, why.escape_debug())?;
            after = *position;
        }
        if page.is_empty() {
            return Ok(());
        }
    }
}

/// Does `work` with every dead letter of `ids` (all when there are none), and says how many.
async fn each_dead(
    opened: &Opened,
    ids: &[String],
    console: &mut Console<'_>,
    done: &str,
    work: impl AsyncFn(Position, &DeadLetter) -> Result<bool, crate::event::outbox::OutboxError>,
) -> anyhow::Result<ExitCode> {
    let mut missing: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let (mut after, mut count) = (Position::default(), 0_u64);
    loop {
        let page = opened.outbox.dead(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (position, dead) in &page {
            if (ids.is_empty() || ids.contains(&dead.letter.id)) && work(*position, dead).await? {
                missing.remove(dead.letter.id.as_str());
                count += 1;
            }
        }
    }
    writeln!(console.out, "{count} events {done}")?;
    for id in &missing {
        writeln!(console.out, "{id} is not among the dead letters")?;
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
