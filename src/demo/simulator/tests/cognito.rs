//! Cognito: text booleans, rotation, sign-out.

use super::*;

#[tokio::test]
async fn cognito_spells_booleans_as_text_and_hides_pkce() {
    let party = party(SimulatorKind::Cognito).await;
    let discovery = party.fetch("/eu-central-1_Simulated/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(discovery["issuer"], party.simulator.issuer());
    assert!(discovery["code_challenge_methods_supported"].is_null());
    assert_eq!(party.fetch("/.well-known/openid-configuration", &[]).await.status, 404);
    let tokens = party.login("alice", "openid email profile", &[]).await;
    let claims = party.verified(&tokens).await.unwrap();
    assert_eq!(claims["token_use"], "id");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["cognito:groups"], json!(["admins", "staff"]));
    let userinfo = party.bearer("/oauth2/userInfo", &tokens["access_token"]).await.json();
    assert_eq!(userinfo["email_verified"], "true");
    assert!(userinfo["cognito:groups"].is_null());
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let access: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert!(access["aud"].is_null() && access["client_id"] == "client" && access["token_use"] == "access");
    let dead = party.bearer("/oauth2/userInfo", &json!("made.up.token")).await;
    assert!(dead.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn cognito_rotates_as_set_and_revokes_refresh_tokens_only() {
    let party = party(SimulatorKind::Cognito).await;
    let tokens = party.login("alice", "openid", &[]).await;
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_null(), "off by default");
    party.simulator.behave(|behaviour| behaviour.rotation = Rotation::Grace(60));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_string());
    party.clock.advance(Duration::from_secs(59));
    let graceful = party.refresh(&tokens["refresh_token"]).await.json();
    party.clock.advance(Duration::from_secs(2));
    let dead = party.refresh(&tokens["refresh_token"]).await;
    assert_eq!((dead.status.as_u16(), dead.json()), (400, json!({"error": "invalid_grant"})), "no description");
    let revoke = |token: &Value| {
        let token = token.as_str().unwrap().to_owned();
        let party = &party;
        async move { party.post("/oauth2/revoke", &[("authorization", &Party::basic())], &[("token", &token)]).await }
    };
    assert_eq!(revoke(&graceful["access_token"]).await.json()["error"], "unsupported_token_type");
    assert_eq!(revoke(&graceful["refresh_token"]).await.status, 200);
    assert_eq!(revoke(&json!("unknown")).await.status, 200);
    assert_eq!(party.refresh(&graceful["refresh_token"]).await.status, 400);
}

#[tokio::test]
async fn cognito_logs_out_its_own_way() {
    let party = party(SimulatorKind::Cognito).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
    assert_eq!(party.authorize("openid nonsense", &[]).await.returned()["error"], "invalid_scope");
    let page = party.authorize("openid", &[]).await;
    party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    assert!(party.authorize("openid", &[("prompt", "none")]).await.returned().contains_key("code"));
    let standard = form(&[("id_token_hint", "x.y.z"), ("post_logout_redirect_uri", SIGNED_OUT)]);
    assert_eq!(party.fetch(&format!("/logout?{standard}"), &[]).await.status, 400);
    let elsewhere = form(&[("client_id", "client"), ("logout_uri", "https://elsewhere.example/")]);
    assert_eq!(party.fetch(&format!("/logout?{elsewhere}"), &[]).await.status, 400);
    let own = form(&[("client_id", "client"), ("logout_uri", SIGNED_OUT)]);
    assert_eq!(party.fetch(&format!("/logout?{own}"), &[]).await.header("location"), SIGNED_OUT);
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
}
