//! PostgreSQL as it comes, which is durable. It does not run as root: then the user `postgres` of the package is
//! borrowed.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process,
};

use tempfile::TempDir;

use super::{Command, Server, free_port, new_folder};

/// The server, its port, and its folder. It knows the role `brama`, who needs no password, and the database `postgres`.
pub(crate) fn new() -> (Server, u16, TempDir) {
    let (folder, port, programs, user) = (new_folder(), free_port(), programs(), borrowed_user());
    initialise(folder.path(), &programs, user);
    let arguments = [
        "-D".to_owned(),
        "data".to_owned(),
        format!("--port={port}"),
        "--listen_addresses=127.0.0.1".to_owned(),
        "--unix_socket_directories=".to_owned(),
        "--shared_buffers=16MB".to_owned(),
    ];
    let command = Command {
        program: programs.join("postgres"),
        arguments: arguments.into(),
        settings: vec![("LC_ALL", "C.UTF-8".to_owned())],
        folder: folder.path().to_owned(),
        user,
    };
    (Server::new("postgres", command), port, folder)
}

fn initialise(folder: &Path, programs: &Path, user: Option<(u32, u32)>) {
    use std::os::unix::process::CommandExt as _;
    let mut command = process::Command::new(programs.join("initdb"));
    command.args(["-D", "data", "-U", "brama", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
    command.current_dir(folder);
    if let Some((user, group)) = user {
        chown(folder, Some(user), Some(group)).expect("root may give a folder away");
        command.uid(user).gid(group);
    }
    let output = command.output().expect("initdb starts");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where the programs are: Debian keeps them off the PATH, by version.
fn programs() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.filter_map(|version| Some(version.ok()?.path().join("bin"))));
    }
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    folders.into_iter().find(complete).expect("this test needs a real PostgreSQL: install postgresql")
}

/// User and group id of `postgres` when we are root, who may not run it.
fn borrowed_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("install postgresql: no user postgres");
    let mut numbers = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    numbers.next().zip(numbers.next())
}
