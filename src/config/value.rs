//! Reading one value of the configuration file, and telling what it looks like.
//!
//! A type that can stand in the file implements [`Value`]: how it is read (collecting [`Problems`] instead of
//! stopping at the first), how its default is written, and the [`Shape`] from which the reference file and the JSON
//! Schema are generated. `section!` derives all of it for a table. We do not use serde here because a serde
//! deserializer stops at the first mistake.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::Problems;
use crate::secret::Secret;

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

impl Value for bool {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let value = at.value().as_bool();
        if value.is_none() {
            at.problem(
                problems,
                format!("expected true or false, found {}", at.value().type_str()),
                "write true or false, without quotes",
            );
        }
        value
    }
    fn shape() -> Shape {
        leaf("true or false", json!({"type": "boolean"}))
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! whole_number {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
                let number = at.value().as_integer().and_then(|n| <$ty>::from_str_radix(n.as_str(), n.radix()).ok());
                if number.is_none() {
                    let found = at.value().as_integer().map_or(at.value().type_str(), |number| number.as_str());
                    at.problem(problems,
                        format!("expected a whole number from 0 to {}, found {found}", <$ty>::MAX),
                        "write such a number, without quotes");
                }
                number
            }
            fn shape() -> Shape { leaf("a whole number", json!({"type": "integer", "minimum": 0})) }
            fn show(&self) -> Option<String> { Some(self.to_string()) }
        }
    )*};
}
whole_number!(u16, u32, u64, usize);

impl Value for String {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        at.text(problems, "text")
    }
    fn shape() -> Shape {
        leaf("text", json!({"type": "string"}))
    }
    fn show(&self) -> Option<String> {
        quoted(self)
    }
}

impl Value for Secret {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        at.text(problems, "a secret").map(Secret::new)
    }
    fn shape() -> Shape {
        leaf(
            "a secret: \"${NAME}\" takes it from the environment; better, use the key ending in _file",
            json!({"type": "string"}),
        )
    }
    fn show(&self) -> Option<String> {
        None
    }
}

impl Value for PathBuf {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        Some(PathBuf::from(at.text(problems, "a path")?).in_folder(problems.folder()))
    }
    fn shape() -> Shape {
        leaf(
            "a path; a relative one starts at the folder of this file",
            json!({"type": "string", "examples": ["path/to/file"]}),
        )
    }
    fn in_folder(self, folder: &Path) -> Self {
        if self.is_relative() { folder.join(self) } else { self }
    }
    fn show(&self) -> Option<String> {
        quoted(&self.to_string_lossy())
    }
}

impl Value for Duration {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        parsed(at, problems, "a duration, such as \"30s\", \"5m\" or \"8h\"", humantime::parse_duration)
    }
    fn shape() -> Shape {
        leaf(
            "a duration, such as \"30s\", \"5m\" or \"8h\"",
            json!({"type": "string", "pattern": "^[0-9]+ ?[a-z]+( ?[0-9]+ ?[a-z]+)*$", "examples": ["30s"]}),
        )
    }
    fn show(&self) -> Option<String> {
        quoted(&plain_duration(*self))
    }
}

/// A duration in the one unit that says it without a remainder; `180d` reads better than humantime's months.
fn plain_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.iter().find(|(unit, _)| millis != 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

impl Value for url::Url {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        parsed(at, problems, "an absolute URL", url::Url::parse)
    }
    fn shape() -> Shape {
        leaf("an absolute URL", json!({"type": "string", "format": "uri", "examples": ["https://app.example.com"]}))
    }
    fn show(&self) -> Option<String> {
        quoted(self.as_str())
    }
}

impl Value for ipnet::IpNet {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        parsed(at, problems, "a network such as \"10.0.0.0/8\" or a single address", |text| {
            text.parse::<ipnet::IpNet>().or_else(|error| text.parse::<IpAddr>().map(Into::into).map_err(|_| error))
        })
    }
    fn shape() -> Shape {
        leaf(
            "a network such as \"10.0.0.0/8\" or a single address",
            json!({"type": "string", "examples": ["10.0.0.0/8"]}),
        )
    }
    fn show(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

impl Value for SocketAddr {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        parsed(at, problems, "an address with a port, such as \"127.0.0.1:9180\"", str::parse)
    }
    fn shape() -> Shape {
        leaf(
            "an address with a port, such as \"127.0.0.1:9180\"",
            json!({"type": "string", "examples": ["127.0.0.1:9180"]}),
        )
    }
    fn show(&self) -> Option<String> {
        quoted(&self.to_string())
    }
}

