//! The issuer and the service without oddities.

use super::*;

#[tokio::test]
async fn oidc_names_itself_rotates_keys_and_signs_out() {
    let party = party(SimulatorKind::Oidc).await;
    let discovery = party.fetch(party.path("discovery"), &[]).await.json();
    assert_eq!(discovery["issuer"], party.simulator.issuer());
    assert_eq!(discovery["authorization_response_iss_parameter_supported"], true);
    let page = party.authorize("openid email profile", &[]).await;
    let consent = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    let back = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await.returned();
    assert_eq!(back["iss"], party.simulator.issuer());
    let tokens = party.redeem(&back["code"]).await.json();
    assert_eq!(party.verified(&tokens).await.unwrap()["groups"], json!(["admins", "staff"]));
    assert_eq!(party.simulator.sids("alice"), [party.verified(&tokens).await.unwrap()["sid"].as_str().unwrap()]);
    let before = party.keys().await;
    party.simulator.rotate_keys();
    assert_eq!(party.keys().await.keys.len(), 2);
    let renewed = party.refresh(&tokens["refresh_token"]).await.json();
    let kid = jsonwebtoken::decode_header(renewed["id_token"].as_str().unwrap()).unwrap().kid.unwrap();
    assert!(before.find(&kid).is_none(), "signed by a key nobody has seen");

    let hint = tokens["id_token"].as_str().unwrap();
    let unasked = party.fetch(&format!("/realms/demo/logout?{}", form(&[("state", "s")])), &[]).await;
    assert!(unasked.body.contains("Do you want to sign out?"));
    let pairs = form(&[("id_token_hint", hint), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "s")]);
    let out = party.fetch(&format!("/realms/demo/logout?{pairs}"), &[]).await;
    assert_eq!(out.header("location"), format!("{SIGNED_OUT}?state=s"));
    assert_eq!(party.refresh(&renewed["refresh_token"]).await.json()["error"], "invalid_grant", "the session is over");
    assert!(party.simulator.sids("alice").is_empty());
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
}

#[tokio::test]
async fn logout_tokens_are_genuine_unless_a_flaw_is_wanted() {
    let party = party(SimulatorKind::Oidc).await;
    let alice = &People::all()[0];
    let claims = |flaw| {
        let token = party.simulator.logout_token(alice, Some("sid"), flaw);
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()
    };
    let sound = claims(None);
    assert_eq!(sound["sub"], party.simulator.subject(alice));
    assert!(sound["events"].get("http://schemas.openid.net/event/backchannel-logout").is_some());
    assert_eq!(claims(Some(LogoutFlaw::Nonce))["nonce"], "forbidden");
    assert!(claims(Some(LogoutFlaw::Nobody))["sub"].is_null());
}

#[tokio::test]
async fn plain_oauth2_has_a_profile_and_no_id_token() {
    let party = party(SimulatorKind::OAuth2).await;
    let tokens = party.login("carol", "profile", &[]).await;
    assert!(tokens["id_token"].is_null());
    let profile = party.bearer("/me", &tokens["access_token"]).await.json();
    assert_eq!(profile["email_verified"], false);
    assert_eq!(profile["id"], party.simulator.subject(People::find("carol").unwrap()));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_null());
    party.clock.advance(Duration::from_secs(3600));
    let expired = party.bearer("/me", &tokens["access_token"]).await;
    assert_eq!(expired.status, 401);
    assert!(expired.header("www-authenticate").contains("invalid_token"));
}
