//! The app's one page.

use http::{HeaderMap, Response, StatusCode};

use super::{Seen, decoded, typed};
use crate::body::Body;

const CSS: &str = include_str!("page.css");

/// The identity headers the page looks for, and what they mean.
const IDENTITY: [(&str, &str); 5] = [
    ("x-forwarded-user", "User"),
    ("x-forwarded-email", "E-mail"),
    ("x-forwarded-preferred-username", "Preferred username"),
    ("x-forwarded-groups", "Groups"),
    ("x-auth-origin", "Came by"),
];

const LINKS: [(&str, &str, &str); 7] = [
    ("/reports/2026?quarter=3#summary", "A deep link", "query and fragment survive the sign-in"),
    ("/public", "Public page", "no sign-in needed"),
    ("/admin", "Admin page", "only for the group admins"),
    ("/api/me", "Who am I, as JSON", "401 instead of a redirect without a session"),
    ("/api/echo", "Echo", "what arrived here, as JSON"),
    ("/events", "Server-sent events", "one a second, streamed"),
    ("/oauth2/account", "Account", "the gateway's page: identities and sessions"),
];

pub(super) fn render(seen: &Seen, headers: &HeaderMap) -> Response<Body> {
    let value = |name: &str| headers.get(name).map(decoded);
    let greeting = value("x-forwarded-preferred-username")
        .or_else(|| value("x-forwarded-email"))
        .or_else(|| value("x-forwarded-user"))
        .map_or_else(|| "Hello, whoever you are".to_owned(), |name| format!("Hello, {}", escape(&name)));
    let identity: String = IDENTITY.iter().map(|(name, label)| identity_row(name, label, value(name))).collect();
    let identity = identity + &other_forwarded(headers);
    let links: String = LINKS
        .iter()
        .map(|(href, name, why)| format!("<li><a href=\"{href}\"><b>{name}</b><span>{why}</span></a></li>"))
        .collect();
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>Ledger 2003</title><style>{CSS}</style><body>\
         <header><b>Ledger 2003</b><span>a legacy app that knows nothing of logins</span>\
         <a class=out href=\"/oauth2/sign_out?rd=/public\">Sign out</a></header><main><h1>{greeting}</h1>\
         <p class=request><code>{method} {target}</code> {body}</p>\
         <section><h2>What the gateway says of you</h2><table>{identity}</table></section>\
         <section><h2>Try</h2><ul class=links>{links}</ul></section>\
         <section><details><summary>All request headers</summary><table>{all}</table></details></section></main></body></html>",
        method = escape(&seen.method),
        target = escape(&seen.target),
        body = if seen.body_length > 0 { format!("with a body of {} bytes", seen.body_length) } else { String::new() },
        all = all_headers(headers),
    );
    let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html);
    response.headers_mut().insert(
        http::header::CONTENT_SECURITY_POLICY,
        http::HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    response
}

fn identity_row(name: &str, label: &str, value: Option<String>) -> String {
    let shown = value.map_or_else(|| "<i>did not come</i>".to_owned(), |value| escape(&value));
    format!("<tr><th>{label}<small>{name}</small></th><td>{shown}</td></tr>")
}

/// Whatever else the gateway forwards about the request: host, scheme, addresses, assertions.
fn other_forwarded(headers: &HeaderMap) -> String {
    let ours = |name: &str| {
        (name.starts_with("x-forwarded-") || name.starts_with("x-auth-"))
            && IDENTITY.iter().all(|(known, _)| *known != name)
    };
    let row = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("<tr><th><small>{}</small></th><td>{}</td></tr>", escape(name.as_str()), escape(&decoded(value)))
    };
    headers.iter().filter(|(name, _)| ours(name.as_str())).map(row).collect()
}

fn all_headers(headers: &HeaderMap) -> String {
    let row = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let raw = String::from_utf8_lossy(value.as_bytes()).into_owned();
        format!("<tr><th>{}</th><td><code>{}</code></td></tr>", escape(name.as_str()), escape(&raw))
    };
    headers.iter().map(row).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
