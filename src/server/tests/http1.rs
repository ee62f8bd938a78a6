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
    assert!(heard.contains("connection: close") && heard.ends_with("ignored"), "{heard}");
}

#[test]
fn a_body_nobody_wanted_is_no_request_and_what_follows_it_is_one() {
    let (_server, address) = start(listen(), limits());
    let inner = get("/smuggled");
    let ignored = format!("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
    let heard = Client::new(address).say(ignored + &get("/next")).hear("/next:");
    assert_eq!(statuses(&heard), [200, 200], "{heard}");
    assert!(!heard.contains("connection: close") && !heard.contains("smuggled"), "{heard}");
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked_by_whoever_wants_it() {
    let (_server, address) = start(listen(), limits());
    let waits =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut client = Client::new(address);
    assert_eq!(client.say(waits("/x")).hear("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(statuses(&client.say("hello").hear("/x:hello")), [200]);
    // Nobody wants this one, and nobody can tell whether it will come.
    let heard = client.say(waits("/ignore")).hear_all();
    assert_eq!(statuses(&heard), [200], "{heard}");
    assert!(heard.contains("connection: close"), "{heard}");
    // It is never asked in the middle of an answer; what it sends all the same is taken.
    let mut client = Client::new(address);
    client.say(waits("/mirror")).hear("5\r\nbegun\r\n");
    assert_eq!(client.say("hello").hear("0\r\n\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    // Who sends it unasked needs no answer to that.
    let heard = Client::new(address).say(waits("/x") + "hello").hear("/x:hello");
    assert_eq!(statuses(&heard), [200], "{heard}");
}

#[test]
fn http_1_0_is_answered_as_such_and_goes_on_when_asked_to() {
    let (_server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    let heard = client.say("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").hear("/a:");
    assert!(heard.starts_with("HTTP/1.0 200 OK\r\n") && heard.contains("connection: keep-alive\r\n"), "{heard}");
    let heard = client.say("GET /b HTTP/1.0\r\n\r\n").hear_all();
    assert!(heard.contains("connection: close\r\n") && heard.ends_with("/b:"), "{heard}");
    // A length nobody knows cannot be told: the end of the connection is the end.
    let heard = Client::new(address).say("GET /trailers HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").hear_all();
    assert!(heard.contains("connection: close\r\n") && heard.ends_with("\r\n\r\nbody"), "{heard}");
}

#[test]
fn trailers_go_to_whoever_takes_them() {
    let (_server, address) = start(listen(), limits());
    let ask = |field: &str| format!("GET /trailers HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n");
    let heard = Client::new(address).say(ask("TE: trailers\r\n")).hear_all();
    assert!(heard.ends_with("\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"), "{heard}");
    let heard = Client::new(address).say(ask("")).hear_all();
    assert!(heard.ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), "{heard}");
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    let (_server, address) = start(listen(), limits());
    let heard = Client::new(address).say(get("/broken")).hear_all();
    assert!(heard.ends_with("\r\n\r\n4\r\nhalf\r\n"), "{heard}");
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    let (_server, address) = start(listen(), limits());
    let counted = || {
        let ask = "GET /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        Client::new(address).say(ask).hear_all().ends_with("\r\n\r\n1")
    };
    let comes_to = |wanted: bool| {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            counted() == wanted
        })
    };
    let mut client = Client::new(address);
    client.say(get("/counted"));
    assert!(comes_to(true));
    drop(client);
    assert!(comes_to(false));
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
