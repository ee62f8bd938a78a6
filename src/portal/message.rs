//! The texts of the pages, from `messages/*.ftl` (Project Fluent), built into the binary.

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

use super::language::Language;

/// The texts of every language.
pub(crate) struct Messages {
    english: FluentBundle<FluentResource>,
    ukrainian: FluentBundle<FluentResource>,
}

/// Why the texts could not be read; only a mistake in the built-in files can cause it, and a test would show that.
#[derive(Debug, thiserror::Error)]
#[error("the built-in messages of language {language} cannot be read: {reason}")]
pub struct BadMessages {
    language: &'static str,
    reason: String,
}

impl Messages {
    /// Reads the built-in texts.
    pub(crate) fn built_in() -> Result<Self, BadMessages> {
        Ok(Self { english: bundle(Language::English, EN)?, ukrainian: bundle(Language::Ukrainian, UK)? })
    }

    /// The text `key` with `args` filled in. A text that is missing shows its key: ugly, but it hides nothing else.
    pub(crate) fn text(&self, language: Language, key: &str, args: &[(&str, FluentValue<'_>)]) -> String {
        let bundle = match language {
            Language::English => &self.english,
            Language::Ukrainian => &self.ukrainian,
        };
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
            tracing::error!(key, language = language.tag(), "a text of the portal is missing");
            return key.to_owned();
        };
        let args: FluentArgs<'_> = args.iter().map(|(name, value)| (*name, value.clone())).collect();
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned();
        for error in errors {
            tracing::error!(key, language = language.tag(), %error, "a text of the portal lacks a value");
        }
        text
    }

    /// True when there is such a text.
    #[cfg(test)]
    pub(crate) fn has(&self, language: Language, key: &str) -> bool {
        match language {
            Language::English => self.english.has_message(key),
            Language::Ukrainian => self.ukrainian.has_message(key),
        }
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

const EN: &str = include_str!("messages/en.ftl");
const UK: &str = include_str!("messages/uk.ftl");

fn bundle(language: Language, text: &str) -> Result<FluentBundle<FluentResource>, BadMessages> {
    let bad = |reason: String| BadMessages { language: language.tag(), reason };
    let id: LanguageIdentifier = language.tag().parse().map_err(|error| bad(format!("{error}")))?;
    let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| bad(format!("{errors:?}")))?;
    let mut bundle = FluentBundle::new_concurrent(vec![id]);
    // Off, because the marks would end up in JSON and in what people copy. Whatever strangers choose (names,
    // addresses) stands in a <bdi> of its own instead of inside a sentence.
    bundle.set_use_isolating(false);
    bundle.add_resource(resource).map_err(|errors| bad(format!("{errors:?}")))?;
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(text: &str) -> BTreeSet<&str> {
        text.lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(" =").map(|(key, _)| key))
            .collect()
    }

    #[test]
    fn every_language_has_the_same_texts() {
        assert!(keys(EN).len() > 100);
        assert_eq!(keys(EN), keys(UK));
        let messages = Messages::built_in().unwrap();
        for key in keys(EN) {
            assert!(messages.has(Language::English, key) && messages.has(Language::Ukrainian, key), "{key}");
        }
    }

    #[test]
    fn every_text_takes_the_same_values_in_every_language() {
        let variables = regex::Regex::new(r"\$[a-z]+").unwrap();
        let of = |text: &'static str| -> Vec<(&str, BTreeSet<&str>)> {
            let mut all: Vec<(&str, BTreeSet<&str>)> = Vec::new();
            for line in text.lines() {
                if let Some((key, _)) = line.split_once(" =").filter(|_| line.starts_with(char::is_alphabetic)) {
                    all.push((key, BTreeSet::new()));
                }
                if let Some((_, found)) = all.last_mut() {
                    found.extend(variables.find_iter(line).map(|found| found.as_str()));
                }
            }
            all
        };
        assert_eq!(of(EN), of(UK));
    }

    #[test]
    fn numbers_take_the_right_form() {
        let messages = Messages::built_in().unwrap();
        let minutes = |language, count: i64| messages.text(language, "time-minutes", &[("count", count.into())]);
        assert_eq!(minutes(Language::English, 1), "a minute ago");
        assert_eq!(minutes(Language::English, 5), "5 minutes ago");
        assert_eq!(minutes(Language::Ukrainian, 21), "21 хвилину тому");
        assert_eq!(minutes(Language::Ukrainian, 3), "3 хвилини тому");
        assert_eq!(minutes(Language::Ukrainian, 12), "12 хвилин тому");
    }

    #[test]
    fn a_missing_text_shows_its_key() {
        assert_eq!(Messages::built_in().unwrap().text(Language::English, "no-such-text", &[]), "no-such-text");
    }
}
