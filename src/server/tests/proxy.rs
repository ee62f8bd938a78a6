//! The PROXY protocol: required from those who may, refused from everyone else.

use super::*;

fn trusting(networks: &[&str]) -> Listen {
    Listen { proxy_protocol_from: networks.iter().map(|network| network.parse().unwrap()).collect(), ..listen() }
}

fn v2(source: [u8; 4], port: u16) -> Vec<u8> {
    let addresses = proxy_header::ProxiedAddress::stream((source, port).into(), ([10, 0, 0, 1], 443).into());
    let mut header = Vec::new();
    proxy_header::ProxyHeader::with_address(addresses).encode_v2(&mut header).unwrap();
    header
}

#[test]
fn a_trusted_peer_says_who_it_connects_for() {
    let (_server, address) = start(trusting(&["127.0.0.0/8"]), limits());
    let who = "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (header, proxied) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), "proxied: Some(192.0.2.7:4711)"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), "proxied: Some([2001:db8::7]:4711)"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "proxied: None"),
        (v2([192, 0, 2, 8], 99), "proxied: Some(192.0.2.8:99)"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "proxied: None"),
    ] {
        let heard = Client::new(address).say([header.as_slice(), who.as_bytes()].concat()).hear_all();
        assert!(heard.contains(proxied) && heard.contains("remote: Some(127.0.0.1"), "{proxied}: {heard}");
        // And in pieces.
        let mut client = Client::new(address);
        for byte in header {
            client.say([byte]);
        }
        assert!(client.say(who).hear_all().contains(proxied));
    }
}

#[test]
fn a_trusted_peer_must_say_it_and_say_it_well() {
    let (_server, address) =
        start(trusting(&["127.0.0.1/32"]), Limits { handshake_timeout: Duration::from_millis(300), ..limits() });
    for header in [
        get("/").into_bytes(),
        b"PROXY TCP4 192.0.2.7\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
        b"PROXY".to_vec(),
    ] {
        assert_eq!(Client::new(address).say(&header).hear_all(), "", "{:?}", String::from_utf8_lossy(&header));
    }
}

#[test]
fn from_anyone_else_it_is_no_http() {
    let (_server, address) = start(trusting(&["192.0.2.0/24"]), limits());
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), v2([192, 0, 2, 8], 99)] {
        let heard = Client::new(address).say([header, get("/who").into_bytes()].concat()).hear_all();
        assert_eq!(statuses(&heard), [400], "{heard}");
    }
}

#[test]
fn an_address_has_only_its_share_of_connections() {
    let (_server, address) = start(trusting(&["127.0.0.1/32"]), Limits { connections_per_address: 2, ..limits() });
    let connect = |source: u8| {
        let mut client = Client::new(address);
        client.say([v2([192, 0, 2, source], 1), get("/in").into_bytes()].concat());
        client
    };
    let mut first = connect(1);
    first.hear("/in:");
    let mut second = connect(1);
    second.hear("/in:");
    assert_eq!(connect(1).hear_all(), "", "a third one was served");
    connect(2).hear("/in:");
    drop(first);
    // The server notices in its own time.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !connect(1).heard_any() {
        assert!(Instant::now() < deadline, "the place was not given back");
    }
}
