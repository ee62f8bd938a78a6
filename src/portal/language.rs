//! In which language a page speaks.

use fluent_langneg::{LanguageIdentifier, NegotiationStrategy, negotiate_languages};
use http::HeaderValue;

/// A language the pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Ukrainian.
    Ukrainian,
}

/// No browser sends more; whoever does gets the first ones heard.
const MOST_WISHES: usize = 20;

impl Language {
    /// Every language there is.
    pub const ALL: [Self; 2] = [Self::English, Self::Ukrainian];

    /// The language of a BCP 47 tag: also the value of `lang` and of `Content-Language`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Ukrainian => "uk",
        }
    }

    /// The language whose tag this is.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The language that suits a browser best (RFC 9110, 12.5.4), or `default` when we have none it asks for.
    pub fn negotiate(accept_language: Option<&HeaderValue>, default: Self) -> Self {
        let Some(header) = accept_language.and_then(|value| value.to_str().ok()) else { return default };
        let available: Vec<LanguageIdentifier> =
            Self::ALL.into_iter().filter_map(|language| language.tag().parse().ok()).collect();
        negotiate_languages(&wishes(header), &available, None, NegotiationStrategy::Lookup)
            .first()
            .and_then(|found| Self::from_tag(found.language.as_str()))
            .unwrap_or(default)
    }
}

/// The languages a browser asks for, dearest first. `fluent-langneg` has a reader of its own, but it ignores weights.
fn wishes(header: &str) -> Vec<LanguageIdentifier> {
    let mut wishes: Vec<(u16, LanguageIdentifier)> = header
        .split(',')
        .take(MOST_WISHES)
        .filter_map(|wish| {
            let (tag, weight) = wish.split_once(';').unwrap_or((wish, ""));
            Some((thousandths(weight)?, tag.trim().parse().ok()?))
        })
        .collect();
    wishes.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight)); // stable: ties keep the browser's order
    wishes.into_iter().map(|(_, language)| language).collect()
}

/// A weight such as `q=0.8` in thousandths (RFC 9110, 12.4.2); nothing when it says "not this one" or is no weight.
fn thousandths(weight: &str) -> Option<u16> {
    let weight = weight.trim();
    if weight.is_empty() {
        return Some(1000);
    }
    let value: f32 = weight.strip_prefix("q=")?.trim().parse().ok()?;
    let thousandths = (0.0..=1.0).contains(&value).then_some(value * 1000.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000, checked above")]
    Some(thousandths as u16).filter(|weight| *weight > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dearest_language_we_have_is_spoken() {
        use Language::{English, Ukrainian};
        for (header, default, expected) in [
            ("uk", English, Ukrainian),
            ("uk-UA,uk;q=0.9,en-US;q=0.8,en;q=0.7", English, Ukrainian),
            ("en;q=0.1, uk;q=0.9", English, Ukrainian),
            ("en-GB", Ukrainian, English),
            ("pl, de;q=0.5", Ukrainian, Ukrainian),
            ("pl, uk;q=0.2", English, Ukrainian),
            ("uk;q=0, en", Ukrainian, English),
            ("*", Ukrainian, Ukrainian),
            ("", Ukrainian, Ukrainian),
            (";;;,,q=", English, English),
            ("uk;q=7", English, English),
        ] {
            let value = HeaderValue::from_static(header);
            assert_eq!(Language::negotiate(Some(&value), default), expected, "{header:?}");
        }
        assert_eq!(Language::negotiate(None, Ukrainian), Ukrainian);
    }

    proptest! {
        #[test]
        fn no_header_disturbs_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = Language::negotiate(Some(&value), Language::English);
            }
        }
    }
}
