//! A configuration that changes while sessions are in use.

use super::test_gateway::{Browser, TestGateway};

const ROUTES: &str = "[[route]]\npath = \"/\"\nupstream = \"app\"\n";

/// The access token the app is sent with a request of `browser`.
async fn passed(gateway: &TestGateway, browser: &mut Browser) -> Option<String> {
    gateway.parts.app.forget_seen();
    assert_eq!(browser.get("/", &[]).await.status, 200);
    let seen = gateway.parts.app.seen();
    seen.last().unwrap().header("x-forwarded-access-token").map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_use_have_their_tokens_from_the_first_request_after_a_route_passes_them_on() {
    let mut gateway = TestGateway::start(ROUTES).await;
    let mut browsers = Vec::new();
    for person in ["olena", "alice"] {
        browsers.push(gateway.signed_in(person, "google").await);
    }
    // Until every worker has them in its window.
    for _ in 0..20 {
        for browser in &mut browsers {
            assert_eq!(passed(&gateway, browser).await, None);
        }
    }
    let silent = gateway.running.started_with.clone();
    let mut passing = silent.clone();
    passing.route[0].pass_access_token = true;
    for _ in 0..3 {
        gateway.running.reload(&passing).unwrap();
        let mut tokens = Vec::new();
        for browser in &mut browsers {
            for _ in 0..4 {
                tokens.push(passed(&gateway, browser).await.unwrap());
            }
        }
        assert!(tokens[..4].iter().all(|token| *token == tokens[0]));
        assert_ne!(tokens[0], tokens[4], "each their own");
        gateway.running.reload(&silent).unwrap();
        assert_eq!(passed(&gateway, &mut browsers[0]).await, None);
    }
}
