//! Requests as browsers, and others, send them.

use proptest::prelude::*;

use super::*;

fn config(domain: Option<&str>) -> Config {
    Config {
        store: crate::config::session::Store::Embedded,
        idle_timeout: Duration::from_secs(1),
        absolute_timeout: Duration::from_secs(1),
        cookie_name: "brama".into(),
        cookie_domain: domain.map(Into::into),
        renew_before: Duration::ZERO,
        outage_grace: Duration::ZERO,
        cache_capacity: 1,
        remember_origin: Duration::ZERO,
        login_timeout: Duration::ZERO,
        redis: None,
    }
}

fn cookies() -> Cookies {
    Cookies::new(&config(None), &Url::parse("https://app.example.com").unwrap()).unwrap()
}

fn request(fields: &[&str]) -> HeaderMap {
    fields.iter().map(|field| (COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap())).collect()
}

fn removed(fields: &[&str]) -> Vec<String> {
    let mut headers = request(fields);
    cookies().part(&headers).1.leave(&mut headers);
    headers.get_all(COOKIE).iter().map(|field| field.to_str().unwrap().to_owned()).collect()
}

#[test]
fn ours_are_removed_and_others_pass_as_they_were() {
    for (before, after) in [
        (vec!["__Host-brama=x"], vec![]),
        (vec!["a=1; __Host-brama=x; b=2"], vec!["a=1; b=2"]),
        (vec!["__Host-brama=x; a=1"], vec!["a=1"]),
        (vec!["a=1;__Host-brama=x"], vec!["a=1"]),
        (vec!["a=1;  b = 2 ;__Host-brama-login-abc=y;c"], vec!["a=1;  b = 2 ;c"]),
        (vec!["__Host-brama-origin=z;__Secure-brama=q;brama=w; brama-login-1=v"], vec![]),
        // HTTP/2 splits the field into crumbs (RFC 9113, 8.2.3).
        (vec!["a=1", "__Host-brama=x", "b=2"], vec!["a=1; b=2"]),
        (vec!["a=1", "b=2"], vec!["a=1; b=2"]),
        // Not ours, though they look like it.
        (vec!["brama2=1; bramax=2; xbrama=3; BRAMA=4"], vec!["brama2=1; bramax=2; xbrama=3; BRAMA=4"]),
        (vec!["a=__Host-brama=x"], vec!["a=__Host-brama=x"]),
        (vec!["brama-other=1; brama-originals=2"], vec!["brama-other=1; brama-originals=2"]),
        // A lenient app takes these for ours.
        (vec!["a=1; __Host-brama =x; __Host-brama; b=2"], vec!["a=1; b=2"]),
        (vec!["a=\"1; __Host-brama=x; 2\""], vec!["a=\"1; 2\""]),
        (vec![" ;; a=1;"], vec![" ;; a=1;"]),
    ] {
        assert_eq!(removed(&before), after, "{before:?}");
    }
}

#[test]
fn the_session_is_found_in_any_crumb_and_two_are_none() {
    let cookies = cookies();
    let id = SessionId::fresh();
    let good = format!("__Host-brama={}", id.expose());
    let key = |fields: &[&str]| {
        let headers = request(fields);
        let found = cookies.session_id(&headers).map(|id| id.key());
        assert_eq!(cookies.part(&headers).0.map(|id| id.key()), found, "{fields:?}");
        found
    };
    assert_eq!(key(&[&good]), Some(id.key()));
    assert_eq!(key(&["a=1", &format!("b=2; {good}"), "c=3"]), Some(id.key()));
    assert_eq!(key(&[&good, &good]), None, "the same one twice is two");
    assert_eq!(key(&[&format!("{good}; __Host-brama=tossed")]), None);
    assert_eq!(key(&[&format!("{good}; __Host-brama")]), None);
    assert_eq!(key(&[&good.replace("__Host-", "")]), None, "a name without the prefix can be tossed by anyone");
    assert_eq!(key(&["__Host-brama=short"]), None);
    assert!(cookies.has_session(&request(&["__Host-brama=short"])));
    assert!(!cookies.has_session(&request(&["__Host-brama-login-a=x"])));
}

