//! `brama events`: what waits for sinks, what was given up, what events look like.
//!
//! Works on the session store that the configuration names, beside a running gateway or without one.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc};

use super::{
    Console,
    opened::{ConfigFile, awaited},
};
use crate::{
    clock::{Clock as _, SystemClock},
    directory::sql::sqlite::LazyFile,
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
        file: ConfigFile,
        /// List the events that a sink can never take instead.
        #[arg(long)]
        dead: bool,
    },
    /// Offer events again that a sink could never take, once what was wrong is mended.
    Replay {
        #[command(flatten)]
        file: ConfigFile,
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
        file: ConfigFile,
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

/// How many dead letters are read at a time.
const PAGE: u32 = 500;

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    match args {
        Args::Schema => writeln!(console.out, "{:#}", catalogue::json_schema())?,
        Args::Pending { file, dead: false } => with_outbox(file, console, pending)?,
        Args::Pending { file, dead: true } => with_outbox(file, console, list_dead)?,
        Args::Replay { file, ids, .. } => {
            return with_outbox(file, console, async |opened, console| {
                each_dead(opened, ids, console, "offered again", async |position, dead| {
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
    file: &ConfigFile,
    console: &mut Console<'_>,
    work: impl AsyncFnOnce(&Opened, &mut Console<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let config = file.load()?;
    awaited(async {
        let store = session::open(&config.session, &LazyFile::at(&config.directory.file)).await?;
        let opened = Opened { outbox: store, sinks: config.event.sink.keys().cloned().collect() };
        work(&opened, console).await
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
    writeln!(console.out, "waiting: {count}{since}")?;
    for sink in &opened.sinks {
        writeln!(console.out, "{sink}: {} behind", behind(outbox, sink).await?)?;
    }
    writeln!(console.out, "dead letters: {}", outbox.dead_count().await?)?;
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
    writeln!(console.out, "{done}: {count}")?;
    for id in &missing {
        writeln!(console.out, "{id} is not among the dead letters")?;
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;
    use crate::{clock::Timestamp, event::sink::Letter};

    /// A configuration with a sink, and a store in which one event waits and two are dead.
    fn prepared(folder: &Path) -> PathBuf {
        let path = folder.join("brama.toml");
        let sink = "[event.sink.lines]\nkind = \"file\"\n[event.sink.lines.file]\npath = \"events.jsonl\"\n";
        fs::write(&path, format!("{}{sink}", crate::config::load::tests::LEAST)).unwrap();
        with(&path, async |opened, _| {
            let at = Timestamp::from_secs(1_700_000_000);
            let letter = |id: &str| Letter {
                id: id.into(),
                kind: "io.brama.session.begun".into(),
                key: "key".into(),
                at,
                body: "{}".into(),
            };
            opened.outbox.append(&[letter("waits")]).await?;
            for id in ["a", "b"] {
                let why = "410 Gone\nforged".to_owned();
                opened.outbox.bury(&DeadLetter { sink: "lines".into(), why, at, letter: letter(id) }).await?;
            }
            Ok(())
        });
        path
    }

    fn with(path: &Path, work: impl AsyncFnOnce(&Opened, &mut Console<'_>) -> anyhow::Result<()>) {
        let file = ConfigFile { config: path.to_owned() };
        with_outbox(&file, &mut Console { out: &mut Vec::new(), colour: false }, work).unwrap();
    }

    fn shown(args: Args) -> (String, ExitCode) {
        let mut out = Vec::new();
        let code = run(&args, &mut Console { out: &mut out, colour: false }).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn what_waits_and_what_is_dead_is_shown_replayed_and_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let config = prepared(folder.path());
        let file = || ConfigFile { config: config.clone() };
        let (pending, _) = shown(Args::Pending { file: file(), dead: false });
        assert_eq!(pending, "waiting: 1, the oldest since 2023-11-14T22:13:20Z\nlines: 1 behind\ndead letters: 2\n");
        let (dead, _) = shown(Args::Pending { file: file(), dead: true });
        let line = |id| format!("{id}  2023-11-14T22:13:20Z  lines  io.brama.session.begun  410 Gone\\nforged\n");
        assert_eq!(dead, line("a") + &line("b"));
        let (replayed, code) = shown(Args::Replay { file: file(), ids: vec!["a".into(), "nope".into()], all: false });
        assert_eq!(replayed, "offered again: 1\nnope is not among the dead letters\n");
        assert_eq!(code, ExitCode::FAILURE);
        let (discarded, code) = shown(Args::Discard { file: file(), ids: vec![], all: true });
        assert_eq!((discarded.as_str(), code), ("dropped: 1\n", ExitCode::SUCCESS));
        let (pending, _) = shown(Args::Pending { file: file(), dead: false });
        assert!(pending.contains("lines: 2 behind\ndead letters: 0"), "{pending}");
    }

    #[test]
    fn the_schema_is_printed() {
        let (schema, _) = shown(Args::Schema);
        assert!(schema.contains("io.brama.session.begun") && schema.ends_with("}\n"));
    }
}
