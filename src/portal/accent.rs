//! The operator's accent colour, made readable wherever it is used.
//!
//! An operator picks one colour; text on it, and text in it on a light and on a dark page, must still have a contrast
//! of at least 4.5 to 1 (WCAG 2.2, 1.4.3). So the variants are computed here instead of hoped for.

use std::fmt::Write as _;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accent([u8; 3]);

const WHITE: Accent = Accent([255; 3]);
const BLACK: Accent = Accent([0; 3]);
/// The darkest surface that accent-coloured text stands on in the light theme (`--accent-soft` of `brama.css`).
const LIGHT_SURFACE: Accent = Accent([0xe6, 0xe9, 0xef]);
/// The lightest surface that accent-coloured text stands on in the dark theme.
const DARK_SURFACE: Accent = Accent([0x2b, 0x30, 0x3b]);
/// The least contrast of text.
const LEAST: f64 = 4.5;

impl Accent {
    /// Reads `#rrggbb`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        let [_, red, green, blue] = value.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// `#rrggbb`.
    pub(crate) fn css(self) -> String {
        let Self([red, green, blue]) = self;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// The custom properties that `brama.css` is written in terms of.
    pub(crate) fn properties(self) -> String {
        let on = if self.contrast(WHITE) >= LEAST { WHITE } else { BLACK };
        let away = if on == WHITE { BLACK } else { WHITE };
        let mut css = String::new();
        let _ = writeln!(
            css,
            ":root{{--accent:{};--on-accent:{};--accent-hover:{};--accent-text:{}}}",
            self.css(),
            on.css(),
            self.toward(away, 0.12).css(),
            self.readable(LIGHT_SURFACE, BLACK).css(),
        );
        let _ = writeln!(
            css,
            "@media (prefers-color-scheme:dark){{:root{{--accent-text:{}}}}}",
            self.readable(DARK_SURFACE, WHITE).css(),
        );
        css
    }

    /// This colour, moved towards `pole` until text in it is readable on `surface`.
    fn readable(self, surface: Self, pole: Self) -> Self {
        (0..=20u8)
            .map(|step| self.toward(pole, f64::from(step) / 20.0))
            .find(|colour| colour.contrast(surface) >= LEAST)
            .unwrap_or(pole)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two channels of 0 to 255")]
    fn toward(self, other: Self, share: f64) -> Self {
        let mut mixed = self.0;
        for (channel, target) in mixed.iter_mut().zip(other.0) {
            *channel = f64::from(*channel).mul_add(1.0 - share, f64::from(target) * share).round() as u8;
        }
        Self(mixed)
    }

    /// Contrast ratio (WCAG 2.2, "contrast ratio").
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// Relative luminance (WCAG 2.2, "relative luminance").
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126f64.mul_add(red, 0.7152f64.mul_add(green, 0.0722 * blue))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        assert_eq!(Accent::parse("#2f6feb").map(Accent::css).as_deref(), Some("#2f6feb"));
        for bad in ["", "2f6feb", "#2f6fe", "#2f6feg", "#2f6feb;", "red", "#ééé"] {
            assert_eq!(Accent::parse(bad), None, "{bad}");
        }
        assert!((WHITE.contrast(BLACK) - 21.0).abs() < 0.01);
    }

    #[test]
    fn every_colour_of_the_style_sheet_can_be_read_where_it_stands() {
        let css = include_str!("assets/brama.css");
        let (light, rest) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let dark = rest.split_once("@media").unwrap().0;
        for (theme, css) in [("light", light), ("dark", dark)] {
            let colour = |name: &str| {
                let start = css.split_once(&format!("--{name}: ")).unwrap().1;
                Accent::parse(&start[..7]).unwrap()
            };
            let text_and_ground = [
                ("ink", "page"),
                ("ink", "card"),
                ("ink", "sunken"),
                ("muted", "page"),
                ("muted", "card"),
                ("muted", "sunken"),
                ("good", "good-soft"),
                ("warn", "warn-soft"),
            ];
            for (text, ground) in text_and_ground {
                let contrast = colour(text).contrast(colour(ground));
                assert!(contrast >= LEAST, "{theme}: {text} on {ground} has {contrast:.2}");
            }
            // The outline of a button must be seen, too (WCAG 2.2, 1.4.11).
            assert!(colour("line-strong").contrast(colour("card")) >= 3.0, "{theme}");
        }
    }

    proptest! {
        #[test]
        fn every_accent_can_be_read(channels in any::<[u8; 3]>()) {
            let accent = Accent(channels);
            prop_assert!(accent.contrast(WHITE).max(accent.contrast(BLACK)) >= LEAST);
            prop_assert!(accent.readable(LIGHT_SURFACE, BLACK).contrast(LIGHT_SURFACE) >= LEAST);
            prop_assert!(accent.readable(DARK_SURFACE, WHITE).contrast(DARK_SURFACE) >= LEAST);
            let on = if accent.contrast(WHITE) >= LEAST { WHITE } else { BLACK };
            let away = if on == WHITE { BLACK } else { WHITE };
            prop_assert!(accent.toward(away, 0.12).contrast(on) >= LEAST);
        }
    }
}
