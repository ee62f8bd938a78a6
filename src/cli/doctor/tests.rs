//! Whole examinations, as people and programs are told of them.

use std::{fs, net::TcpListener, path::Path};

use regex::Regex;
use tokio::runtime::Runtime;

use super::*;
use crate::demo::{Parts, Ports};

/// What both forms show of the file `text` in `folder`, with what differs from run to run put out of sight.
struct Shown {
    human: String,
    json: String,
    code: ExitCode,
}

fn shown(folder: &Path, text: &str) -> Shown {
    let path = folder.join("brama.toml");
    fs::write(&path, text).unwrap();
    let args = |json| Args { file: ConfigFile { config: path.clone() }, json, timeout: Duration::from_secs(20) };
    let mut out = Vec::new();
    let code = run(&args(true), &mut Console { out: &mut out, colour: false }).unwrap();
    let mut findings: Vec<Finding> = Vec::new();
    let told: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
    let items =
        ["configuration", "keys", "sessions", "directory", "sink", "provider", "upstream", "listener", "certificate"];
    for one in &told {
        let text = |name: &str| one[name].as_str().map(|text| settled(folder, text));
        let status = match one["status"].as_str().unwrap() {
            "ok" => Status::Ok,
            "warning" => Status::Warning,
            "failed" => Status::Failed,
            other => panic!("no such status: {other}"),
        };
        findings.push(Finding {
            item: items.iter().find(|item| one["item"] == **item).unwrap(),
            subject: text("subject").unwrap(),
            status,
            detail: text("detail").unwrap(),
            remedy: text("remedy"),
        });
    }
    Shown { human: shown::human(&findings, false), json: shown::json(&findings).unwrap(), code }
}

/// Without the folder and the ports of this run.
fn settled(folder: &Path, text: &str) -> String {
    let text = text.replace(&folder.display().to_string(), "DIR");
    let text = Regex::new(r"(127\.0\.0\.1|localhost):\d{4,5}").unwrap().replace_all(&text, "$1:PORT").into_owned();
    Regex::new(r"\(os error \d+\)").unwrap().replace_all(&text, "(os error N)").into_owned()
}

/// A port of the loopback where nobody listens now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn demo(runtime: &Runtime) -> Parts {
    let gateway = url::Url::parse("http://localhost:4180").unwrap();
    runtime.block_on(Parts::start(Ports::FREE, &[gateway])).unwrap()
}

#[test]
fn a_sound_configuration_is_sound_in_every_part() {
    let runtime = app::control_plane().unwrap();
    let parts = demo(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:{}\"\n[admin]\naddress = \"127.0.0.1:{}\"\n\
         [portal]\npublic_url = \"http://localhost:4180\"\n\
         [upstream.app]\ntargets = [\"http://{}\"]\n[[route]]\npath = \"/\"\nupstream = \"app\"\n\
         [event.sink.lines]\nkind = \"file\"\nfile.path = \"events.jsonl\"\n{}",
        free_port(),
        free_port(),
        parts.app.address(),
        parts.providers_toml()
    );
    let shown = shown(folder.path(), &text);
    insta::assert_snapshot!("doctor_sound", shown.human);
    insta::assert_snapshot!("doctor_sound_json", shown.json);
    assert_eq!(shown.code, ExitCode::SUCCESS);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["brama.toml"], "nothing is made");
}

