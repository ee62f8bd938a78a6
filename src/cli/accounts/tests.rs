use std::{fs, path::Path};

use clap::Parser as _;

use super::*;
use crate::{
    config::load::tests::LEAST,
    directory::{
        Account, Linked,
        conformance::{NOW, key, person, vouched},
        sql::sqlite::LazyFile,
    },
    session::{NewStored, SessionId},
};

#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    args: Args,
}

/// Signs that many people in.
pub(in crate::cli) fn make(file: &ConfigFile, count: usize) -> Vec<Account> {
    let config = file.load().unwrap();
    let made = awaited(async {
        let directory = accounts(&config).await?;
        let mut made = Vec::new();
        for number in 0..count {
            made.push(directory.sign_in(&person(number), NOW).await?.account);
        }
        Ok(made)
    });
    made.unwrap()
}

fn configured(folder: &Path) -> ConfigFile {
    let config = folder.join("brama.toml");
    fs::write(&config, LEAST).unwrap();
    ConfigFile { config }
}

/// What a command line tells, or why it fails.
fn told(file: &ConfigFile, line: &[&str]) -> Result<String, String> {
    let config = file.config.to_str().unwrap();
    let (name, rest) = line.split_first().unwrap();
    let line = [["accounts", name, "--config", config].as_slice(), rest].concat();
    let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    match run(&line.args, &mut Console { out: &mut out, colour: false }) {
        Ok(code) => {
            assert_eq!(code, ExitCode::SUCCESS);
            Ok(String::from_utf8(out).unwrap())
        }
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Begins a session past the gateway.
fn begin_session(file: &ConfigFile, account: &Account) {
    let config = file.load().unwrap();
    let key = SessionId::fresh().key();
    let identity = account.identities[0].origin.key.clone();
    let expires_at = NOW.plus(std::time::Duration::from_secs(60));
    let new = NewStored { key, account: account.id, identity, sid: None, sealed: vec![1], last_seen: NOW, expires_at };
    awaited(async {
        let store = crate::session::open(&config.session, &LazyFile::at(&config.directory.file)).await?;
        Ok(store.begin(new, None).await?)
    })
    .unwrap();
}

#[test]
fn a_list_is_a_table_with_pages() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    assert_eq!(told(&file, &["list"]).unwrap(), "no accounts\n");
    let made = make(&file, 3);
    let first = told(&file, &["list", "--limit", "2"]).unwrap();
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["ID", "SIGNED", "IN", "STATE", "PROVIDERS", "E-MAIL"]);
    let cursor = lines[4].strip_prefix("there are more: --after ").unwrap();
    let second = told(&file, &["list", "--after", cursor]).unwrap();
    assert!(!second.contains("there are more"), "{second}");
    for account in &made {
        let id = account.id.to_string();
        assert!(first.contains(&id) != second.contains(&id), "on one page: {id}");
    }
    let found = told(&file, &["list", "--email", "1@EXAMPLE.test"]).unwrap();
    let expected = format!("{}  2023-11-14T22:13:20Z  open   google     1@example.test", made[1].id);
    assert_eq!(found.lines().nth(1), Some(expected.as_str()));
    assert_eq!(found.lines().count(), 2);
}

#[test]
fn json_holds_whole_accounts_and_the_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let made = make(&file, 2);
    let page: serde_json::Value =
        serde_json::from_str(&told(&file, &["list", "--limit", "1", "--json"]).unwrap()).unwrap();
    let listed: Account = serde_json::from_value(page["accounts"][0].clone()).unwrap();
    assert!(made.contains(&listed) && page["next"].is_string(), "{page}");
    let id = made[0].id.to_string();
    let shown: Account = serde_json::from_str(&told(&file, &["show", &id, "--json"]).unwrap()).unwrap();
    assert_eq!(shown, made[0]);
}

#[test]
fn one_account_is_shown_with_its_identities_and_nothing_that_commands_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let config = file.load().unwrap();
    let id = make(&file, 1)[0].id;
    let second = vouched(key("https://other.test", "sub\u{2028}ject"), "second@example.test");
    let linked = awaited(async { Ok(accounts(&config).await?.link(&id, &second, NOW).await?) }).unwrap();
    assert!(matches!(linked, Linked::Done(_)));
    let shown = told(&file, &["show", &id.to_string()]).unwrap();
    assert!(!shown.contains('\0'), "{shown:?}");
    insta::assert_snapshot!("show", shown.replace(&id.to_string(), "ID"));
}

#[test]
fn a_shut_account_loses_its_sessions_and_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let account = make(&file, 1).remove(0);
    let id = account.id.to_string();
    begin_session(&file, &account);
    begin_session(&file, &account);
    assert_eq!(told(&file, &["disable", &id]).unwrap(), format!("{id} is shut; 2 sessions ended\n"));
    assert_eq!(told(&file, &["disable", &id]).unwrap(), format!("{id} is shut; 0 sessions ended\n"));
    assert!(told(&file, &["list"]).unwrap().contains("shut"));
    assert_eq!(told(&file, &["enable", &id]).unwrap(), format!("{id} is open\n"));
    assert!(told(&file, &["list"]).unwrap().contains("open"));
}

#[test]
fn the_last_identity_is_not_taken_and_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let config = file.load().unwrap();
    let account = make(&file, 1).remove(0);
    let id = account.id.to_string();
    let error = told(&file, &["unlink", &id, "https://issuer.test", "0"]).unwrap_err();
    assert!(error.contains("the last identity") && error.contains("brama accounts delete"), "{error}");
    awaited(async { Ok(accounts(&config).await?.link(&account.id, &person(7), NOW).await?) }).unwrap();
    begin_session(&file, &account);
    let done = told(&file, &["unlink", &id, "https://issuer.test", "0"]).unwrap();
    assert_eq!(done, format!("{id} has 1 identity left; 1 session ended\n"));
    let error = told(&file, &["unlink", &id, "https://issuer.test", "0"]).unwrap_err();
    assert!(error.contains("no such identity"), "{error}");
}

#[test]
fn a_deleted_account_is_gone_with_its_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path());
    let account = make(&file, 1).remove(0);
    let id = account.id.to_string();
    begin_session(&file, &account);
    assert_eq!(told(&file, &["delete", &id]).unwrap(), format!("{id} is deleted; 1 session ended\n"));
    for command in ["show", "disable", "enable", "delete"] {
        let error = told(&file, &[command, &id]).unwrap_err();
        assert!(error.contains("there is no account") && error.contains("--email"), "{command}: {error}");
    }
    assert!(told(&file, &["show", "nonsense"]).unwrap_err().contains("not an account id"));
}
