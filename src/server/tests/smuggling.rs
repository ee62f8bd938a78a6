//! Every evil request, to its answer on the wire.

use super::*;
use crate::http1::cases;

fn start_small() -> (Server, SocketAddr) {
    let limits = Limits {
        head_bytes: cases::LIMITS.bytes,
        head_fields: cases::LIMITS.fields,
        target_bytes: cases::LIMITS.target,
        ..limits()
    };
    start(listen(), limits)
}

#[test]
fn an_evil_head_is_answered_after_the_good_ones_and_the_connection_closed() {
    let (_server, address) = start_small();
    for (evil, violation) in cases::EVIL {
        let heard = Client::new(address).say(evil).hear_all();
        assert_eq!(statuses(&heard), [violation.status().as_u16()], "{evil:?}: {heard}");
        assert!(heard.to_lowercase().contains("connection: close"), "{evil:?}: {heard}");

        let smuggled = format!("{}{}{evil}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", cases::GOOD, get("/two"));
        let heard = Client::new(address).say(smuggled).hear_all();
        assert_eq!(statuses(&heard), [200, 200, violation.status().as_u16()], "{evil:?}: {heard}");
        assert!(heard.contains("/x:hello") && heard.contains("/two:") && !heard.contains("/smuggled:"), "{evil:?}");
    }
}

#[test]
fn an_evil_body_is_400_and_the_connection_closed() {
    let (_server, address) = start_small();
    for (evil, violation) in cases::EVIL_CHUNKS {
        let stream = format!("{}{}{evil}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", cases::GOOD, cases::CHUNKED);
        let heard = Client::new(address).say(stream).hear_all();
        assert_eq!(statuses(&heard), [200, violation.status().as_u16()], "{evil:?}: {heard}");
        assert!(!heard.contains("/smuggled:"), "{evil:?}: {heard}");
    }
}

#[test]
fn good_streams_are_answered_byte_by_byte_too() {
    let (_server, address) = start_small();
    for good in cases::GOOD_STREAMS {
        let expected = good.matches(" HTTP/1.").count();
        let mut client = Client::new(address);
        for byte in good.as_bytes() {
            client.say([*byte]);
        }
        if !good.contains("HTTP/1.0") {
            client.say("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        }
        let heard = client.hear_all();
        // HTTP/1.0 is answered as such, and closes by itself.
        let answered = heard.matches("HTTP/1.1 200").count() + 2 * heard.matches("HTTP/1.0 200").count();
        assert_eq!(answered, expected + 1, "{good:?}: {heard}");
    }
}

#[test]
fn a_refusal_waits_for_a_slow_answer_before_it() {
    let (_server, address) = start_small();
    let heard = Client::new(address).say(get("/slow")).say("GET / HTTP/1.1\nHost: a\r\n\r\n").hear_all();
    assert_eq!(statuses(&heard), [200, 400], "{heard}");
}