impl<T: Value> Value for Option<T> {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(at, problems).map(Some)
    }
    fn shape() -> Shape {
        T::shape()
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Value::show)
    }
    fn in_folder(self, folder: &Path) -> Self {
        self.map(|value| value.in_folder(folder))
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = at.value().as_array() else {
            at.problem(
                problems,
                format!("expected a list, found {}", at.value().type_str()),
                "write it as [ … ] ([[…]] for tables)",
            );
            return None;
        };
        // Every element is read before giving up: all problems at once.
        let read: Vec<Option<T>> = array
            .iter()
            .enumerate()
            .map(|(index, element)| T::read(&At::new(element, format!("{}[{index}]", at.key())), problems))
            .collect();
        read.into_iter().collect()
    }
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn show(&self) -> Option<String> {
        let shown: Vec<String> = self.iter().filter_map(Value::show).collect();
        Some(format!("[{}]", shown.join(", ")))
    }
    fn in_folder(self, folder: &Path) -> Self {
        self.into_iter().map(|value| value.in_folder(folder)).collect()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = at.value().as_table() else {
            at.problem(
                problems,
                format!("expected a table, found {}", at.value().type_str()),
                format!("write [{}.NAME]", at.key()),
            );
            return None;
        };
        let read: Vec<Option<(String, T)>> = table
            .iter()
            .map(|(name, value)| {
                let name = name.get_ref().to_string();
                T::read(&At::new(value, at.path(&name)), problems).map(|value| (name, value))
            })
            .collect();
        read.into_iter().collect()
    }
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
    fn show(&self) -> Option<String> {
        let shown: Option<Vec<String>> =
            self.iter().map(|(name, value)| Some(format!("{} = {}", quoted(name)?, value.show()?))).collect();
        match shown?.as_slice() {
            [] => Some("{}".to_owned()),
            shown => Some(format!("{{ {} }}", shown.join(", "))),
        }
    }
}

/// Derives a section: the struct and its [`Value`]. A section that is left out reads as an empty one.
///
/// `name: Type = default,` is a key with a default (an expression), `name: Type,` a required one. `Option<T> = None`
/// is a key that may be absent. The doc comment of each key is its entry in the reference file: meaning, unit, advice.
/// The section must implement [`Check`] (empty when its keys are independent).
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $ty:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $ty, )*
        }

        impl $crate::config::value::Value for $name {
            const EMPTY_WHEN_ABSENT: bool = true;

            fn read(at: &$crate::config::value::At<'_>, problems: &mut $crate::config::problem::Problems) -> Option<Self> {
                const KEYS: &[&str] = &[$(stringify!($field)),*];
                $crate::config::value::read_table(at, KEYS, problems)?;
                $( let $field: Option<$ty> = $crate::config::value::read_key(
                    at, stringify!($field), $crate::config::value::section!(@default $ty $(= $default)?), problems); )*
                let section = Self { $( $field: $field?, )* };
                $crate::config::value::Check::check(&section, at, problems);
                Some(section)
            }

            fn shape() -> $crate::config::value::Shape {
                $crate::config::value::Shape::Table {
                    doc: concat!($($doc, "\n"),*),
                    keys: vec![$( $crate::config::value::key::<$ty>(
                        stringify!($field), concat!($($field_doc, "\n"),*), $crate::config::value::section!(@default $ty $(= $default)?)) ),*],
                }
            }

            fn show(&self) -> Option<String> {
                None
            }
        }
    };
    (@default $ty:ty = $default:expr) => { Some({ let default: fn() -> $ty = || $default; default }) };
    (@default $ty:ty) => { None::<fn() -> $ty> };
}
pub(crate) use section;

