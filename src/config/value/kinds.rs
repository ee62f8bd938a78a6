//! The kinds of values there are: numbers, texts, addresses, durations, lists and maps of them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{At, Shape, Value, leaf, parsed, quoted};
use crate::{config::problem::Problems, secret::Secret};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_one_unit() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (60, "1m"), (8 * 3600, "8h"), (180 * 86_400, "180d")] {
            assert_eq!(plain_duration(Duration::from_secs(seconds)), text);
            assert_eq!(humantime::parse_duration(text).unwrap(), Duration::from_secs(seconds));
        }
        assert_eq!(plain_duration(Duration::from_millis(1500)), "1500ms");
    }
}
