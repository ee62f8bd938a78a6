//! Tells when files may have changed: by SIGHUP, by the operating system's notice, and by looking now and then.
//!
//! What counts is the content of the files, not the notices: an editor that renames and replaces, a Kubernetes volume
//! that swaps a symbolic link two folders up, and a network file system that sends no notices at all look the same.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::secret::sha256;

/// Writing a file takes several steps; this is how long it must have been quiet.
const QUIET: Duration = Duration::from_millis(200);
/// How often to look when the operating system sends notices, in case one was missed.
const SELDOM: Duration = Duration::from_secs(30);
/// How often to look when it sends none.
const OFTEN: Duration = Duration::from_secs(2);

/// A message whenever the content of one of `files` has changed or the process got SIGHUP. Several changes that come
/// together are one message. Ends when the receiver is dropped. Must be called on a tokio runtime with I/O and time,
/// and before the files are read, so that no change falls between.
///
/// # Errors
/// When SIGHUP cannot be listened to.
pub fn changes(files: impl IntoIterator<Item = PathBuf>) -> io::Result<mpsc::Receiver<()>> {
    changes_or(SignalKind::hangup(), files.into_iter().collect())
}

fn changes_or(asked: SignalKind, files: Vec<PathBuf>) -> io::Result<mpsc::Receiver<()>> {
    let (tell, told) = mpsc::channel(1);
    let asked = signal(asked)?;
    let noticed = Arc::new(Notify::new());
    let watcher = notices(&files, Arc::clone(&noticed))
        .inspect_err(|error| tracing::debug!(%error, "no file notices; looking at the files now and then instead"))
        .ok();
    // Taken here and not in the task, so that what changes from now on is news.
    let last = fingerprint(&files);
    tokio::spawn(watch(Watch { files: files.into(), noticed, watcher, last }, asked, tell));
    Ok(told)
}

/// What is watched, and how it was when last looked at.
struct Watch {
    files: Arc<[PathBuf]>,
    noticed: Arc<Notify>,
    /// Kept, because notices end with it; none where the operating system sends none.
    watcher: Option<RecommendedWatcher>,
    last: Fingerprint,
}

async fn watch(mut watch: Watch, mut asked_for: Signal, tell: mpsc::Sender<()>) {
    let mut look = interval(if watch.watcher.is_some() { SELDOM } else { OFTEN });
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = asked_for.recv() => true,
            () = watch.noticed.notified() => false,
            _ = look.tick() => false,
            () = tell.closed() => return,
        };
        let now = settled(&watch.files).await;
        if asked || now != watch.last {
            watch.last = now;
            // A full channel already holds the news.
            let _ = tell.try_send(());
        }
    }
}

/// Watches the folders in which a change can happen: of the name, of what it links to, and of each link between.
fn notices(files: &[PathBuf], noticed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            noticed.notify_one();
        }
    })?;
    let mut folders: Vec<PathBuf> = files.iter().flat_map(|file| folders(file)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in &folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn folders(file: &Path) -> Vec<PathBuf> {
    let named = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = std::fs::canonicalize(file).ok().and_then(|file| file.parent().map(Path::to_owned));
    std::iter::once(named).chain(real).collect()
}

/// The SHA-256 of each file; a file that is not there (an editor is just replacing it) has none.
type Fingerprint = Vec<Option<[u8; 32]>>;

fn fingerprint(files: &[PathBuf]) -> Fingerprint {
    files.iter().map(|file| std::fs::read(file).ok().map(|bytes| sha256(&bytes))).collect()
}

/// The fingerprint once it is the same twice in a row.
async fn settled(files: &Arc<[PathBuf]>) -> Fingerprint {
    let mut before = look_at(files).await;
    // A file that never rests is taken as it is in the end.
    for _ in 0..25 {
        sleep(QUIET).await;
        let now = look_at(files).await;
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// The fingerprint, read where a slow file system holds nobody up.
async fn look_at(files: &Arc<[PathBuf]>) -> Fingerprint {
    let files = Arc::clone(files);
    tokio::task::spawn_blocking(move || fingerprint(&files)).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn told(receiver: &mut mpsc::Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await.is_ok_and(|news| news.is_some())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_replaced_by_a_rename_is_noticed_and_watched_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("brama.toml");
        fs::write(&file, "a").unwrap();
        let mut news = changes([file.clone()]).unwrap();
        for content in ["b", "c"] {
            let draft = folder.path().join("draft");
            fs::write(&draft, content).unwrap();
            fs::rename(&draft, &file).unwrap();
            assert!(told(&mut news).await, "{content}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_swapped_folder_link_is_noticed() {
        // As a Kubernetes volume does: brama.toml -> ..data/brama.toml, ..data -> a folder of this moment.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for (name, content) in [("one", "a"), ("two", "b")] {
            fs::create_dir(path.join(name)).unwrap();
            fs::write(path.join(name).join("brama.toml"), content).unwrap();
        }
        std::os::unix::fs::symlink("one", path.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/brama.toml", path.join("brama.toml")).unwrap();
        let mut news = changes([path.join("brama.toml")]).unwrap();
        std::os::unix::fs::symlink("two", path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
        assert!(told(&mut news).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_linked_file_changed_where_it_lives_is_noticed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, real) = (here.path().join("brama.toml"), there.path().join("brama.toml"));
        fs::write(&real, "a").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut news = changes([link]).unwrap();
        // After the first look, which would find it without any notice.
        sleep(QUIET * 3).await;
        fs::write(&real, "b").unwrap();
        assert!(told(&mut news).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_written_with_the_same_content_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("brama.toml");
        fs::write(&file, "a").unwrap();
        let mut news = changes([file.clone()]).unwrap();
        fs::write(&file, "a").unwrap();
        sleep(QUIET * 4).await;
        assert!(news.try_recv().is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_signal_asks_even_when_nothing_has_changed() {
        // Another signal than SIGHUP, which would reach the watchers of the other tests too.
        let mut news = changes_or(SignalKind::user_defined2(), vec![]).unwrap();
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-USR2", &own]).status().unwrap().success());
        assert!(told(&mut news).await);
    }
}
