//! The files of `config/examples` must load; only their secrets are made up here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Config, keys, load,
    value::{Shape, Value as _},
};

#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files: Vec<PathBuf> = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4);
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        let text = with_secrets(&fs::read_to_string(&file).unwrap(), folder.path());
        let (_, mut problems) = load::read(&folder.path().join("brama.toml"), &text);
        problems.retain(|problem| problem.what != "unknown key" || is_known(&problem.key));
        assert!(problems.is_empty(), "{}: {problems:#?}", file.display());
    }
}

/// The configuration written inside a Compose file of `docs/compose`, where `$$` stands for one `$`.
#[test]
fn the_configuration_inside_a_compose_file_loads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compose/mongodb.yml");
    let compose = fs::read_to_string(&file).unwrap();
    let (_, content) = compose.split_once("    content: |\n").expect("it holds a configuration");
    let lines = content.lines().take_while(|line| line.is_empty() || line.starts_with("      "));
    let text = lines.collect::<Vec<_>>().join("\n").replace("$$", "$");
    let folder = tempfile::tempdir().unwrap();
    let (_, problems) = load::read(&folder.path().join("brama.toml"), &with_secrets(&text, folder.path()));
    assert!(problems.is_empty(), "{problems:#?}");
}

/// False for a section this build has not got at all.
fn is_known(key: &str) -> bool {
    let Shape::Table { keys, .. } = Config::shape() else { return true };
    keys.iter().any(|section| key.split('.').next() == Some(section.name))
}

/// Fills in `${NAME}` and makes the files named in `*_file`, as an operator would.
fn with_secrets(text: &str, folder: &Path) -> String {
    let variable = regex::Regex::new(r"\$\{[A-Z_]+\}").unwrap();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        if key.ends_with("_file") {
            let path = folder.join(value.trim_matches('"'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("{}\n", keys::fresh().expose())).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).unwrap();
        }
    }
    variable.replace_all(text, "a-secret-from-the-environment").into_owned()
}
