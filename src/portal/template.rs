//! The built-in templates, and the operator's over them.
//!
//! A template may do little: what it prints is escaped, an unknown name is an error, and its work is bounded by fuel,
//! so that a mistake costs one page its operator's looks and nothing else. There is one environment for each language;
//! in it `t(key, name=value)` is a text, `asset(name)` and `icon(provider, kind)` are addresses, `moment(time, now)` a
//! `<time>`, `initials(name)` up to two letters, and `site` the operator's settings.

use std::sync::Arc;

use fluent_bundle::FluentValue;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde, Value},
};
use serde::Serialize;

use super::{asset::Assets, language::Language, message::Messages, moment};
use crate::clock::Timestamp;

/// The built-in templates.
pub(crate) const BUILT_IN: [(&str, &str); 7] = [
    ("base.html", include_str!("templates/base.html")),
    ("icons.html", include_str!("templates/icons.html")),
    ("sign_in.html", include_str!("templates/sign_in.html")),
    ("account.html", include_str!("templates/account.html")),
    ("error.html", include_str!("templates/error.html")),
    ("sign_out.html", include_str!("templates/sign_out.html")),
    ("signed_out.html", include_str!("templates/signed_out.html")),
];

/// What one page may cost: some fifty times what the largest of ours needs.
const FUEL: u64 = 2_000_000;

/// The settings that every page shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Site {
    /// Path prefix of our pages.
    pub(crate) prefix: String,
    /// Name shown on every page.
    pub(crate) title: String,
    /// Address of the operator's logo.
    pub(crate) logo_url: Option<String>,
    /// Address of help.
    pub(crate) support_url: Option<String>,
}

/// Templates ready to be drawn, in every language.
#[derive(Debug)]
pub(crate) struct Templates {
    english: Environment<'static>,
    ukrainian: Environment<'static>,
}

/// An operator's template that cannot be read.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Its file name.
    pub(crate) name: String,
    /// Why, and in which line.
    pub(crate) error: Error,
}

impl Templates {
    /// The built-in templates, and over them those of `overrides` that can be read; the others are returned.
    pub(crate) fn new(
        site: &Site,
        messages: &Arc<Messages>,
        assets: &Arc<Assets>,
        overrides: &[(String, String)],
    ) -> Result<(Self, Vec<Broken>), Error> {
        let environment = |language| environment(language, site, messages, assets);
        let mut templates =
            Self { english: environment(Language::English)?, ukrainian: environment(Language::Ukrainian)? };
        let mut broken = Vec::new();
        for (name, source) in overrides {
            // What does not parse leaves the built-in template of that name in place.
            let added = [&mut templates.english, &mut templates.ukrainian]
                .into_iter()
                .try_for_each(|environment| environment.add_template_owned(name.clone(), source.clone()));
            if let Err(error) = added {
                broken.push(Broken { name: name.clone(), error });
            }
        }
        Ok((templates, broken))
    }

    /// Draws the page `name`.
    pub(crate) fn draw(&self, name: &str, language: Language, context: &impl Serialize) -> Result<String, Error> {
        let environment = match language {
            Language::English => &self.english,
            Language::Ukrainian => &self.ukrainian,
        };
        environment.get_template(name)?.render(Value::from(Serde(context)))
    }
}

fn environment(
    language: Language,
    site: &Site,
    messages: &Arc<Messages>,
    assets: &Arc<Assets>,
) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html); // whatever an operator names the file
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(escape);
    environment.add_global("lang", language.tag());
    environment.add_global("site", Value::from(Serde(site)));
    let texts = Arc::clone(messages);
    environment.add_function("t", move |key: String, args: Kwargs| text(&texts, language, &key, &args));
    let files = Arc::clone(assets);
    environment.add_function("asset", move |name: String| {
        files.url(&name).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("there is no asset {name}")))
    });
    let files = Arc::clone(assets);
    environment.add_function("icon", move |provider: String, kind: String| files.icon(&provider, &kind));
    let texts = Arc::clone(messages);
    environment.add_function("moment", move |then: i64, now: i64| {
        time_element(&texts, language, Timestamp::from_millis(then), Timestamp::from_millis(now))
    });
    environment.add_function("initials", |name: String| initials(&name));
    for (name, source) in BUILT_IN {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

fn text(messages: &Messages, language: Language, key: &str, args: &Kwargs) -> Result<String, Error> {
    let mut filled = Vec::new();
    for name in args.args() {
        let value: Value = args.get(name)?;
        let value = match i64::try_from(value.clone()) {
            Ok(number) => FluentValue::from(number),
            Err(_) => FluentValue::from(value.to_string()),
        };
        filled.push((name, value));
    }
    Ok(messages.text(language, key, &filled))
}

/// A `<time>` that says how long ago, with the exact time for machines and for whoever points at it.
fn time_element(messages: &Messages, language: Language, then: Timestamp, now: Timestamp) -> Value {
    let mut html = format!("<time datetime=\"{then}\" title=\"");
    let _ = escaped(&mut html, &moment::exact(messages, language, then));
    html.push_str("\">");
    let _ = escaped(&mut html, &moment::ago(messages, language, then, now));
    html.push_str("</time>");
    Value::from_safe_string(html)
}

/// The first letters of the first and the last word of a name.
fn initials(name: &str) -> String {
    let letter = |word: &str| word.chars().find(|c| c.is_alphanumeric());
    let mut letters = name.split_whitespace().filter_map(letter);
    let first = letters.next();
    first.into_iter().chain(letters.next_back()).flat_map(char::to_uppercase).collect()
}

/// Prints a value, escaped. Like the engine's own, but it leaves slashes alone, so that addresses stay legible, and
/// prints nothing for "none".
fn escape(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Ok(());
    }
    match value.as_str() {
        Some(text) if !value.is_safe() && *state.auto_escape() == AutoEscape::Html => {
            escaped(out, text).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Escapes what HTML gives a meaning to, in text and in quoted attributes.
fn escaped(out: &mut impl std::fmt::Write, text: &str) -> std::fmt::Result {
    let mut rest = text;
    while let Some(position) = rest.find(['&', '<', '>', '"', '\'']) {
        let (before, after) = rest.split_at(position);
        out.write_str(before)?;
        let mut characters = after.chars();
        out.write_str(match characters.next() {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('"') => "&quot;",
            _ => "&#39;",
        })?;
        rest = characters.as_str();
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn initials_are_the_outer_ones() {
        for (name, expected) in [
            ("Olena Shevchenko", "OS"),
            ("olena", "O"),
            ("Іван Іванович Їжак", "ІЇ"),
            ("نور الدين", "نا"),
            ("  \"Q\"  (x) ", "QX"),
            ("", ""),
            ("!!! ---", ""),
            ("straße ßtraße", "SSS"),
        ] {
            assert_eq!(initials(name), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_escapes_from_its_quotes(text in ".{0,60}") {
            let mut html = String::new();
            escaped(&mut html, &text).unwrap();
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            let back = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
            prop_assert_eq!(back.replace("&amp;", "&"), text);
        }
    }
}