#[test]
fn a_broken_one_is_told_with_all_that_fails() {
    let runtime = app::control_plane().unwrap();
    let parts = demo(&runtime);
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["a.example".into()]).unwrap();
    fs::write(folder.path().join("a.crt"), cert.pem()).unwrap();
    fs::write(folder.path().join("a.key"), signing_key.serialize_pem()).unwrap();
    fs::write(folder.path().join("ca.crt"), "no certificate").unwrap();
    let issuer = parts.oidc.base();
    let text = format!(
        "[[listen]]\naddress = \"{}\"\ntls = true\n\
         [[listen.certificate]]\ncert_file = \"a.key\"\nkey_file = \"a.crt\"\n\
         [admin]\naddress = \"127.0.0.1:{}\"\n\
         [portal]\npublic_url = \"https://a.example\"\n\
         [directory]\nfile = \"gone/brama.db\"\n\
         [upstream.app]\ntargets = [\"http://127.0.0.1:1000\", \"https://{}\", \"unix:/nonexistent/app.sock\"]\n\
         [[route]]\npath = \"/\"\nupstream = \"app\"\n\
         [event.sink.lines]\nkind = \"file\"\nfile.path = \"gone/events.jsonl\"\n\
         [event.sink.hook]\nkind = \"webhook\"\n\
         webhook.url = \"https://127.0.0.1:1000/hook\"\nwebhook.secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         [provider.other]\nkind = \"oidc\"\nlabel = \"Other\"\nissuer = \"{issuer}realms/other\"\n\
         discovery_url = \"{issuer}realms/demo/.well-known/openid-configuration\"\nclient_id = \"a\"\nclient_secret = \"s3cr3t-of-other\"\n\
         [provider.down]\nkind = \"oidc\"\nlabel = \"Down\"\nissuer = \"http://127.0.0.1:1000\"\n\
         client_id = \"a\"\nclient_secret = \"s3cr3t-of-down\"\n",
        taken.local_addr().unwrap(),
        free_port(),
        parts.app.address(),
    );
    let shown = shown(folder.path(), &text);
    assert!(!shown.json.contains("s3cr3t") && !shown.json.contains("whsec"), "{}", shown.json);
    insta::assert_snapshot!("doctor_broken", shown.human);
    insta::assert_snapshot!("doctor_broken_json", shown.json);
    assert_eq!(shown.code, ExitCode::FAILURE);
}

#[test]
fn a_file_with_mistakes_is_shown_as_check_shows_it_and_nothing_else_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("brama.toml");
    fs::write(&path, include_str!("../terrible.toml")).unwrap();
    let told = |json, path: &Path| {
        let mut out = Vec::new();
        let args = Args { file: ConfigFile { config: path.to_owned() }, json, timeout: Duration::from_secs(1) };
        assert_eq!(run(&args, &mut Console { out: &mut out, colour: false }).unwrap(), ExitCode::FAILURE);
        String::from_utf8(out).unwrap()
    };
    let human = told(false, &path);
    assert!(human.contains('^') && human.trim_end().ends_with("warnings") || human.contains(" problems"), "{human}");
    let json = told(true, &path);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert!(findings.iter().all(|finding| finding["item"] == "configuration"), "{json}");
    for secret in ["hunter2", "tops3cret"] {
        assert!(!json.contains(secret) && !human.contains(secret), "a secret is shown:\n{json}");
    }
    let absent = told(true, &folder.path().join("absent.toml"));
    assert!(absent.contains("\"status\": \"failed\"") && absent.contains("--config FILE"), "{absent}");
}

#[test]
fn colours_pad_no_column() {
    let finding = |status| Finding {
        item: "upstream",
        subject: "app\u{1b}[2J".into(),
        status,
        detail: "it can be reached".into(),
        remedy: Some("do so".into()),
    };
    let all = [finding(Status::Ok), finding(Status::Warning), finding(Status::Failed)];
    let painted = shown::human(&all, true);
    let bare = Regex::new("\u{1b}\\[[0-9;]*m").unwrap().replace_all(&painted, "").into_owned();
    assert_eq!(bare, shown::human(&all, false));
    assert!(!bare.contains('\u{1b}') && bare.ends_with("\n1 ok, 1 warning, 1 failed\n"), "{bare}");
}

#[test]
fn a_limit_is_a_duration_above_nothing() {
    assert_eq!(limit("1m 30s"), Ok(Duration::from_secs(90)));
    assert!(limit("0s").is_err() && limit("ten").unwrap_err().contains("such as 10s"));
}
