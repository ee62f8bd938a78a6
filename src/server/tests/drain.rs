//! An orderly end.

use super::*;

#[test]
fn what_runs_is_finished_and_told_to_close() {
    let (server, address) = start(listen(), limits());
    let mut idle = Client::new(address);
    idle.say(get("/idle")).hear("/idle:");
    let mut busy = Client::new(address);
    busy.say(get("/slow"));
    std::thread::sleep(Duration::from_millis(100));
    let (drained, took) = timed(|| block_on(server.drain(Duration::from_secs(5))));
    assert_eq!(drained.cut, 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let heard = busy.hear_all();
    assert_eq!(statuses(&heard), [200]);
    assert!(heard.to_lowercase().contains("connection: close"), "{heard}");
    assert_eq!(idle.hear_all(), "");
    assert!(TcpStream::connect(address).is_err(), "still listening");
}

#[test]
fn what_does_not_end_is_cut_and_counted() {
    let (server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    client.say(get("/forever"));
    std::thread::sleep(Duration::from_millis(100));
    let (drained, took) = timed(|| block_on(server.drain(Duration::from_millis(200))));
    assert_eq!(drained.cut, 1);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(client.hear_all(), "");
}

#[test]
fn a_tunnel_is_told_and_waited_for() {
    let (server, address) = start(listen(), limits());
    let mut client = Client::new(address);
    client.say("GET /tunnel HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n").hear("\r\n\r\n");
    let drained = block_on(server.drain(Duration::from_secs(5)));
    assert_eq!(drained.cut, 0);
    assert_eq!(client.hear_all(), "bye");
}

#[test]
fn a_door_that_waits_for_a_place_does_not_block_the_end() {
    let (server, address) = start(listen(), Limits { workers: Some(1), connections: 1, ..limits() });
    let mut first = Client::new(address);
    first.say(get("/first")).hear("/first:");
    let mut second = Client::new(address);
    second.say(get("/second"));
    std::thread::sleep(Duration::from_millis(100));
    let (drained, took) = timed(|| block_on(server.drain(Duration::from_secs(5))));
    assert_eq!(drained.cut, 0);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(second.hear_all().contains("/second:"), "it had been accepted");
}
