//! Problems as people read them: place, key, what, the line with a caret under it, what to do.
//!
//! A line that may hold a secret is shown only up to the secret.

use std::{fmt::Write as _, path::Path};

use crate::config::problem::{Problem, Severity};

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

    pub(super) fn error(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    pub(super) fn remedy(self, text: &str) -> String {
        self.wrap("36", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// All problems, each with its line of `text`.
pub(super) fn render(problems: &[Problem], text: &str, colour: bool) -> String {
    let paint = Paint::new(colour);
    let mut out = String::new();
    for problem in problems {
        let place = format!("{}:{}:{}:", problem.file.display(), problem.line, problem.column);
        let _ = write!(out, "{} ", paint.strong(&place));
        if problem.severity == Severity::Warning {
            let _ = write!(out, "{} ", paint.warning("warning:"));
        }
        if !problem.key.is_empty() {
            let _ = write!(out, "{}: ", problem.key.escape_debug());
        }
        let _ = writeln!(out, "{}", plain(&problem.what));
        excerpt(&mut out, problem, text, paint);
        let _ = writeln!(out, "    {}\n", paint.remedy(&plain(&problem.remedy)));
    }
    out
}

/// One line on the file as a whole.
pub(super) fn summary(path: &Path, problems: &[Problem], colour: bool) -> String {
    let paint = Paint::new(colour);
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = match errors {
        0 => paint.good("OK"),
        _ => paint.error(&plural(errors, "problem")),
    };
    let also = if warnings == 0 { String::new() } else { format!(", {}", plural(warnings, "warning")) };
    format!("{}: {verdict}{also}", path.display())
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// The offending line and a caret under what is meant.
fn excerpt(out: &mut String, problem: &Problem, text: &str, paint: Paint) {
    const LONGEST: usize = 140;
    let Some(line) = text.lines().nth(problem.line.saturating_sub(1)) else { return };
    let shown: String = without_secret(&plain(line), &problem.key).chars().take(LONGEST).collect();
    let length = shown.chars().count();
    let start = problem.column.saturating_sub(1).min(length);
    let width = problem.width.clamp(1, length.saturating_sub(start).max(1));
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    let _ = writeln!(out, "    {} {shown}", paint.faint(&format!("{number} |")));
    let caret = format!("{}{}", " ".repeat(start), paint.error(&"^".repeat(width)));
    let _ = writeln!(out, "    {} {caret}", paint.faint(&format!("{gutter} |")));
}

/// Text without control characters, which could command the terminal. Every character stays one character wide.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The line up to the first quoted text when that may be a secret, or an address with a password in it.
fn without_secret(line: &str, key: &str) -> String {
    const WORDS: &[&str] = &["secret", "password", "token", "sealing", "key"];
    let holds = |text: &str| {
        let text = text.to_lowercase().replace("_file", "");
        WORDS.iter().any(|word| text.contains(word))
    };
    let name = line.trim_start().split(['=', ' ']).next().unwrap_or_default();
    let own_key = key.rsplit('.').next().unwrap_or_default();
    let address = |name: &str| name.ends_with("_file") || name.ends_with("_url");
    let suspicious = holds(line) || (holds(own_key) && !address(own_key));
    if !line.contains('@') && (!suspicious || (address(name) && !line.contains('{'))) {
        return line.to_owned();
    }
    match line.find(['"', '\'']) {
        Some(start) => format!("{}\"…\"", line.get(..start).unwrap_or_default()),
        None => match line.split_once('=') {
            Some((name, value)) if !value.trim().is_empty() => format!("{name}= …"),
            _ => line.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_up_to_its_secret() {
        for (line, key, shown) in [
            ("client_secret = \"hunter2\"", "provider.x.client_secret", "client_secret = \"…\""),
            ("client_secret = hunter2", "", "client_secret = …"),
            ("  \"c2hvcnQ=\",", "keys.sealing[0]", "  \"…\""),
            ("url = \"redis://:hunter2@h\"", "session.redis.url", "url = \"…\""),
            ("redis = { url = \"redis://h\", password = \"hunter2\" }", "session.redis", "redis = { url = \"…\""),
            (
                "client_secret_file = \"run/secret\"",
                "provider.x.client_secret_file",
                "client_secret_file = \"run/secret\"",
            ),
            ("title = \"Sign in\"", "portal.title", "title = \"Sign in\""),
        ] {
            assert_eq!(without_secret(line, key), shown, "{line}");
        }
    }

    #[test]
    fn colours_appear_only_when_wanted() {
        let problem = Problem {
            severity: Severity::Error,
            file: "a.toml".into(),
            line: 1,
            column: 1,
            width: 3,
            key: "k".into(),
            what: "bad \x1b[2J".into(),
            remedy: "mend".into(),
        };
        assert!(!render(std::slice::from_ref(&problem), "k\t= 1", false).contains('\x1b'));
        assert!(render(&[problem], "k\t= 1", true).contains("\x1b[1;31m^^^"));
    }
}
