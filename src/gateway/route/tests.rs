//! Which route a request falls under, and which spellings fall under none.

use std::sync::Arc;

use http::{HeaderMap, Request};

use super::*;
use crate::{
    config::{
        forwarded::{Believe, Forwarded},
        headers::Headers,
        problem::Problems,
        value::{At, Value as _},
    },
    gateway::{
        peer::{Caller, Scheme, TrustedProxies},
        target::{KnownHosts, Line},
    },
};

fn plan() -> HeaderPlan {
    let headers = Headers {
        set: Default::default(),
        dangerous_send_unverified_email: false,
        strip: vec![],
        assertion_header: "x-brama-assertion".into(),
        assertion_life: Duration::from_secs(300),
    };
    HeaderPlan::build(&headers, false).unwrap()
}

/// Reads `[[route]]` tables as the configuration file has them.
fn read(text: &str) -> Result<Vec<config::route::Route>, Vec<String>> {
    let table = toml::de::DeTable::parse(text).unwrap();
    let whole = toml::Spanned::new(0..text.len(), toml::de::DeValue::Table(table.get_ref().clone()));
    let mut problems = Problems::new("brama.toml", text);
    let at = At::new(&whole, "");
    let list = at.child("route").unwrap();
    let routes = Vec::<config::route::Route>::read(&list, &mut problems);
    if let Some(routes) = &routes {
        config::route::check_routes(routes, &list, &mut problems);
        let (provider, set) = (|name: &str| name == "google", |name: &str| name == "own");
        config::route::check_names(routes, |name| name.len() < 10, provider, set, &list, &mut problems);
    }
    if problems.is_empty() {
        return Ok(routes.unwrap());
    }
    Err(problems.into_list().into_iter().map(|problem| format!("{}: {}", problem.key, problem.what)).collect())
}

fn table(text: &str) -> RouteTable {
    RouteTable::build(&read(text).unwrap(), &plan(), &Authorities::new()).unwrap()
}

fn target(host: &str, path: &str) -> Target {
    let nobody = Forwarded { trusted_proxies: vec![], trust_unix_sockets: false, believe: Believe::XForwarded };
    let peer = Caller::new(None, Scheme::Https, &Arc::new(TrustedProxies::new(&nobody))).peer(&HeaderMap::new());
    let request = Request::builder().uri(path).header("host", host).body(()).unwrap();
    Target::parse(Line::from(&request), &peer, &KnownHosts::default()).unwrap()
}

/// The upstream's name, or why there is none.
fn find(table: &RouteTable, host: &str, method: &Method, path: &str) -> String {
    match table.find(&target(host, path), method) {
        Ok(route) => route.upstream.to_string(),
        Err(why) => format!("{why:?}"),
    }
}

#[test]
fn the_most_specific_host_wins_and_others_follow_where_it_has_no_path() {
    let table = table(
        r#"
        [[route]]
        upstream = "any"
        [[route]]
        host = "App.Example.com"
        path = "/a"
        upstream = "exact"
        [[route]]
        host = "*.example.com"
        upstream = "one"
        [[route]]
        host = "**.example.com"
        upstream = "deep"
        [[route]]
        host = "**.b.example.com"
        upstream = "deeper"
        "#,
    );
    for (host, path, upstream) in [
        ("app.example.com", "/a", "exact"),
        ("APP.example.com.:8443", "/a/x", "exact"),
        ("app.example.com", "/ab", "one"),
        ("other.example.com", "/", "one"),
        ("x.y.example.com", "/", "deep"),
        ("x.b.example.com", "/", "deeper"),
        ("b.example.com", "/", "one"),
        ("example.com", "/", "any"),
        ("badexample.com", "/", "any"),
        ("app.example.com.evil.test", "/a", "any"),
    ] {
        assert_eq!(find(&table, host, &Method::GET, path), upstream, "{host}{path}");
    }
}

