//! HTTP/1: keep-alive, upgrades, panics.

use super::*;

#[test]
fn a_panic_costs_one_request() {
    let (_server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    assert_eq!(statuses(&client.say(get("/panic")).hear("here\n")), [500]);
    assert_eq!(statuses(&client.say(get("/after")).hear("/after:")), [200]);
}

#[test]
fn an_upgrade_becomes_a_tunnel_and_what_came_early_is_in_it() {
    let (_server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    client.say("GET /tunnel HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n\0early\n");
    assert!(client.hear("\r\n\r\n").starts_with("HTTP/1.1 101"));
    client.hear("\0early\n");
    client.say("GET / HTTP/1.1\n\n not HTTP any more\r");
    client.hear("not HTTP any more\r");
}

#[test]
fn an_upgrade_that_is_refused_leaves_http() {
    let (_server, address) = start(listen(), limits());
    let upgrade = "GET /no HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
    let heard = Client::new(address).say(upgrade).say(get("/next")).say("bad\n").hear_all();
    assert_eq!(statuses(&heard), [200, 200, 400], "{heard}");
    assert!(heard.contains("/next:"), "{heard}");
}

#[test]
fn switching_unasked_is_an_error_of_ours() {
    let (_server, address) = start(listen(), limits());
    let heard = Client::new(address).say(get("/lie")).hear("here\n");
    assert_eq!(statuses(&heard), [500], "{heard}");
}

#[test]
fn an_answer_before_the_body_arrives_whole() {
    let (_server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    client.say("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    client.say(vec![b'x'; 200_000]);
    let heard = client.hear_all();
    assert_eq!(statuses(&heard), [200], "{heard}");
    assert!(heard.ends_with("ignored"));
}

#[test]
fn a_unix_socket_serves_with_its_permissions_and_is_removed() {
    use std::os::unix::{fs::PermissionsExt, net::UnixStream};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let unix = || Listen { address: Address::Unix(path.clone()), mode: crate::config::listen::Mode(0o600), ..listen() };
    // One left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::start(&[unix()], &limits(), |_| Rc::new(TestHandler)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.contains("remote: None"), "{heard}");

    let error = Server::start(&[unix()], &limits(), |_| Rc::new(TestHandler)).unwrap_err().to_string();
    assert!(error.contains("another process listens there"), "{error}");
    block_on(server.drain(Duration::from_secs(1)));
    assert!(!path.exists());
}

#[test]
fn an_address_in_use_is_told_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = Listen { address: Address::Tcp(taken.local_addr().unwrap()), ..listen() };
    let error = Server::start(&[listen], &limits(), |_| Rc::new(TestHandler)).unwrap_err().to_string();
    assert!(error.contains(&taken.local_addr().unwrap().to_string()), "{error}");
    assert!(error.contains("another program listens there"), "{error}");
}

#[test]
fn a_factory_that_panics_is_an_error() {
    let error =
        Server::start(
            &[listen()],
            &limits(),
            |number| {
                if number == 1 { panic!("as asked") } else { Rc::new(TestHandler) }
            },
        );
    assert!(matches!(error, Err(crate::server::StartError::Worker(1))), "{error:?}");
}
