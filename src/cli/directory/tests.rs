use std::{fs, path::Path};

use super::{super::accounts::tests::make, *};
use crate::config::load::tests::LEAST;

/// A configuration file in a folder of its own name, with the directory in `brama.db` beside it.
fn configured(folder: &Path, name: &str, directory: &str) -> ConfigFile {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).unwrap();
    let config = folder.join("brama.toml");
    fs::write(&config, format!("{LEAST}[directory]\n{directory}\n")).unwrap();
    ConfigFile { config }
}

fn shown(args: &Args) -> (String, ExitCode) {
    let mut out = Vec::new();
    let code = run(args, &mut Console { out: &mut out, colour: false }).unwrap();
    (String::from_utf8(out).unwrap(), code)
}

fn copying(from: &ConfigFile, to: &ConfigFile, progress: &mut Vec<u8>) -> (String, ExitCode) {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: copy::Args,
    }
    let line = ["copy".as_ref(), "--from".as_ref(), from.config.as_os_str(), "--to".as_ref(), to.config.as_os_str()];
    let mut out = Vec::new();
    let code = copy::run(&Line::parse_from(line).args, &mut Console { out: &mut out, colour: false }, progress);
    (String::from_utf8(out).unwrap(), code.unwrap())
}

#[test]
fn a_schema_that_may_not_be_upgraded_waits_for_migrate() {
    let folder = tempfile::tempdir().unwrap();
    let careful = || configured(folder.path(), "a", "migrate = false");
    let error = run(&Args::Count(careful()), &mut Console { out: &mut Vec::new(), colour: false }).unwrap_err();
    assert!(error.to_string().contains("run `brama directory migrate`"), "{error}");
    let (told, code) = shown(&Args::Migrate(careful()));
    assert_eq!((told.as_str(), code), ("the schema of the accounts (sqlite) is up to date\n", ExitCode::SUCCESS));
    assert_eq!(shown(&Args::Count(careful())).0, "0\n");
}

#[test]
fn a_copy_holds_every_account_however_often_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (configured(folder.path(), "from", ""), configured(folder.path(), "to", ""));
    // More than a page.
    let made = make(&from, 501);
    let mut progress = Vec::new();
    for _ in 0..2 {
        let (told, code) = copying(&from, &to, &mut progress);
        assert_eq!((told.as_str(), code), ("copied 501 accounts, left out 0\n", ExitCode::SUCCESS));
    }
    let progress = String::from_utf8(progress).unwrap();
    assert!(progress.starts_with("500 accounts; to go on from here: --after "), "{progress}");
    let config = to.load().unwrap();
    awaited(async {
        let directory = accounts(&config).await?;
        for account in &made {
            assert_eq!(directory.find(&account.id).await?.as_ref(), Some(account));
        }
        assert_eq!(directory.count().await?, 501);
        Ok(())
    })
    .unwrap();
}

#[test]
fn accounts_in_the_way_are_told_and_fail_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (configured(folder.path(), "from", ""), configured(folder.path(), "to", ""));
    let made = make(&from, 2);
    // The same people, who came there first.
    make(&to, 1);
    let (told, code) = copying(&from, &to, &mut Vec::new());
    assert_eq!(code, ExitCode::FAILURE);
    let line = format!("not copied: {}, for 0 at https://issuer.test is another account's there\n", made[0].id);
    assert_eq!(told, format!("{line}copied 1 accounts, left out 1\n"));
}