#[test]
fn the_most_specific_path_wins() {
    let table = table(
        r#"
        [[route]]
        path = "/"
        upstream = "root"
        [[route]]
        path_regex = '/img/.*\.png|.*\.css'
        upstream = "regex"
        [[route]]
        path_regex = '.*\.css'
        host = "x.test"
        upstream = "hosted"
        [[route]]
        path = "/api"
        upstream = "api"
        [[route]]
        path = "/api/v2/"
        upstream = "v2"
        [[route]]
        path_exact = "/api/v2"
        upstream = "exactly"
        [[route]]
        path_exact = "/"
        upstream = "home"
        [[route]]
        path = "/api"
        methods = ["POST"]
        upstream = "post"
        "#,
    );
    for (method, path, upstream) in [
        (Method::GET, "/", "home"),
        (Method::GET, "/x", "root"),
        (Method::GET, "/api", "api"),
        (Method::GET, "/api/", "api"),
        (Method::GET, "/api?x=/api/v2", "api"),
        (Method::GET, "/apix", "root"),
        (Method::GET, "/API", "root"),
        (Method::GET, "/api/v2", "exactly"),
        (Method::GET, "/api/v2/", "v2"),
        (Method::GET, "/api/v2/x", "v2"),
        (Method::GET, "/api/v22", "api"),
        (Method::POST, "/api/x", "post"),
        (Method::POST, "/api/v2/x", "v2"),
        (Method::GET, "/img/a.png", "regex"),
        (Method::GET, "/a.css", "regex"),
        (Method::GET, "/a.css.php", "root"),
        (Method::GET, "/x?y=/a.css", "root"),
        (Method::GET, "/api/a.css", "api"),
        (Method::GET, "/api/../a.css", "regex"),
    ] {
        assert_eq!(find(&table, "app.test", &method, path), upstream, "{method} {path}");
    }
    assert_eq!(find(&table, "x.test", &Method::GET, "/a.css"), "hosted");
}

#[test]
fn nothing_is_found_where_nothing_matches() {
    let table = table("[[route]]\npath = \"/a\"\nupstream = \"a\"\nhost = \"a.test\"\nmethods = [\"GET\"]");
    assert_eq!(find(&table, "a.test", &Method::GET, "/b"), "NotFound");
    assert_eq!(find(&table, "b.test", &Method::GET, "/a"), "NotFound");
    assert_eq!(find(&table, "a.test", &Method::PUT, "/a"), "NotFound");
}

#[test]
fn no_spelling_leads_from_a_public_route_to_a_protected_path() {
    let table = table(
        r#"
        [[route]]
        upstream = "app"
        [[route]]
        path = "/public"
        auth = "none"
        upstream = "public"
        [[route]]
        path = "/encoded"
        auth = "none"
        allow_encoded_slash = true
        upstream = "encoded"
        [[route]]
        path = "/@admin"
        upstream = "admin"
        [[route]]
        path_regex = '.*\.css'
        auth = "none"
        upstream = "css"
        "#,
    );
    for (attack, path, found) in [
        ("dot segments", "/public/../admin", "app"),
        ("escaped dot segments", "/public/%2e%2e/admin", "app"),
        ("double slash", "/public//../admin", "app"),
        ("Tomcat's dot segments", "/public/..;/admin", "Ambiguous"),
        ("Tomcat's, with a value", "/public/..;x=1/admin", "Ambiguous"),
        ("Tomcat's, escaped", "/public/..%3B/admin", "Ambiguous"),
        ("double encoding", "/public/%252e%252e/admin", "Ambiguous"),
        ("triple encoding", "/public/%25252e%25252e/admin", "Ambiguous"),
        ("far too much encoding", "/public/%25252525252e", "Path(EscapedTooOften)"),
        ("encoded slash", "/public%2f..%2fadmin", "EncodedSlash"),
        ("encoded slash below", "/public/a%2fb", "EncodedSlash"),
        ("encoded backslash below", "/public/a%5cb", "EncodedSlash"),
        ("encoded slash where allowed", "/encoded/a%2Fb", "encoded"),
        ("encoded slash that leads out", "/encoded/..%2fadmin", "Ambiguous"),
        ("encoded slash before", "/x%2f..%2fpublic/y", "EncodedSlash"),
        ("double-encoded slash that leads out", "/encoded/..%252fadmin", "Ambiguous"),
        ("double-encoded NUL", "/public/%2500", "Path(Control)"),
        ("escaped at sign before a stricter route", "/%40admin", "Ambiguous"),
        ("escaped question mark", "/public%3Fx", "Ambiguous"),
        ("a parameter on a protected path", "/public;x/../admin", "app"),
        ("parameters that change nothing", "/public/app;v=1/x", "public"),
        ("an escaped space", "/public/a%20b", "public"),
        ("a non-ASCII name", "/public/п", "public"),
        ("a style sheet", "/a.css", "css"),
        ("a style sheet by parameter", "/admin;.css", "Ambiguous"),
        ("a style sheet by escaped question mark", "/admin%3F.css", "Ambiguous"),
        ("a style sheet by escaped percent sign", "/admin%25.css", "Ambiguous"),
        ("a style sheet by query", "/admin?.css", "app"),
    ] {
        assert_eq!(find(&table, "app.test", &Method::GET, path), found, "{attack}: {path}");
    }
}

