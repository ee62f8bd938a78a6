//! The reference file: every key with meaning, type and default, generated from the [`Shape`] of the sections.
//!
//! Prose begins with `# `, a key that can be switched on with a bare `#`: taking that one character away gives a valid
//! line. Tables that may be left out are commented as a whole. Keys come before the tables below them, so that
//! uncommenting a key never moves it into another table.

use std::fmt::Write as _;

use super::{
    Config,
    value::{Key, Shape, Value as _},
};

const HEAD: &str = "\
# Brama: every key there is, with its meaning, what to write and its default.
#
# Take the # away from what you change; an unknown key is an error, so slips are found by `brama check`.
# \"${NAME}\" in any text takes the value from the environment; for secrets prefer the keys ending in _file.
# A relative path starts at the folder of this file.
# This file is what `brama config default` prints.
";

/// The width at which prose is wrapped.
const WIDTH: usize = 118;

/// The reference file.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    if let Shape::Table { keys, .. } = Config::shape() {
        write_tables(&mut out, "", &keys, Presence::Always);
    }
    out
}

/// Whether a table stands in the file or waits as a comment.
#[derive(Clone, Copy, PartialEq)]
enum Presence {
    Always,
    Commented,
}

impl Presence {
    fn mark(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::Commented => "#",
        }
    }
}

/// Writes the tables among `keys`, each with its own keys and the tables below it.
fn write_tables(out: &mut String, path: &str, keys: &[Key], around: Presence) {
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let optional = if key.required || path == key.name { around } else { Presence::Commented };
        match &key.shape {
            Shape::Table { doc, keys } => write_table(out, &format!("[{path}]"), &path, doc, keys, optional),
            Shape::List(inner) => {
                if let Shape::Table { doc, keys } = &**inner {
                    write_table(out, &format!("[[{path}]]"), &path, doc, keys, Presence::Commented);
                }
            }
            Shape::Map(inner) => {
                if let Shape::Table { doc, keys } = &**inner {
                    let path = format!("{path}.name");
                    write_table(out, &format!("[{path}]"), &path, doc, keys, Presence::Commented);
                }
            }
            Shape::Leaf { .. } => {}
        }
    }
}

fn write_table(out: &mut String, header: &str, path: &str, doc: &str, keys: &[Key], presence: Presence) {
    out.push_str("\n\n");
    prose(out, doc);
    let _ = writeln!(out, "{}{header}", presence.mark());
    for key in keys.iter().filter(|key| !is_table(&key.shape)) {
        write_key(out, key);
    }
    write_tables(out, path, keys, presence);
}

/// True for what gets a header of its own.
fn is_table(shape: &Shape) -> bool {
    match shape {
        Shape::Table { .. } => true,
        Shape::List(inner) | Shape::Map(inner) => matches!(**inner, Shape::Table { .. }),
        Shape::Leaf { .. } => false,
    }
}

fn write_key(out: &mut String, key: &Key) {
    out.push('\n');
    prose(out, key.doc);
    let state = match (&key.default, key.required) {
        (_, true) => "Required.",
        (Some(_), false) => "",
        (None, false) => "Not set by default.",
    };
    let says = says(&key.shape);
    // What a default shows by itself needs no words.
    let obvious =
        key.default.is_some() && ["text", "true or false", "a whole number"].iter().any(|o| says.ends_with(o));
    prose(out, &if obvious { state.to_owned() } else { format!("Write {says}. {state}") });
    let value = key.default.clone().unwrap_or_else(|| placeholder(&key.shape));
    let _ = writeln!(out, "#{} = {value}", key.name);
}

fn says(shape: &Shape) -> String {
    match shape {
        // What follows a colon or semicolon is said once, in the head of the file.
        Shape::Leaf { says, .. } => {
            says.split(": ").flat_map(|part| part.split("; ")).next().unwrap_or_default().to_owned()
        }
        Shape::List(inner) => format!("a list, each {}", says(inner)),
        Shape::Map(inner) => format!("a table, for each name {}", says(inner)),
        Shape::Table { .. } => "a table".to_owned(),
    }
}

/// Something of the right type, where there is no default to show.
fn placeholder(shape: &Shape) -> String {
    match shape {
        Shape::Leaf { schema, .. } => {
            let listed = ["examples", "enum"].iter().find_map(|name| schema.get(name)?.get(0));
            match (listed, schema.get("type").and_then(serde_json::Value::as_str)) {
                (Some(example), _) => example.to_string(),
                (None, Some("boolean")) => "true".to_owned(),
                (None, Some("integer" | "number")) => "1".to_owned(),
                _ => "\"…\"".to_owned(),
            }
        }
        Shape::List(inner) => format!("[{}]", placeholder(inner)),
        Shape::Map(_) | Shape::Table { .. } => "{}".to_owned(),
    }
}

/// Writes text as wrapped comment lines.
fn prose(out: &mut String, text: &str) {
    for paragraph in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if width == 0 || width + 1 + length > WIDTH {
                out.push_str(if width == 0 { "#" } else { "\n#" });
                width = 0;
            }
            out.push(' ');
            out.push_str(word);
            width += 1 + length;
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load;

    /// The reference with the `#` of every key and table taken away.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        };
        reference().lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_committed_reference_is_in_step() {
        let committed = include_str!("../../config/brama.toml");
        assert!(committed == reference(), "run `brama config default > config/brama.toml`");
    }

    #[test]
    fn with_every_line_uncommented_only_contradictions_are_left() {
        let text = uncommented();
        let (_, problems) = load::read(Path::new("brama.toml"), &text);
        // Every key is set at once: alternatives collide, placeholders name no real file. But all of it is known.
        let strange: Vec<_> = problems
            .iter()
            .filter(|problem| {
                ["unknown key", "expected", "not TOML", "is not known here", "required"]
                    .iter()
                    .any(|word| problem.what.contains(word))
            })
            .collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }

    #[test]
    fn as_it_is_only_what_has_no_default_is_missed() {
        let (_, problems) = load::read(Path::new("brama.toml"), &reference());
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert!(keys.contains(&"portal.public_url"), "{problems:#?}");
        assert!(
            problems.iter().all(|p| p.what.contains("missing") || p.what.starts_with("there is no")),
            "{problems:#?}"
        );
    }

    #[test]
    fn every_key_says_what_it_means() {
        fn walk(path: &str, shape: &Shape) {
            match shape {
                Shape::Table { doc, keys } => {
                    assert!(path.is_empty() || !doc.trim().is_empty(), "{path} has no words");
                    for key in keys {
                        let path = format!("{path}.{}", key.name);
                        assert!(!key.doc.trim().is_empty(), "{path} has no words");
                        walk(&path, &key.shape);
                    }
                }
                Shape::List(inner) | Shape::Map(inner) => walk(path, inner),
                Shape::Leaf { says, .. } => assert!(!says.is_empty(), "{path} does not say what to write"),
            }
        }
        walk("", &Config::shape());
    }
}
