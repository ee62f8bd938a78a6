//! Every page in every state and language: snapshots of the HTML, promises that hold for all of them, and a gallery
//! to look at.

use std::{collections::BTreeSet, fs, path::Path};

use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use regex::Regex;
use url::Url;

use super::{ErrorPage, Language, Pages, message::Messages, page, template};
use crate::{body::Body, config::portal::Portal};

fn config() -> Portal {
    Portal {
        prefix: "/oauth2".into(),
        public_url: Url::parse("https://app.example.com").unwrap(),
        allowed_hosts: vec![],
        title: "Acme Works".into(),
        logo_url: None,
        accent: "#2f6feb".into(),
        support_url: Some("mailto:help@example.com".into()),
        templates: None,
        language: "en".into(),
        skip_chooser: true,
        after_sign_out: "/oauth2/signed_out".into(),
    }
}

fn pages() -> Pages {
    Pages::open(&config()).unwrap()
}

/// Every page in every state.
fn answers(pages: &Pages, language: Language) -> Vec<(String, Response<Body>)> {
    let mut answers = Vec::new();
    for (name, page) in page::SignIn::samples() {
        answers.push((format!("sign_in-{name}"), pages.sign_in(&page, language)));
    }
    for (name, page) in page::Account::samples() {
        answers.push((format!("account-{name}"), pages.account(&page, language)));
    }
    for (name, page) in page::SignOut::samples() {
        answers.push((format!("sign_out-{name}"), pages.sign_out(&page, language)));
    }
    for (name, page) in page::SignedOut::samples() {
        answers.push((format!("signed_out-{name}"), pages.signed_out(&page, language)));
    }
    for (name, page) in page::Error::samples() {
        answers.push((format!("error-{name}"), pages.error(&page, language)));
    }
    answers
}

fn html(response: Response<Body>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The page without what changes with every touch of the style sheet.
fn steady(html: &str) -> String {
    Regex::new(r"\?v=[0-9a-f]{16}").unwrap().replace_all(html, "?v=HASH").into_owned()
}

#[test]
fn pages_look_as_they_did() {
    let pages = pages();
    for language in Language::ALL {
        for (name, answer) in answers(&pages, language) {
            // Ukrainian differs in its texts alone: the first state of each page and all errors show those.
            let shown = language == Language::English
                || name.starts_with("error-")
                || [
                    "sign_in-remembered",
                    "sign_in-linking",
                    "account-usual",
                    "sign_out-usual",
                    "signed_out-still_in_at_provider",
                ]
                .contains(&name.as_str());
            if shown {
                let name = format!("{name}.{}", language.tag());
                insta::assert_snapshot!(name, steady(&html(answer)));
            }
        }
    }
}

#[test]
fn headers_of_a_page_are_strict() {
    let (_, page) = page::SignOut::samples().swap_remove(0);
    let answer = pages().sign_out(&page, Language::Ukrainian);
    let mut headers: Vec<_> =
        answer.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    insta::assert_snapshot!(headers.join("\n"));
}

#[test]
fn every_page_is_sound() {
    let pages = pages();
    let tags = Regex::new(r"<(/?)([a-z0-9]+)[^>]*?(/?)>").unwrap();
    let ids = Regex::new(r#" id="([^"]+)""#).unwrap();
    let references = Regex::new(r##" (?:aria-labelledby|aria-describedby|for|href)="#?([^"]+)""##).unwrap();
    for language in Language::ALL {
        for (name, answer) in answers(&pages, language) {
            let html = html(answer);
            let count = |pattern: &str| html.matches(pattern).count();
            assert!(html.starts_with("<!doctype html>\n"), "{name}: {}", &html[..40]);
            assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())), "{name}");
            assert_eq!((count("<h1"), count("<main"), count("<header"), count("<title>")), (1, 1, 1, 1), "{name}");
            for forbidden in ["<script", "style=", "<iframe", "onclick", "javascript:", "none", "undefined"] {
                assert!(!html.contains(forbidden), "{name} holds {forbidden}");
            }
            // Every element that is opened is closed, in order.
            let mut open = Vec::new();
            for tag in tags.captures_iter(&html) {
                let element = tag.get(2).unwrap().as_str();
                if ["meta", "link", "img", "input"].contains(&element) || &tag[3] == "/" {
                    continue;
                }
                if &tag[1] == "/" {
                    assert_eq!(open.pop(), Some(element), "{name}");
                } else {
                    open.push(element);
                }
            }
            assert_eq!(open, Vec::<&str>::new(), "{name}");
            // Every id is unique, and every reference has one.
            let all: Vec<_> = ids.captures_iter(&html).map(|found| found[1].to_owned()).collect();
            let unique: BTreeSet<_> = all.iter().cloned().collect();
            assert_eq!(all.len(), unique.len(), "{name}");
            for reference in references.captures_iter(&html) {
                let whole = &reference[0];
                if !whole.contains("href=\"") || whole.contains("href=\"#") {
                    assert!(unique.contains(&reference[1]), "{name}: {whole}");
                }
            }
            // Every form is posted and carries a token.
            assert_eq!(count("<form"), count("method=\"post\""), "{name}");
            assert_eq!(count("<form"), count("name=\"csrf\""), "{name}");
            assert_eq!(count("<img"), count(" alt=\"\""), "{name}");
        }
    }
}