#[test]
fn pending_logins_and_the_origin_are_found() {
    let cookies = cookies();
    let headers = request(&["__Host-brama-login-a=1; __Host-brama-login-b=2", "__Host-brama-origin=3"]);
    assert_eq!(cookies.login(&headers, "b"), Some(b"2".as_slice()));
    assert_eq!(cookies.login(&headers, "c"), None);
    assert_eq!(cookies.logins(&headers).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(cookies.origin(&headers), Some(b"3".as_slice()));
}

#[test]
fn clearing_uses_the_name_and_attributes_of_setting() {
    let id = SessionId::fresh();
    let secret = id.expose();
    for (url, domain, name, attributes) in [
        ("https://a.test", None, "__Host-brama", "; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("https://a.test", Some("a.test"), "__Secure-brama", "; Path=/; Domain=a.test; Secure; HttpOnly; SameSite=Lax"),
        ("http://localhost:8080", None, "brama", "; Path=/; HttpOnly; SameSite=Lax"),
    ] {
        let cookies = Cookies::new(&config(domain), &Url::parse(url).unwrap()).unwrap();
        let set = cookies.set_session(&id, Some(Duration::from_secs(60)));
        assert_eq!(set.to_str().unwrap(), format!("{name}={secret}{attributes}; Max-Age=60"));
        assert!(set.is_sensitive());
        let clear = cookies.clear_session();
        assert!(clear.to_str().unwrap().starts_with(&format!("{name}={attributes}; Max-Age=0; ")), "{clear:?}");
        assert_eq!(cookies.session_name(), name);
    }
}

#[test]
fn an_id_from_outside_adds_no_attribute() {
    let cleared = cookies().clear_login("x; Domain=evil.test\r\nSet-Cookie: y=");
    assert!(cleared.to_str().unwrap().starts_with("__Host-brama-login-xDomainevil.testSet-Cookiey=; Path=/; "));
}

#[test]
fn a_name_or_domain_that_breaks_out_is_refused() {
    let url = Url::parse("https://a.test").unwrap();
    for name in ["", "a b", "a;b", "a=b", "é", "a\n"] {
        let config = Config { cookie_name: name.into(), ..config(None) };
        assert!(matches!(Cookies::new(&config, &url), Err(BadCookie::Name(_))), "{name:?}");
    }
    assert!(matches!(Cookies::new(&config(Some("a.test; Path=/x")), &url), Err(BadCookie::Domain(_))));
}

#[test]
fn an_app_cannot_set_ours() {
    let cases = [
        ("__Host-brama=evil; Path=/", false),
        (" __Host-brama-login-x = evil", false),
        ("__Secure-brama-origin=evil; Secure", false),
        ("brama=evil; Domain=example.com", false),
        ("=__Host-brama=evil", false),
        ("__Host-brama", false),
        ("theirs=__Host-brama=x; Path=/", true),
        ("brama2=1", true),
    ];
    for (value, passes) in cases {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("first=1"));
        headers.append(SET_COOKIE, HeaderValue::from_static(value));
        headers.append(SET_COOKIE, HeaderValue::from_static("last=1"));
        cookies().guard(&mut headers);
        assert_eq!(headers.get_all(SET_COOKIE).iter().count(), if passes { 3 } else { 2 }, "{value}");
    }
}

/// Cookies of others, some of them near misses.
fn theirs() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_-]{1,8}=[!-:<-~]{0,12}",
        "(__Host-|__Secure-)?brama[a-z0-9]{1,4}=[!-:<-~]{0,8}",
        "(__Host-)?bram=[!-:<-~]{0,8}",
    ]
    .prop_filter("must not be ours", |pair| !cookies().is_ours(name_and_value(pair.as_bytes()).0))
}

fn ours() -> impl Strategy<Value = String> {
    "(__Host-|__Secure-|)brama(|-origin|-login-[a-z]{0,4})=[!-:<-~]{0,12}"
}

proptest! {
    #[test]
    fn removing_never_damages_other_cookies(
        fields in prop::collection::vec(prop::collection::vec(prop_oneof![
            theirs().prop_map(|pair| (pair, true)), ours().prop_map(|pair| (pair, false))
        ], 1..6), 0..4)
    ) {
        let joined = |pairs: &[&(String, bool)]| {
            pairs.iter().map(|(pair, _)| pair.as_str()).collect::<Vec<_>>().join("; ")
        };
        let before: Vec<String> = fields.iter().map(|pairs| joined(&pairs.iter().collect::<Vec<_>>())).collect();
        let after: Vec<String> = fields
            .iter()
            .map(|pairs| joined(&pairs.iter().filter(|(_, theirs)| *theirs).collect::<Vec<_>>()))
            .filter(|field| !field.is_empty())
            .collect();
        let after: Vec<String> = if after.is_empty() { vec![] } else { vec![after.join("; ")] };
        prop_assert_eq!(removed(&before.iter().map(String::as_str).collect::<Vec<_>>()), after);
    }

    #[test]
    fn nothing_of_ours_survives_any_field(bytes in prop::collection::vec(prop_oneof![Just(b';'), Just(b'='), Just(b' '), 0x20..0x7f_u8], 0..40)) {
        let field = [bytes.as_slice(), b"; __Host-brama=secret; ", bytes.as_slice()].concat();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(&field).unwrap());
        cookies().part(&headers).1.leave(&mut headers);
        prop_assert!(cookies().ours(&headers).next().is_none());
        // Once is enough.
        let once = headers.clone();
        cookies().part(&headers).1.leave(&mut headers);
        prop_assert_eq!(once, headers);
    }
}
