//! The house rules that a compiler cannot hold: who imports whom, who makes proofs, where drivers live.

#![expect(clippy::expect_used, reason = "a test may fail")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What each module may import, besides itself. The table of ARCHITECTURE.md.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("secret", &[]),
    ("identity", &["clock", "secret"]),
    ("body", &[]),
    ("message", &["body"]),
    ("told", &[]),
    ("wait", &[]),
    ("http1", &["body"]),
    ("config", WORDS),
    ("telemetry", &["clock", "secret", "identity", "body", "told", "config"]),
    ("server", &["clock", "secret", "identity", "body", "told", "wait", "http1", "message", "config", "telemetry"]),
    ("policy", &["clock", "secret", "identity", "body", "told", "config"]),
    (
        "upstream",
        &["clock", "secret", "identity", "body", "told", "wait", "http1", "message", "config", "telemetry", "server"],
    ),
    ("provider", &["clock", "secret", "identity", "body", "told", "config"]),
    ("session", &["clock", "secret", "identity", "body", "told", "config", "provider", "directory", "event"]),
    ("directory", &["clock", "secret", "identity", "body", "told", "config"]),
    ("event", &["clock", "secret", "identity", "body", "told", "config", "telemetry"]),
    (
        "login",
        &[
            "clock",
            "secret",
            "identity",
            "body",
            "told",
            "config",
            "telemetry",
            "provider",
            "session",
            "directory",
            "event",
        ],
    ),
];

const WORDS: &[&str] = &["clock", "secret", "identity", "body", "told", "wait"];

/// Driver crates and the files that may name them.
const DRIVERS: &[(&str, &[&str])] = &[
    ("sqlx", &["src/session/embedded/", "src/directory/sql/"]),
    ("redis::", &["src/session/redis"]),
    ("lapin", &["src/event/rabbitmq/"]),
    ("rskafka", &["src/event/kafka/"]),
    ("use mongodb::", &["src/directory/mongodb/"]),
    ("scylla::", &["src/directory/cassandra/"]),
];

/// Every Rust file below `folder`.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    walk(&root.join("src"))
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is text");
            // What stands in tests may reach further.
            let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            (path.strip_prefix(root).expect("below the root").to_owned(), text)
        })
        .filter(|(path, _)| {
            !["test", "conformance", "support"].iter().any(|part| path.to_string_lossy().contains(part))
        })
        .collect()
}

/// `a` of `src/a.rs` and `src/a/b.rs`.
fn module(path: &Path) -> String {
    let first = path.components().nth(1).expect("below src").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

/// The modules a file names: `crate::name`, also inside a braced `use crate::{…}`.
fn imports(text: &str) -> Vec<String> {
    let code: String = code(text).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(braced) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in braced.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            names.push(name);
        } else {
            names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names.iter().map(|name| name.trim().split("::").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn imports_run_one_way() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        let Some(allowed) = table.get(module.as_str()) else { continue };
        for import in imports(&text) {
            let known = table.contains_key(import.as_str())
                || ["gateway", "portal", "app", "cli", "demo"].contains(&import.as_str());
            if known && import != module && !allowed.contains(&import.as_str()) {
                broken.push(format!("{}: {module} may not import {import}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_providers_vouch() {
    let strangers: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| {
            module(path) != "provider" && code(text).any(|line| line.contains("VerifiedIdentity::vouched"))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(strangers.is_empty(), "these make verified identities: {strangers:?}");
}

#[test]
fn drivers_stay_in_their_leaves() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let name = path.to_string_lossy();
        for (driver, leaves) in DRIVERS {
            if !leaves.iter().any(|leaf| name.starts_with(leaf))
                && code(&text).any(|line| line.contains(driver) && line.starts_with("use "))
            {
                broken.push(format!("{name} imports {driver}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every test that the page of threats names is there.
#[test]
fn threats_name_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threats.md")).expect("docs/threats.md is readable");
    let mut code = String::new();
    for entry in walk(&root.join("src")).into_iter().chain(walk(&root.join("tests/chaos"))) {
        code.push_str(&fs::read_to_string(entry).expect("a source file is text"));
    }
    let named = page.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && !name.contains(['/', '.']));
    let missing: Vec<&str> = named.filter(|name| !code.contains(name)).collect();
    assert!(missing.is_empty(), "docs/threats.md names tests that are not there: {missing:?}");
}
