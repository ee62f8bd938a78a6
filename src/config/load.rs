//! From a file to a [`Config`], or to the list of everything wrong with it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Config, across,
    problem::{Problem, Problems, Severity},
    value::{At, REQUIRED_IS_MISSING, Value as _},
};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file was read, and this is all that is wrong with it.
    #[error("{} in {}", Count(problems), path.display())]
    Invalid {
        /// The file as it was named.
        path: PathBuf,
        /// What is wrong, in the order of the file.
        problems: Vec<Problem>,
        /// The text the problems point into.
        text: String,
    },
}

impl LoadError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name it with --config FILE, or begin with `brama config default > brama.toml`"
            }
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::InvalidData => "save it as UTF-8 text",
            Self::Unreadable { .. } => "let the user who runs brama read it",
            Self::Invalid { .. } => "mend what is listed; `brama check` shows it again",
        }
    }
}

/// "1 problem", "3 problems".
struct Count<'a>(&'a [Problem]);

impl fmt::Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.0.iter().filter(|problem| problem.severity == Severity::Error).count();
        write!(f, "{errors} problem{}", if errors == 1 { "" } else { "s" })
    }
}

/// A file as it was read.
#[derive(Debug)]
pub struct Inspected {
    /// The configuration, when nothing is wrong with it.
    pub config: Option<Config>,
    /// Mistakes and warnings in the order of the file.
    pub problems: Vec<Problem>,
    /// The text the problems point into.
    pub text: String,
}

impl Config {
    /// Reads the configuration from a file.
    ///
    /// # Errors
    /// [`LoadError`] with everything that is wrong, not just the first thing.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let Inspected { config, problems, text } = inspect(path)?;
        config.ok_or_else(|| LoadError::Invalid { path: path.to_owned(), problems, text })
    }
}

/// Reads a file and keeps the warnings too.
///
/// # Errors
/// [`LoadError::Unreadable`] when there is no text to inspect.
pub fn inspect(path: &Path) -> Result<Inspected, LoadError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
    let (config, problems) = read(path, &text);
    Ok(Inspected { config, problems, text })
}

/// Reads `text` as if it stood in the file `path`.
pub fn read(path: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems::new(path, text);
    for error in &errors {
        problems.add(error.span().unwrap_or_default(), "", format!("not TOML: {}", error.message()), "mend the syntax");
    }
    let span = table.span();
    let root = Spanned::new(span, DeValue::Table(table.into_inner()));
    let root = At::new(&root, "");
    across::check_provider_names(&root, &mut problems);
    let config = Config::read(&root, &mut problems);
    let sound = problems.is_empty();
    let mut problems = problems.into_list();
    if !errors.is_empty() {
        drop_echoes(&mut problems);
    }
    (config.filter(|_| sound), problems)
}

/// A line that is not TOML leaves a hole: what then seems missing or wrong on that line is an echo of it.
fn drop_echoes(problems: &mut Vec<Problem>) {
    let broken: Vec<usize> =
        problems.iter().filter(|problem| problem.what.starts_with("not TOML")).map(|problem| problem.line).collect();
    problems.retain(|problem| {
        problem.what.starts_with("not TOML")
            || (problem.what != REQUIRED_IS_MISSING && problem.key != "provider" && !broken.contains(&problem.line))
    });
    problems.dedup_by(|a, b| a.line == b.line && a.what.starts_with("not TOML") && b.what.starts_with("not TOML"));
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of files, sound and broken, so that random text gets past the first bracket.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("[portal]\n".to_owned()),
            Just("[provider.a]\nkind = \"x\"\n".to_owned()),
            Just("[session.redis]\n".to_owned()),
            Just("public_url = \"https://é.example\"\n".to_owned()),
            Just("idle_timeout = ".to_owned()),
            Just("keys = { sealing = [\"\"] }\n".to_owned()),
            Just("\"${\"\n".to_owned()),
            Just("'''".to_owned()),
            "[a-z_]{1,8} = [0-9\"\\[{]{0,4}\n",
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_told_where_it_is_wrong(text in pieces()) {
            let (config, problems) = read(Path::new("brama.toml"), &text);
            prop_assert_eq!(config.is_some(), problems.iter().all(|p| p.severity == Severity::Warning));
            for problem in problems {
                prop_assert!(problem.line >= 1 && problem.line <= text.matches('\n').count() + 1, "{problem:?}");
                prop_assert!(problem.column >= 1 && !problem.what.is_empty() && !problem.remedy.is_empty());
            }
        }
    }

    fn problems(text: &str) -> Vec<String> {
        read(Path::new("brama.toml"), text).1.iter().map(ToString::to_string).collect()
    }

    /// What is wrong with the least file and `extra` after it, a line each.
    pub(crate) fn problems_of(extra: &str) -> String {
        problems(&format!("{LEAST}{extra}\n")).join("\n")
    }

    /// The least that loads.
    pub(crate) const LEAST: &str = r#"