#[test]
fn a_prefix_is_taken_off_or_exchanged() {
    for (config, path, upstream) in [
        ("path = \"/api\"\nstrip_prefix = true", "/api/x?y", "/x?y"),
        ("path = \"/api\"\nstrip_prefix = true", "/api", "/"),
        ("path = \"/api\"\nstrip_prefix = true", "/api?y=/api", "/?y=/api"),
        ("path = \"/api/\"\nstrip_prefix = true", "/api/x/", "/x/"),
        ("path = \"/api\"\nrewrite = \"/v2\"", "/api/x", "/v2/x"),
        ("path = \"/api\"\nrewrite = \"/v2/\"", "/api", "/v2"),
        ("path = \"/\"\nrewrite = \"/app\"", "/x", "/app/x"),
        ("path = \"/\"\nrewrite = \"/app\"", "/", "/app/"),
        ("path = \"/api\"", "/api/%7ex?y", "/api/~x?y"),
    ] {
        let table = table(&format!("[[route]]\nupstream = \"a\"\n{config}"));
        let target = target("a.test", path);
        let route = table.find(&target, &Method::GET).unwrap();
        assert_eq!(route.upstream_target(&target).as_str(), upstream, "{config} {path}");
    }
}

#[test]
fn websocket_origins_are_compared_whole() {
    let table = table("[[route]]\nupstream = \"a\"\nwebsocket_origins = [\"https://b.test\"]");
    let route = &table.routes()[0];
    for (origin, passes) in [
        (None, true),
        (Some("https://a.test"), true),
        (Some("https://b.test"), true),
        (Some("https://b.test.evil.test"), false),
        (Some("http://b.test"), false),
        (Some("null"), false),
        (Some(""), false),
    ] {
        assert_eq!(route.lets_websocket_in(origin, "https://a.test"), passes, "{origin:?}");
    }
}

#[test]
fn contradictions_in_the_file_are_found_with_their_key() {
    for (config, problem) in [
        ("path = \"api\"", "route[0].path"),
        ("path = \"/a/../b\"", "route[0].path"),
        ("path = \"/%61\"", "route[0].path"),
        ("path = \"/%40\"", "route[0].path"),
        ("path = \"/a?b\"", "route[0].path"),
        ("path = \"/a;b\"", "route[0].path"),
        ("path_regex = \"a)|(b\"", "route[0].path_regex"),
        ("path = \"/a\"\npath_exact = \"/b\"", "route[0].path"),
        ("auth = \"none\"\nallow = [{ group = \"x\" }]", "route[0].auth"),
        ("auth = \"none\"\nassertion = true", "route[0].auth"),
        ("allow = [{}]", "route[0].allow[0]"),
        ("deny = [{ email = \"x\" }]", "route[0].deny[0].email"),
        ("methods = [\"get\"]", "route[0].methods"),
        ("host = \"a b\"", "route[0].host"),
        ("host = \"a.test:80\"", "route[0].host"),
        ("websocket_origins = [\"https://a.test/\"]", "route[0].websocket_origins"),
        ("strip_prefix = true\npath_exact = \"/a\"", "route[0].path"),
        ("[[route]]\nupstream = \"b\"\npath = \"/\"", "route"),
        ("[[route]]\nupstream = \"nobody has it\"\npath = \"/x\"", "route"),
        ("headers = \"nobody has it\"", "route"),
        ("deny = [{ provider = \"gogle\" }]", "route"),
    ] {
        let problems = read(&format!("[[route]]\nupstream = \"a\"\n{config}")).unwrap_err();
        assert!(problems.iter().any(|found| found.starts_with(&format!("{problem}: "))), "{config}: {problems:?}");
    }
}

#[test]
fn an_identity_header_is_never_an_allowed_trailer() {
    let table = table("[[route]]\nupstream = \"a\"\nallow_trailers = [\"grpc-status\", \"x-forwarded-user\"]");
    assert_eq!(&*table.routes()[0].allow_trailers, [HeaderName::from_static("grpc-status")]);
}

#[test]
fn a_table_of_many_routes_finds_each() {
    let text: String = (0..1000).map(|n| format!("[[route]]\npath = \"/app{n}/x\"\nupstream = \"u{n}\"\n")).collect();
    let table = table(&text);
    for n in [0, 1, 499, 999] {
        assert_eq!(find(&table, "a.test", &Method::GET, &format!("/app{n}/x/y")), format!("u{n}"));
    }
}