/// Checks that `at` is a table and knows every key in it; a stranger is a problem with the nearest known name.
pub(crate) fn read_table(at: &At<'_>, known: &[&str], problems: &mut Problems) -> Option<()> {
    let Some(table) = at.value().as_table() else {
        at.problem(
            problems,
            format!("expected a table, found {}", at.value().type_str()),
            format!("write [{}]", at.key()),
        );
        return None;
    };
    for (name, _) in table.iter() {
        if !known.contains(&name.get_ref().as_ref()) {
            let remedy = match nearest(name.get_ref(), known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            problems.add(name.span(), &at.path(name.get_ref()), "unknown key", remedy);
        }
    }
    Some(())
}

/// What is said of a key that has no default and is not there.
pub(crate) const REQUIRED_IS_MISSING: &str = "required key is missing";

/// Reads the key `name` of the table `at`, or its default.
pub(crate) fn read_key<T: Value>(
    at: &At<'_>,
    name: &str,
    default: Option<fn() -> T>,
    problems: &mut Problems,
) -> Option<T> {
    match (at.child(name), default) {
        (Some(child), _) => T::read(&child, problems),
        (None, Some(default)) => Some(default().in_folder(problems.folder())),
        (None, None) if T::EMPTY_WHEN_ABSENT => {
            let end = problems.end();
            let empty = Spanned::new(end..end, DeValue::Table(DeTable::new()));
            T::read(&At::new(&empty, at.path(name)), problems)
        }
        (None, None) => {
            let wanted = match T::shape() {
                Shape::Leaf { says, .. } => says,
                Shape::Table { .. } | Shape::Map(_) => "a table",
                Shape::List(_) => "a list",
            };
            at.problem_at(name, problems, REQUIRED_IS_MISSING, format!("add {name} = … ({wanted})"));
            None
        }
    }
}

/// The [`Key`] of a field of a section.
pub(crate) fn key<T: Value>(name: &'static str, doc: &'static str, default: Option<fn() -> T>) -> Key {
    let shape = T::shape();
    Key {
        name,
        doc,
        required: default.is_none() && (!T::EMPTY_WHEN_ABSENT || shape.has_required_key()),
        default: default.and_then(|default| default().show()),
        shape,
    }
}

/// The known name nearest to `name`, when it is near enough to be a slip of the finger.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let cost = if ca == *cb { diagonal } else { 1 + diagonal.min(left).min(*cell) };
            diagonal = *cell;
            *cell = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A value that is one of a few words, declared with their spelling.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[doc = $variant_doc])* $variant, )* }

        impl $name {
            /// The word that stands for it in the file.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::config::value::Value for $name {
            fn read(at: &$crate::config::value::At<'_>, problems: &mut $crate::config::problem::Problems) -> Option<Self> {
                const SAYS: &str = $crate::config::value::choice!(@says $($word),*);
                let text = at.text(problems, SAYS)?;
                match text.as_str() {
                    $( $word => Some(Self::$variant), )*
                    _ => {
                        let written = at.value().as_str().unwrap_or_default();
                        at.problem(problems, format!("\"{}\" is not known here", written.escape_debug()), format!("write {SAYS}"));
                        None
                    }
                }
            }
            fn shape() -> $crate::config::value::Shape {
                $crate::config::value::Shape::Leaf {
                    says: $crate::config::value::choice!(@says $($word),*),
                    schema: serde_json::json!({"type": "string", "enum": [$($word),*]}),
                }
            }
            fn show(&self) -> Option<String> {
                Some(format!("\"{}\"", self.word()))
            }
        }
    };
    (@says $first:literal $(, $word:literal)*) => { concat!("one of \"", $first, "\"" $(, ", \"", $word, "\"")*) };
}
pub(crate) use choice;

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

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("idle_timout", &["idle_timeout", "store"]), Some("idle_timeout"));
        assert_eq!(nearest("zzz", &["idle_timeout", "store"]), None);
    }

    #[test]
    fn durations_are_written_in_one_unit() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (60, "1m"), (8 * 3600, "8h"), (180 * 86_400, "180d")] {
            assert_eq!(plain_duration(Duration::from_secs(seconds)), text);
            assert_eq!(humantime::parse_duration(text).unwrap(), Duration::from_secs(seconds));
        }
        assert_eq!(plain_duration(Duration::from_millis(1500)), "1500ms");
    }
}
