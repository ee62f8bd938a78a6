//! Tables of known keys: sections.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{At, Key, Shape, Value};
use crate::config::problem::Problems;

/// Derives a section: the struct and its [`Value`]. A section that is left out reads as an empty one.
///
/// `name: Type = default,` is a key with a default (an expression), `name: Type,` a required one. `Option<T> = None`
/// is a key that may be absent. The doc comment of each key is its entry in the reference file: meaning, unit, advice.
/// The section must implement [`Check`](super::Check) (empty when its keys are independent).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("idle_timout", &["idle_timeout", "store"]), Some("idle_timeout"));
        assert_eq!(nearest("zzz", &["idle_timeout", "store"]), None);
    }
}