#[test]
fn every_text_a_template_names_exists_and_every_text_is_named() {
    let messages = Messages::built_in().unwrap();
    let named = Regex::new(r#"\bt\("([a-z0-9-]+)""#).unwrap();
    let mut used = BTreeSet::new();
    for (name, source) in template::BUILT_IN {
        for key in named.captures_iter(source) {
            for language in Language::ALL {
                assert!(messages.has(language, &key[1]), "{name}: {}", &key[1]);
            }
            used.insert(key[1].to_owned());
        }
    }
    let code = [include_str!("pages.rs"), include_str!("moment.rs")].concat();
    for line in include_str!("messages/en.ftl").lines() {
        let Some((key, _)) = line.split_once(" =").filter(|_| line.starts_with(char::is_alphabetic)) else { continue };
        let of_an_ending = ErrorPage::ALL
            .into_iter()
            .any(|ending| ["title", "what", "todo"].into_iter().any(|part| ending.text_key(part) == key));
        let of_code = code.contains(&format!("\"{key}\"")) || key == "month";
        assert!(of_an_ending || of_code || used.contains(key), "nothing shows the text {key}");
    }
}

#[test]
fn an_error_for_programs_is_short_and_stable() {
    let page = page::Error {
        sign_in_url: Some("https://app.example.com/oauth2/sign_in?rd=%2F".into()),
        ..page::Error::new(ErrorPage::SignInNeeded, "019abc3f")
    };
    let answer = pages().error_json(&page, Language::English);
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Cookie realm=\"brama\"");
    assert_eq!(
        html(answer),
        r#"{"error":"sign_in_needed","message":"You need to sign in to see this.","reference":"019abc3f","sign_in":"https://app.example.com/oauth2/sign_in?rd=%2F"}"#
    );
    let unavailable = page::Error::new(ErrorPage::StoreUnavailable, "019abc3f");
    let answer = pages().error_json(&unavailable, Language::Ukrainian);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    assert!(!html(answer).contains("sign_in"));
}

#[test]
fn pages_are_shared_by_all_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&pages());
}

#[test]
fn settings_that_would_be_unsafe_are_refused() {
    for (logo, fine) in [
        ("https://cdn.example.com/logo.svg", true),
        ("/logo.svg", true),
        ("http://cdn.example.com/logo.svg", false),
        ("//cdn.example.com/logo.svg", false),
        ("javascript:alert(1)", false),
        ("logo.svg", false),
    ] {
        let config = Portal { logo_url: Some(logo.into()), ..config() };
        assert_eq!(Pages::open(&config).is_ok(), fine, "{logo}");
    }
    for support in ["javascript:alert(1)", "data:text/html,x", "help"] {
        assert!(Pages::open(&Portal { support_url: Some(support.into()), ..config() }).is_err(), "{support}");
    }
    assert!(Pages::open(&Portal { accent: "red".into(), ..config() }).is_err());
    assert!(Pages::open(&Portal { language: "de".into(), ..config() }).is_err());
}

#[test]
fn the_logo_is_shown_and_its_origin_allowed() {
    let config = Portal { logo_url: Some("https://cdn.example.com/a.svg?x=1&y=2".into()), ..config() };
    let answer = Pages::open(&config).unwrap().sign_in(&page::SignIn::default(), Language::English);
    let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("img-src 'self' data: https://cdn.example.com;"), "{policy}");
    assert!(html(answer).contains("src=\"https://cdn.example.com/a.svg?x=1&amp;y=2\""));
}

#[test]
fn a_page_named_like_the_portal_says_its_name_once() {
    let config = Portal { title: "Sign in".into(), ..config() };
    let answer = Pages::open(&config).unwrap().sign_in(&page::SignIn::default(), Language::English);
    assert!(html(answer).contains("<title>Sign in</title>"));
}

#[test]
fn every_error_offers_its_best_way_first() {
    for (name, error) in page::Error::samples() {
        let page = html(pages().error(&error, Language::English));
        let first =
            page.split("button-main\" href=\"").nth(1).and_then(|rest| rest.split_once('>')).map(|(_, rest)| rest);
        let first = first.and_then(|rest| rest.split_once('<')).map(|(label, _)| label);
        let expected = match error.ending {
            _ if name == "bare" => None,
            ErrorPage::ProviderMisconfigured => Some("Choose another way"),
            ErrorPage::NotAdmitted | ErrorPage::NotAllowed | ErrorPage::AccountDisabled => {
                Some("Sign in as someone else")
            }
            ErrorPage::SignInNeeded => Some("Sign in"),
            ErrorPage::BadRequest | ErrorPage::NotFound | ErrorPage::MethodNotAllowed => Some("Go to the start page"),
            _ => Some("Try again"),
        };
        assert_eq!(first, expected, "{name}");
    }
}

/// Writes every page and its assets as files that a browser can open from the disk, beside the build's own output.
#[test]
fn the_gallery_can_be_looked_at() {
    let pages = pages();
    let folder = std::env::current_exe().unwrap().parent().unwrap().join("portal-gallery");
    fs::create_dir_all(folder.join("static")).unwrap();
    let linked = Regex::new(r"/oauth2/static/([a-z0-9.]+)\?v=[0-9a-f]{16}").unwrap();
    for language in Language::ALL {
        for (name, answer) in answers(&pages, language) {
            let html = html(answer);
            for asset in linked.captures_iter(&html) {
                write_asset(&pages, &folder, &asset[1]);
            }
            let html = linked.replace_all(&html, "static/$1");
            fs::write(folder.join(format!("{name}.{}.html", language.tag())), html.as_bytes()).unwrap();
        }
    }
    assert!(folder.join("static/brama.css").exists());
}

fn write_asset(pages: &Pages, folder: &Path, name: &str) {
    let file = folder.join("static").join(name);
    let answer = pages.asset(name, None, &http::HeaderMap::new()).unwrap();
    fs::write(file, html(answer)).unwrap();
}
