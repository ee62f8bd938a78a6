//! Facebook: Graph, exchange, proofs.

use super::*;

#[tokio::test]
async fn facebook_exchanges_proves_and_speaks_graph() {
    let party = party(SimulatorKind::Facebook).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let back = party.authorize("public_profile,email", &[]).await;
    assert!(back.header("location").ends_with("#_=_"));
    let short = party.redeem(&back.returned()["code"]).await.json();
    assert_eq!(short["token_type"], "bearer");
    assert!(short["refresh_token"].is_null());
    let exchange = |token: &Value| {
        form(&[
            ("grant_type", "fb_exchange_token"),
            ("client_id", "client"),
            ("client_secret", "s+cret:%"),
            ("fb_exchange_token", token.as_str().unwrap()),
        ])
    };
    let long =
        party.fetch(&format!("/v24.0/oauth/access_token?{}", exchange(&short["access_token"])), &[]).await.json();
    assert_eq!(long["expires_in"], 5_184_000);

    let token = long["access_token"].as_str().unwrap().to_owned();
    let proof = hex(&hmac_sha256(b"s+cret:%", token.as_bytes()));
    let me = |fields: &str, proof: &str| format!("/v24.0/me?{fields}access_token={token}{proof}");
    let unproven = party.fetch(&me("", ""), &[]).await;
    assert_eq!((unproven.status.as_u16(), unproven.json()["error"]["code"].clone()), (400, json!(100)));
    let proof = format!("&appsecret_proof={proof}");
    let bare = party.fetch(&me("", &proof), &[]).await.json();
    assert_eq!(bare.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name"]);
    let full = party.fetch(&me("fields=id,name,email,picture.width(256).height(256)&", &proof), &[]).await.json();
    assert_eq!(full["email"], "alice@example.com");
    let app = "client%7Cs%2Bcret%3A%25";
    let inspected =
        party.fetch(&format!("/v24.0/debug_token?input_token={token}&access_token={app}"), &[]).await.json();
    assert_eq!(inspected["data"]["is_valid"], true);
    assert_eq!(inspected["data"]["user_id"], full["id"]);

    party.simulator.end_grants("alice");
    let dead = party.fetch(&me("", &proof), &[]).await;
    assert_eq!(dead.json()["error"]["code"], 190);
    let dead = party.fetch(&format!("/v24.0/oauth/access_token?{}", exchange(&long["access_token"])), &[]).await;
    assert_eq!(dead.json()["error"]["type"], "OAuthException");
}

#[tokio::test]
async fn facebook_may_hide_expiry_and_address_and_fail_without_an_error() {
    let party = party(SimulatorKind::Facebook).await;
    party.simulator.behave(|behaviour| behaviour.tell_lifetime = false);
    let tokens = party.login("boris", "public_profile,email", &[]).await;
    assert!(tokens["expires_in"].is_null());
    let token = tokens["access_token"].as_str().unwrap();
    let proof = hex(&hmac_sha256(b"s+cret:%", token.as_bytes()));
    let path = format!("/v24.0/me?fields=id,email&access_token={token}&appsecret_proof={proof}");
    assert!(party.fetch(&path, &[]).await.json()["email"].is_null());
    party.simulator.set_lie(Some(Lie::ProfileFalse));
    assert_eq!(party.fetch(&path, &[]).await.body, "false");
    party.simulator.set_lie(Some(Lie::PlatformError));
    let returned = party.authorize("email", &[]).await.returned();
    assert!(returned.contains_key("error_code") && returned.contains_key("error_message"));
    assert!(!returned.contains_key("error"));
    let person = &People::all()[0];
    let genuine = party.simulator.signed_request(person, false);
    let (signature, payload) = genuine.split_once('.').unwrap();
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(hmac_sha256(b"s+cret:%", payload.as_bytes())));
    assert_ne!(party.simulator.signed_request(person, true), genuine);
}
