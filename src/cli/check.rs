//! `brama check`: everything that is wrong with a configuration file.

use std::{path::PathBuf, process::ExitCode};

use super::{Console, report};
use crate::config::load;

/// Where the configuration file is looked for when nobody says.
pub(super) const DEFAULT_FILE: &str = "brama.toml";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "BRAMA_CONFIG", hide_env_values = true, default_value = DEFAULT_FILE)]
    config: PathBuf,
}

/// Shows every mistake; the exit code is 1 when there is one. Warnings are shown and do not count.
pub(super) fn run(args: &Args, console: &mut Console<'_>) -> anyhow::Result<ExitCode> {
    let inspected = load::inspect(&args.config)?;
    console.out.write_all(report::render(&inspected.problems, &inspected.text, console.colour).as_bytes())?;
    writeln!(console.out, "{}", report::summary(&args.config, &inspected.problems, console.colour))?;
    Ok(if inspected.config.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(text: &str) -> (String, ExitCode) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.toml");
        fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let args = Args { config: path };
        let code = run(&args, &mut Console { out: &mut out, colour: false }).unwrap();
        let shown = String::from_utf8(out).unwrap();
        (shown.replace(&format!("{}/", folder.path().display()), ""), code)
    }

    #[test]
    fn a_terrible_file_is_shown_with_every_mistake() {
        let (shown, code) = check(include_str!("terrible.toml"));
        assert_eq!(code, ExitCode::FAILURE);
        for secret in ["hunter2", "tops3cret"] {
            assert!(!shown.contains(secret), "a secret is shown:\n{shown}");
        }
        insta::assert_snapshot!("check_terrible", shown);
    }

    #[test]
    fn a_file_that_is_not_toml_is_shown_with_what_else_is_wrong() {
        let (shown, code) =
            check("[portal\npublic_url = \"https://a.example\"\n[session]\nidle_timout = \"8h\"\nx = = 3\n");
        assert_eq!(code, ExitCode::FAILURE);
        insta::assert_snapshot!("check_syntax", shown);
    }

    #[test]
    fn a_sound_file_is_called_so() {
        let (shown, code) = check(crate::config::load::tests::LEAST);
        assert_eq!((shown.as_str(), code), ("brama.toml: OK\n", ExitCode::SUCCESS));
    }

    #[test]
    fn a_file_everyone_may_read_is_warned_of_and_does_not_fail() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "s3cr3t-of-google").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        let (shown, code) = check(&format!(
            "upstream.app.targets = [\"http://127.0.0.1:8080\"]\nroute = [{{ path = \"/\", upstream = \"app\" }}]\n\
             [portal]\npublic_url = \"https://a.example\"\n[provider.google]\nkind = \"google\"\nclient_id = \"a\"\n\
             client_secret_file = \"{}\"\n",
            secret.display()
        ));
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            shown.contains("warning: provider.google.client_secret_file: everyone on this host may read"),
            "{shown}"
        );
        assert!(shown.ends_with("brama.toml: OK, 1 warning\n"), "{shown}");
    }
}
