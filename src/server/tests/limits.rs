//! Time and number: what a client may take.

use super::*;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_head_that_trickles_is_408_in_time() {
    let (_server, address) = start(listen(), Limits { head_timeout: SHORT, ..limits() });
    let mut client = Client::new(address);
    client.say("GET / HTTP/1.1\r\n");
    let mut trickling = client.0.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while trickling.write_all(b"X: y\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let (heard, took) = timed(|| client.hear("\r\n\r\n"));
    assert_eq!(statuses(&heard), [408]);
    assert!(took >= SHORT - Duration::from_millis(50) && took < SHORT * 6, "{took:?}");
    drop(client);
    trickle.join().unwrap();
}

#[test]
fn a_second_head_has_its_time_too() {
    let (_server, address) = start(listen(), Limits { head_timeout: SHORT, ..limits() });
    let heard = Client::new(address).say(get("/one")).say("GET /two HTTP/1.1\r\nHo").hear_all();
    assert_eq!(statuses(&heard), [200, 408], "{heard}");
}

#[test]
fn a_client_that_says_nothing_is_left() {
    let (_server, address) = start(listen(), Limits { head_timeout: SHORT, ..limits() });
    let (heard, took) = timed(|| Client::new(address).hear_all());
    assert_eq!(heard, "");
    assert!(took >= SHORT - Duration::from_millis(50) && took < SHORT * 6, "{took:?}");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let limits = Limits { head_timeout: SHORT, keep_alive_timeout: SHORT, ..limits() };
    let (_server, address) = start(listen(), limits);
    let (heard, took) = timed(|| Client::new(address).say(get("/")).hear_all());
    assert_eq!(statuses(&heard), [200]);
    assert!(took >= SHORT && took < SHORT * 10, "{took:?}");
}

#[test]
fn a_long_answer_is_not_idleness() {
    let short = Duration::from_millis(100);
    let (_server, address) = start(listen(), Limits { head_timeout: short, keep_alive_timeout: short, ..limits() });
    let heard = Client::new(address).say(get("/slow")).hear_all();
    assert_eq!(statuses(&heard), [200], "{heard}");
}

#[test]
fn a_body_that_stalls_is_408() {
    let (_server, address) = start(listen(), Limits { body_timeout: SHORT, ..limits() });
    for body in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"] {
        let mut client = Client::new(address);
        let (heard, took) = timed(|| client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}")).hear_all());
        assert_eq!(statuses(&heard), [408], "{heard}");
        assert!(took < SHORT * 6, "{took:?}");
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let (server, address) = start(listen(), Limits { write_timeout: SHORT, ..limits() });
    let mut client = Client::new(address);
    client.say(get("/big"));
    std::thread::sleep(SHORT * 3);
    let (drained, took) = timed(|| block_on(server.drain(Duration::from_secs(5))));
    assert_eq!(drained.cut, 0, "the connection was still held");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let (_server, address) = start(listen(), Limits { workers: Some(1), connections: 1, ..limits() });
    let mut first = Client::new(address);
    first.say(get("/first")).hear("/first:");
    let mut second = Client::new(address);
    second.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    second.say(get("/second"));
    assert!(second.0.read(&mut [0]).is_err(), "answered beyond the limit");
    drop(first);
    second.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    second.hear("/second:");
}

#[test]
fn large_heads_and_targets_have_their_own_answers() {
    let (_server, address) = start(listen(), limits());
    let fields = "X: y\r\n".repeat(100);
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8192)), 414),
        (format!("GET /{}", "a".repeat(40_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(33_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431),
    ] {
        let heard = Client::new(address).say(&request).hear_all();
        assert_eq!(statuses(&heard), [status], "{}: {heard}", &request[..40]);
    }
    let just_fits = format!("GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(8191), "b".repeat(24_000));
    Client::new(address).say(just_fits).hear("aaa:");
}
