//! Which targets get requests: turns, rest after failures, probes.

use tokio_util::sync::CancellationToken;

use super::{raw::*, *};
use crate::config::upstream::Balance;

async fn named(name: &'static str) -> RawApp {
    RawApp::start(move |_| {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        std::iter::repeat_n([Step::Head, say(&answer)], 50).flatten().collect()
    })
    .await
}

#[tokio::test]
async fn targets_take_turns_and_an_account_stays() {
    local(async {
        let (a, b) = (named("a").await, named("b").await);
        let pool = Pool::new();
        let turns = upstream(&[&a.url(), &b.url()], |_| {});
        let mut told = String::new();
        for _ in 0..6 {
            told += &text(&pool, &turns, Method::GET).await.unwrap();
        }
        assert_eq!(told, "ababab");

        let sticky = upstream(&[&a.url(), &b.url()], |config| config.balance = Balance::Sticky);
        let mut homes = std::collections::HashSet::new();
        for account in 0..20 {
            let options = SendOptions { affinity: Some(account), ..SendOptions::default() };
            let mut told = String::new();
            for _ in 0..3 {
                let response = send(&pool, &sticky, request(Method::GET), &options).await.unwrap();
                told += &read(response.into_body()).await.unwrap();
            }
            assert!(told == "aaa" || told == "bbb", "{told}");
            homes.insert(told);
        }
        assert_eq!(homes.len(), 2, "both have guests");
    })
    .await;
}

#[tokio::test]
async fn the_least_busy_target_is_chosen_and_the_count_returns_to_zero() {
    local(async {
        let slow = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let (pool, upstream) = (
            Pool::new(),
            upstream(&[&slow.url(), &named("b").await.url()], |config| config.balance = Balance::LeastConnections),
        );
        let waiting = tokio::task::spawn_local({
            let (pool, upstream) = (Rc::clone(&pool), Arc::clone(&upstream));
            async move { ask(&pool, &upstream, Method::GET).await.map(drop) }
        });
        while upstream.targets()[0].in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..4 {
            assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "b");
        }
        waiting.abort();
        slow.closed(1).await;
        assert_eq!((upstream.targets()[0].in_flight(), upstream.targets()[1].in_flight()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_target_that_fails_rests_and_recovers() {
    local(async {
        let address = nobody().await;
        let b = named("b").await;
        let (pool, upstream) = (
            Pool::new(),
            upstream(&[&format!("http://{address}"), &b.url()], |config| {
                config.max_fails = 2;
                config.fail_timeout = Duration::from_millis(300);
            }),
        );
        for _ in 0..6 {
            assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "b");
        }
        assert!(!upstream.targets()[0].is_healthy(), "it failed twice");

        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let back = RawApp::on(listener, |_| vec![Step::Head, say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na")]);
        assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "b");
        assert_eq!(back.connections(), 0, "it still rests");
        tokio::time::sleep(Duration::from_millis(320)).await;
        let told =
            text(&pool, &upstream, Method::GET).await.unwrap() + &text(&pool, &upstream, Method::GET).await.unwrap();
        assert!(told.contains('a'), "{told}");
        assert!(upstream.targets()[0].is_healthy());
    })
    .await;
}

#[tokio::test]
async fn probes_take_a_sick_target_out_and_bring_it_back() {
    local(async {
        let well = Rc::new(std::cell::Cell::new(false));
        let answer = Rc::clone(&well);
        let app = RawApp::start(move |_| {
            let status = if answer.get() { "204 No Content" } else { "503 Service Unavailable" };
            vec![Step::Head, say(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))]
        })
        .await;
        let upstream = upstream(&[&app.url()], |config| {
            config.health_path = Some("/healthz".into());
            config.health_interval = Duration::from_millis(10);
        });
        let cancel = CancellationToken::new();
        let watching = tokio::spawn(super::super::watch(Arc::clone(&upstream), cancel.clone()));
        while upstream.targets()[0].is_healthy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(app.heads()[0].starts_with("GET /healthz HTTP/1.1\r\n"), "{:?}", app.heads());
        assert_eq!(reason(ask(&Pool::new(), &upstream, Method::GET).await), "no_healthy_target");
        well.set(true);
        while !upstream.targets()[0].is_healthy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(reason(ask(&Pool::new(), &upstream, Method::GET).await), "ok");
        cancel.cancel();
        watching.await.unwrap();
    })
    .await;
}
