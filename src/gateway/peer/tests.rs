use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn trusted(believe: Believe) -> Arc<TrustedProxies> {
    Arc::new(TrustedProxies::new(&Forwarded {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        trust_unix_sockets: false,
        believe,
    }))
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn peer(from: &str, believe: Believe, lines: &[(&'static str, &str)]) -> (String, Scheme, Option<String>) {
    let caller = Caller::new(from.parse().ok(), Scheme::Http, &trusted(believe));
    let peer = caller.peer(&headers(lines));
    let address = peer.address.map(|address| address.to_string()).unwrap_or_default();
    assert_eq!(peer.address_value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default(), address);
    (address, peer.scheme, peer.host.map(|host| host.name().to_owned()))
}

const EVERYTHING: [(&str, &str); 6] = [
    ("x-forwarded-for", "1.1.1.1"),
    ("x-real-ip", "2.2.2.2"),
    ("forwarded", "for=3.3.3.3;proto=https;host=evil.test"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.test"),
    ("x-original-url", "/admin"),
];

#[test]
fn a_stranger_is_believed_nothing_whatever_is_configured() {
    for believe in [Believe::XForwarded, Believe::Forwarded, Believe::XRealIp] {
        assert_eq!(peer("192.0.2.9", believe, &EVERYTHING), ("192.0.2.9".into(), Scheme::Http, None));
        assert_eq!(peer("unix", believe, &EVERYTHING), (String::new(), Scheme::Http, None));
    }
}

#[test]
fn a_trusted_proxy_is_believed_one_family_only() {
    for (believe, address, host) in [
        (Believe::XForwarded, "1.1.1.1", "evil.test"),
        (Believe::Forwarded, "3.3.3.3", "evil.test"),
        (Believe::XRealIp, "2.2.2.2", "evil.test"),
    ] {
        assert_eq!(peer("10.0.0.1", believe, &EVERYTHING), (address.into(), Scheme::Https, Some(host.into())));
    }
}

#[test]
fn a_chain_is_walked_from_the_right() {
    for (case, chain, address) in [
        ("a client", "203.0.113.7", "203.0.113.7"),
        ("a forged left end", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("a forged trusted left end", "10.9.9.9, 203.0.113.7", "203.0.113.7"),
        ("two of our proxies", "1.1.1.1, 203.0.113.7, 10.0.0.2, 10.0.0.3", "203.0.113.7"),
        ("only our proxies", "10.0.0.5, 10.0.0.2", "10.0.0.5"),
        ("garbage at the right", "203.0.113.7, unknown", "10.0.0.1"),
        ("garbage behind a proxy", "garbage, 10.0.0.2", "10.0.0.2"),
        ("with a port", "203.0.113.7:4711", "203.0.113.7"),
        ("IPv6 with a port", "[2001:db8::1]:4711", "2001:db8::1"),
        ("bare IPv6", "2001:db8::1", "2001:db8::1"),
        ("IPv4 in IPv6", "::ffff:203.0.113.7, ::ffff:10.0.0.2", "203.0.113.7"),
        ("empty", "", "10.0.0.1"),
        ("empty elements", "203.0.113.7, ,", "10.0.0.1"),
        ("octal look-alike", "010.0.0.1", "10.0.0.1"),
        ("rubbish that would hide the client", "\u{ff}\u{fe}, 203.0.113.7", "203.0.113.7"),
    ] {
        assert_eq!(peer("10.0.0.1", Believe::XForwarded, &[("x-forwarded-for", chain)]).0, address, "{case}");
    }
}

#[test]
fn several_lines_are_one_list() {
    let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.0.0.2")];
    assert_eq!(peer("10.0.0.1", Believe::XForwarded, &lines).0, "203.0.113.7");
    assert_eq!(peer("10.0.0.1", Believe::XRealIp, &[("x-real-ip", "1.1.1.1"), ("x-real-ip", "2.2.2.2")]).0, "10.0.0.1");
}

#[test]
fn scheme_and_host_come_from_the_hop_that_told_the_address() {
    let lines = [
        ("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.2"),
        ("x-forwarded-proto", "http, https, http"),
        ("x-forwarded-host", "forged.test, App.Example.com:8443, inner"),
    ];
    let (_, scheme, host) = peer("10.0.0.1", Believe::XForwarded, &lines);
    assert_eq!((scheme, host.as_deref()), (Scheme::Https, Some("app.example.com")));
    let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https, http"), ("x-forwarded-host", "a b")];
    let (_, scheme, host) = peer("10.0.0.1", Believe::XForwarded, &lines);
    assert_eq!((scheme, host), (Scheme::Http, None), "the nearest proxy's word; a broken host is none");
}

#[test]
fn forwarded_is_read_by_its_grammar() {
    for (case, line, address, scheme) in [
        ("plain", "for=203.0.113.7;proto=https", "203.0.113.7", Scheme::Https),
        ("quoted", "For=\"[2001:db8::1]:4711\" ; Proto=HTTPS", "2001:db8::1", Scheme::Https),
        ("unquoted with a port", "for=203.0.113.7:80", "203.0.113.7", Scheme::Http),
        ("chain", "for=1.1.1.1, for=203.0.113.7;proto=https, for=10.0.0.2;proto=http", "203.0.113.7", Scheme::Https),
        ("a comma inside quotes", "for=203.0.113.7;by=\", for=9.9.9.9\"", "203.0.113.7", Scheme::Http),
        ("an escaped quote", "by=\"a\\\", for=9.9.9.9\";for=203.0.113.7", "203.0.113.7", Scheme::Http),
        ("obfuscated", "for=_hidden", "10.0.0.1", Scheme::Http),
        ("unknown", "for=unknown", "10.0.0.1", Scheme::Http),
        ("open quote", "for=\"203.0.113.7", "10.0.0.1", Scheme::Http),
        ("twice", "for=203.0.113.7;for=9.9.9.9", "10.0.0.1", Scheme::Http),
        ("rubbish after", "for=203.0.113.7 x", "10.0.0.1", Scheme::Http),
        ("no value", "for=", "10.0.0.1", Scheme::Http),
        ("an open quote that would hide the client", "for=\"x, for=203.0.113.7", "203.0.113.7", Scheme::Http),
        ("rubbish that would hide the client", "a b c, for=203.0.113.7;proto=https", "203.0.113.7", Scheme::Https),
    ] {
        let (found, found_scheme, _) = peer("10.0.0.1", Believe::Forwarded, &[("forwarded", line)]);
        assert_eq!(found, address, "{case}");
        if found != "10.0.0.1" {
            assert_eq!(found_scheme, scheme, "{case}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_a_stranger_writes_changes_the_peer(line in "[ -~]{0,60}", which in 0_usize..6) {
        let name = EVERYTHING[which].0;
        for believe in [Believe::XForwarded, Believe::Forwarded, Believe::XRealIp] {
            prop_assert_eq!(peer("192.0.2.9", believe, &[(name, &line)]), ("192.0.2.9".into(), Scheme::Http, None));
        }
    }

    #[test]
    fn whatever_is_left_of_an_untrusted_hop_is_never_the_address(left in "[0-9a-f.:, \\[\\]]{0,40}") {
        let line = format!("{left}, 203.0.113.7");
        prop_assert_eq!(peer("10.0.0.1", Believe::XForwarded, &[("x-forwarded-for", &line)]).0, "203.0.113.7");
    }
}