upstream.app.targets = ["http://127.0.0.1:8080"]
route = [{ path = "/", upstream = "app" }]

[portal]
public_url = "https://app.example.com"

[provider.x]
kind = "x"
client_id = "abc"
"#;

    #[test]
    fn the_least_file_loads_with_every_default() {
        let (config, problems) = read(Path::new("brama.toml"), LEAST);
        assert_eq!(problems, []);
        let config = config.unwrap();
        assert_eq!(config.session.idle_timeout.as_secs(), 8 * 3600);
        assert_eq!(config.admin.address.port(), 4179);
        assert_eq!(config.directory.file, Path::new("./brama.db"), "a default path starts at the file's folder too");
    }

    #[test]
    fn an_absent_section_is_asked_for_by_its_required_key() {
        let found = problems("[provider.x]\nkind = \"x\"\nclient_id = \"abc\"\n");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("brama.toml:3:18: portal.public_url: required key is missing"), "{}", found[0]);
    }

    #[test]
    fn contradictions_between_sections_are_found() {
        for (extra, expected) in [
            ("[session]\ncookie_domain = \"other.com\"", "session.cookie_domain"),
            ("[session]\ncookie_domain = \"com\"", "session.cookie_domain"),
            ("[session]\ncookie_domain = \"ample.com\"", "session.cookie_domain"),
            ("[session]\nstore = \"redis\"\nredis = { url = \"redis://h\" }", "keys.sealing_file"),
            ("[provider.Big]\nkind = \"x\"\nlabel = \"Big\"\nclient_id = \"a\"", "provider.Big"),
            ("[provider.y]\nkind = \"x\"\nclient_id = \"a\"", "provider.y.label"),
            ("[provider.g]\nkind = \"google\"\nclient_id = \"a\"", "provider.g.client_secret_file"),
            (
                "[provider.g]\nkind = \"google\"\nclient_id = \"a\"\nclient_secret = \"changeme\"",
                "provider.g.client_secret",
            ),
            ("[admin]\naddress = \"0.0.0.0:4179\"", "admin.token"),
            ("[upstream.b]\ntargets = []", "upstream.b"),
            ("[keys]\nsealing = [\"c2hvcnQ=\"]", "keys.sealing"),
        ] {
            let found = read(Path::new("brama.toml"), &format!("{LEAST}{extra}\n")).1;
            assert!(found.len() == 1 && found[0].key.starts_with(expected), "{extra}: {found:#?}");
        }
        let fine = format!("{LEAST}[session]\ncookie_domain = \"example.com\"\n");
        assert_eq!(problems(&fine), Vec::<String>::new());
    }

    #[test]
    fn a_broken_line_hides_no_other_mistake_and_has_no_echo() {
        let found = problems("[portal]\npublic_url = \ntitle = 5\n[provider.x]\nkind = \"x\"\nclient_id = \"a\"\n");
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains(":2:") && found[0].contains("not TOML"));
        assert!(found[1].contains("portal.title: expected text, found integer"));
    }

    #[test]
    fn an_unreadable_file_says_what_to_do() {
        let error = Config::load(Path::new("/nonexistent/brama.toml")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the configuration file /nonexistent/brama.toml");
        assert!(error.remedy().contains("--config"));
    }
}
