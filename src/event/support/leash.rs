//! A server that cannot outlive the test process.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Runs the command of its arguments beside itself, and kills the whole group once its standard input ends. That is
/// when this handle is dropped or the test process dies, however it dies: a shared server is never dropped.
const LEASH: &str = r#""$@" </dev/null & cat >/dev/null; kill -KILL 0"#;

/// A server on its leash.
pub(super) struct Leash {
    shell: Child,
}

impl Leash {
    /// Starts `script` (of `sh`) in `folder`, with `settings` in its environment, and waits until it writes `ready` to
    /// its log. `None` when it ends before that, or takes longer than a minute.
    pub(super) fn start(script: &str, folder: &Path, settings: &[(&str, String)], ready: &str) -> Option<Self> {
        let log = fs::File::create(folder.join("log")).unwrap();
        let shell = Command::new("sh")
            .args(["-c", LEASH, "leash", "sh", "-c", script])
            .current_dir(folder)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let leash = Self { shell };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let log = fs::read(folder.join("log")).unwrap();
            let log = String::from_utf8_lossy(&log);
            if log.contains(ready) {
                return Some(leash);
            }
            if log.contains(ENDED) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

/// What a script writes last.
pub(super) const ENDED: &str = "the server has ended";

impl Drop for Leash {
    /// `kill -9` for the server and all it started.
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
    }
}
