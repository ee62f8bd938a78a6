//! Reading one value of the configuration file, and telling what it looks like.
//!
//! A type that can stand in the file implements [`Value`]: how it is read (collecting [`Problems`] instead of
//! stopping at the first), how its default is written, and the [`Shape`] from which the reference file and the JSON
//! Schema are generated. `section!` derives all of it for a table. We do not use serde here because a serde
//! deserializer stops at the first mistake.

mod kinds;
mod table;
mod words;

use std::{ops::Range, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) use self::{
    table::{REQUIRED_IS_MISSING, key, read_key, read_table, section},
    words::choice,
};
use super::problem::Problems;

/// A value and where it stands.
#[derive(Clone)]
pub struct At<'a> {
    value: &'a Spanned<DeValue<'a>>,
    key: String,
}

impl<'a> At<'a> {
    /// The value at the dotted path `key`.
    pub fn new(value: &'a Spanned<DeValue<'a>>, key: impl Into<String>) -> Self {
        Self { value, key: key.into() }
    }

    /// The dotted path.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The TOML value.
    pub fn value(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Where it stands, as a byte range of the file.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The value under `name` of this table, if it is there.
    pub fn child(&self, name: &str) -> Option<At<'a>> {
        let table = self.value().as_table()?;
        table.iter().find(|(key, _)| key.get_ref().as_ref() == name).map(|(_, value)| At::new(value, self.path(name)))
    }

    /// The dotted path of `name` below this one.
    pub fn path(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    /// Records a problem with this value.
    pub fn problem(&self, problems: &mut Problems, what: impl Into<String>, remedy: impl Into<String>) {
        problems.add(self.span(), &self.key, what, remedy);
    }

    /// Records a problem with the key `name` of this table: at the key when it is there, else at the table.
    pub fn problem_at(&self, name: &str, problems: &mut Problems, what: impl Into<String>, remedy: impl Into<String>) {
        let span = self.child(name).map_or_else(|| self.span(), |child| child.span());
        problems.add(span, &self.path(name), what, remedy);
    }

    /// The names in this table and where each stands.
    pub fn names(&self) -> impl Iterator<Item = (&'a str, Range<usize>)> + use<'a> {
        self.value()
            .as_table()
            .into_iter()
            .flat_map(|table| table.iter().map(|(name, _)| (name.get_ref().as_ref(), name.span())))
    }

    /// The text of a string with `${NAME}` replaced from the environment; a problem when it is not a string or a
    /// variable is not set (a missing secret must never mean "none").
    pub fn text(&self, problems: &mut Problems, wanted: &str) -> Option<String> {
        let Some(raw) = self.value().as_str() else {
            self.problem(
                problems,
                format!("expected {wanted}, found {}", self.value().type_str()),
                "write it in quotes",
            );
            return None;
        };
        match expand(raw, |name| std::env::var(name).ok()) {
            Ok(text) => Some(text),
            Err(name) => {
                self.problem(
                    problems,
                    format!("the environment variable {name} is not set"),
                    format!("set {name} before starting, or write $${{{name}}} to mean the text itself"),
                );
                None
            }
        }
    }
}

/// Replaces `${NAME}` by `lookup(NAME)`; `$${` stands for a literal `${`. The error is the name that is not set.
fn expand(raw: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = after.strip_prefix("${").unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let inside = after.strip_prefix("${").unwrap_or_default();
        let Some((name, tail)) = inside.split_once('}') else {
            return Err(inside.to_owned());
        };
        out.push_str(&lookup(name).ok_or_else(|| name.to_owned())?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// What a value looks like: the source of the reference file and of the JSON Schema.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A single value.
    Leaf {
        /// What to write, such as `a duration, such as "30s"`.
        says: &'static str,
        /// Its JSON Schema.
        schema: serde_json::Value,
    },
    /// A table with fixed keys.
    Table {
        /// What the table is about.
        doc: &'static str,
        /// Its keys in the order of the source.
        keys: Vec<Key>,
    },
    /// An array.
    List(Box<Shape>),
    /// A table whose keys are names the operator chooses.
    Map(Box<Shape>),
}

impl Shape {
    /// True for a table that cannot be left out because one of its keys cannot.
    fn has_required_key(&self) -> bool {
        matches!(self, Self::Table { keys, .. } if keys.iter().any(|key| key.required))
    }
}

/// One key of a table.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Meaning, unit, advice.
    pub doc: &'static str,
    /// The default as TOML text; `None` when the key is required or absent by default.
    pub default: Option<String>,
    /// True when there is no default and the key may not be left out.
    pub required: bool,
    /// What its value looks like.
    pub shape: Shape,
}

/// A type that can stand in the configuration file.
pub trait Value: Sized {
    /// Reads it; on a mistake records every problem and returns `None`.
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self>;
    /// What it looks like.
    fn shape() -> Shape;
    /// The value as TOML text; `None` for "absent".
    fn show(&self) -> Option<String>;
    /// True for a table that reads as an empty one when it is left out: its defaults hold, its required keys are missed.
    const EMPTY_WHEN_ABSENT: bool = false;
    /// The default as it is meant in a file of this folder; paths change.
    #[must_use]
    fn in_folder(self, _folder: &Path) -> Self {
        self
    }
}

/// A section as it is when the file says nothing of it; `None` when it has required keys.
pub fn all_defaults<T: Value>() -> Option<T> {
    let mut problems = Problems::new("", "");
    let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
    T::read(&At::new(&empty, ""), &mut problems).filter(|_| problems.is_empty())
}

/// Checks that need more than one key of a section; run after all its keys were read.
pub trait Check {
    /// Records every contradiction.
    fn check(&self, _at: &At<'_>, _problems: &mut Problems) {}
}

fn leaf(says: &'static str, schema: serde_json::Value) -> Shape {
    Shape::Leaf { says, schema }
}

fn quoted(text: &str) -> Option<String> {
    Some(toml::Value::String(text.to_owned()).to_string())
}

/// Reads a string and parses it with `parse`, whose error becomes the problem.
pub(crate) fn parsed<T, E: std::fmt::Display>(
    at: &At<'_>,
    problems: &mut Problems,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let text = at.text(problems, wanted)?;
    match parse(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            // As written, so that nothing from the environment reaches a message.
            let written = at.value().as_str().unwrap_or_default();
            at.problem(
                problems,
                format!("\"{}\" is not {wanted}: {error}", written.escape_debug()),
                format!("write {wanted}"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_a_missing_one_is_named() {
        let lookup = |name: &str| (name == "HOME_PORT").then(|| "8080".to_owned());
        for (raw, expected) in [
            ("plain", Ok("plain")),
            ("http://h:${HOME_PORT}/", Ok("http://h:8080/")),
            ("$${HOME_PORT}", Ok("${HOME_PORT}")),
            ("$x", Ok("$x")),
            ("${NOPE}", Err("NOPE")),
            ("${open", Err("open")),
        ] {
            let got = expand(raw, lookup);
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{raw}");
        }
    }
}
