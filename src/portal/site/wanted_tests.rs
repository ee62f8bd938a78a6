//! Where to after a login, in a whole gateway.

use crate::app::test_gateway::TestGateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_in_front_may_say_where_the_person_was_going_and_apps_never_hear_of_it() {
    let gateway = TestGateway::start("[[route]]\nupstream = \"app\"\n").await;
    let wanted = [("X-Auth-Request-Redirect", "/reports?x=1"), ("Accept", "text/html")];
    gateway.approve("alice", "google");
    let mut alice = gateway.browser();
    let begun = alice.get("/oauth2/start/google", &wanted).await;
    let done = alice.follow_login(&begun).await;
    assert_eq!(done.header("location"), "/reports?x=1");
    let foreign = [("X-Auth-Request-Redirect", "https://evil.test/"), ("Accept", "text/html")];
    let begun = alice.get("/oauth2/start/google", &foreign).await;
    assert_eq!(alice.follow_login(&begun).await.header("location"), "/");
    let told = alice.get("/oauth2/../anything", &wanted).await;
    assert!(!told.body.to_ascii_lowercase().contains("x-auth-request-redirect"), "{told:?}");
}
