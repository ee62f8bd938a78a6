//! A process that cannot outlive ours.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Runs the command of its arguments, says its process id, and kills the whole group once its standard input ends: when
/// we drop the handle or die, however we die. It waits for the command, so that nothing is left of it: PostgreSQL does
/// not start while there is still a process of the number of the one before.
const LEASH: &str = r#"exec 3<&0; (cat <&3 >/dev/null; kill -KILL 0) >/dev/null 2>&1 &
"$@" </dev/null 3<&- >>log 2>&1 & echo $!; exec >/dev/null 2>&1; wait $!"#;

/// Longest a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process on its leash.
#[derive(Debug)]
pub(super) struct Leash {
    shell: Child,
    process: u32,
}

impl Leash {
    pub(super) fn start(what: &super::Command) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "leash"]).arg(&what.program).args(&what.arguments);
        command.current_dir(&what.folder).envs(what.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if let Some((user, group)) = what.user {
            command.uid(user).gid(group);
        }
        let mut shell = command.spawn().expect("sh starts");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("it is piped")).read_line(&mut line).expect("the shell answers");
        let process = line.trim().parse().expect("the shell says a process id");
        Self { shell, process }
    }

    /// True when the process itself is no more.
    pub(super) fn has_ended(&self) -> bool {
        stat(&self.process.to_string()).is_none_or(|stat| !stat.lives)
    }
}

impl Drop for Leash {
    /// `kill -9` for the process and all it started, and waits until they are gone.
    fn drop(&mut self) {
        let group = self.shell.id();
        let kill = |whom: String| Command::new("kill").args(["-KILL", "--", &whom]).stderr(Stdio::null()).status();
        let _ = kill(self.process.to_string());
        until(|| stat(&self.process.to_string()).is_none());
        let _ = kill(format!("-{group}"));
        let _ = self.shell.wait();
        until(|| !is_anybody_left(group));
    }
}

fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What `/proc` tells of a process.
struct Stat {
    lives: bool,
    group: u32,
}

fn stat(process: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before the last parenthesis may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some(Stat { lives: !matches!(state, "Z" | "X"), group })
}

fn is_anybody_left(group: u32) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|name| stat(&name))
        .any(|stat| stat.lives && stat.group == group)
}
