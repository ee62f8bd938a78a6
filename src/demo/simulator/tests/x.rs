//! X: Basic, PKCE, rotation, profiles.

use super::*;

#[tokio::test]
async fn x_wants_basic_and_pkce_and_quick_codes() {
    let party = party(SimulatorKind::X).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let without =
        form(&[("response_type", "code"), ("client_id", "client"), ("redirect_uri", CALLBACK), ("state", "s")]);
    assert_eq!(party.fetch(&format!("/i/oauth2/authorize?{without}"), &[]).await.status, 400);
    let code = party.authorize(X_SCOPES, &[]).await.returned().remove("code").unwrap();
    let posted = party
        .post(
            "/2/oauth2/token",
            &[],
            &[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("client_id", "client"),
                ("client_secret", "s+cret:%"),
            ],
        )
        .await;
    assert_eq!((posted.status.as_u16(), posted.json()["error"].clone()), (401, json!("unauthorized_client")));
    party.clock.advance(Duration::from_secs(30));
    let late = party.redeem(&code).await;
    assert_eq!((late.status.as_u16(), late.json()["error"].clone()), (400, json!("invalid_request")));
}

#[tokio::test]
async fn x_rotates_and_a_replay_kills_the_family() {
    let party = party(SimulatorKind::X).await;
    let first = party.login("alice", X_SCOPES, &[]).await;
    let second = party.refresh(&first["refresh_token"]).await.json();
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let replay = party.refresh(&first["refresh_token"]).await;
    assert_eq!((replay.status.as_u16(), replay.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(party.refresh(&second["refresh_token"]).await.status, 400, "the whole family is dead");
    assert_eq!(party.bearer("/2/users/me", &second["access_token"]).await.status, 401);
}

#[tokio::test]
async fn x_profiles_have_data_and_errors_and_limits() {
    let party = party(SimulatorKind::X).await;
    let path = "/2/users/me?user.fields=id,name,username,confirmed_email";
    let full = party.login("alice", X_SCOPES, &[]).await;
    let profile = party.bearer(path, &full["access_token"]).await.json();
    assert_eq!(profile["data"]["confirmed_email"], "alice@example.com");
    assert!(profile["data"]["id"].is_string() && profile["errors"].is_null());
    let less = party.login("alice", "users.read tweet.read", &[]).await;
    assert!(less["refresh_token"].is_null());
    let partial = party.bearer(path, &less["access_token"]).await;
    assert_eq!(partial.status, 200);
    assert!(partial.json()["data"]["confirmed_email"].is_null());
    assert_eq!(partial.json()["errors"].as_array().unwrap().len(), 1);
    party.simulator.set_lie(Some(Lie::TooManyRequests));
    let limited = party.bearer(path, &full["access_token"]).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("x-rate-limit-reset"), (party.clock.now().as_secs() + 900).to_string());
}
