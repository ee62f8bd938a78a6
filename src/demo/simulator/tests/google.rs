//! Google: refresh tokens, consent, prompts.

use super::*;

#[tokio::test]
async fn google_gives_a_refresh_token_only_with_consent_and_revokes_once() {
    let party = party(SimulatorKind::Google).await;
    let offline = [("access_type", "offline")];
    let first = party.login("alice", "openid email profile", &offline).await;
    assert!(first["refresh_token"].is_string());
    assert!(
        party.login("alice", "openid email", &offline).await["refresh_token"].is_null(),
        "consent was given before"
    );
    assert!(party.login("olena", "openid email", &[]).await["refresh_token"].is_null(), "online");
    let claims = party.verified(&first).await.unwrap();
    assert_eq!(claims["hd"], "example.com");
    assert_eq!(claims["azp"], "client");
    let consumer = party.login("olena", "openid email", &[]).await;
    assert!(party.verified(&consumer).await.unwrap().get("hd").is_none());

    let renewed = party.refresh(&first["refresh_token"]).await.json();
    assert!(renewed["refresh_token"].is_null() && renewed["id_token"].is_string());
    let token = first["refresh_token"].as_str().unwrap();
    assert_eq!(party.post("/revoke", &[], &[("token", token)]).await.status, 200);
    let second = party.post("/revoke", &[], &[("token", token)]).await;
    assert_eq!((second.status.as_u16(), second.json()["error"].clone()), (400, json!("invalid_token")));
    assert_eq!(party.refresh(&first["refresh_token"]).await.json()["error"], "invalid_grant");
    let after = party.login("alice", "openid", &offline).await;
    assert!(after["refresh_token"].is_string(), "revoking withdrew the consent");
}

#[tokio::test]
async fn google_prompts_and_issuer_spelling() {
    let party = party(SimulatorKind::Google).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
    assert_eq!(party.authorize("openid", &[("prompt", "login")]).await.status, 400, "Google has no prompt=login");
    let page = party.authorize("openid", &[]).await;
    let consent = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "consent_required");
    party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
    assert!(party.authorize("openid", &[("prompt", "none")]).await.returned().contains_key("code"));
    assert_eq!(party.authorize("openid", &[("prompt", "select_account")]).await.status, 200);
    let hinted = party.authorize("openid", &[("login_hint", "olena@example.net")]).await;
    assert!(hinted.body.contains("class=hinted autofocus"), "somebody else is meant");
    party.simulator.behave(|behaviour| behaviour.issuer_without_scheme = true);
    let tokens = party.login("alice", "openid", &[]).await;
    let payload = URL_SAFE_NO_PAD.decode(tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["iss"], party.simulator.address().to_string());
}
