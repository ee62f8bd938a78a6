//! Lies, told one by one.

use super::*;

#[tokio::test]
async fn every_lie_in_an_id_token_is_one_a_careful_verifier_sees() {
    for kind in [SimulatorKind::Google, SimulatorKind::Cognito, SimulatorKind::Oidc] {
        let party = party(kind).await;
        for lie in Lie::ID_TOKEN {
            party.simulator.set_lie(Some(lie.clone()));
            let tokens = party.login("alice", "openid email", &[]).await;
            let verdict = party.verified(&tokens).await;
            // serde_json keeps the last of two members: seeing the double is up to a stricter reader.
            if lie == Lie::DuplicateClaims {
                let payload = URL_SAFE_NO_PAD.decode(tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap());
                assert_eq!(String::from_utf8(payload.unwrap()).unwrap().matches("\"sub\":").count(), 2);
            } else {
                assert!(verdict.is_err(), "{kind:?} {lie:?}: {verdict:?}");
            }
        }
        party.simulator.set_lie(None);
        let honest = party.login("alice", "openid email", &[]).await;
        party.verified(&honest).await.unwrap();
    }
}

#[tokio::test]
async fn lies_on_the_wire() {
    let party = party(SimulatorKind::Oidc).await;
    let tokens = party.login("alice", "openid", &[]).await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    party.simulator.behave(|behaviour| behaviour.rotation = Rotation::Off);
    let lie = |lie: Lie| party.simulator.set_lie(Some(lie));

    for (told, status) in [
        (Lie::Token500, 500),
        (Lie::TooManyRequests, 429),
        (Lie::TokenRedirect, 307),
        (Lie::InvalidClient, 401),
        (Lie::InvalidGrantOnRefresh, 400),
    ] {
        lie(told.clone());
        assert_eq!(party.token(&refresh).await.status, status, "{told:?}");
    }
    lie(Lie::GiantBody);
    assert!(party.token(&refresh).await.body.len() > 2 * 1024 * 1024);
    lie(Lie::ExpiresInText);
    assert_eq!(party.token(&refresh).await.json()["expires_in"], "300");
    lie(Lie::DuplicateKeys);
    assert_eq!(party.token(&refresh).await.body.matches("\"access_token\"").count(), 2);
    lie(Lie::TruncatedBody);
    let pairs = [("client_id", "client"), ("client_secret", "s+cret:%"), refresh[0], refresh[1]];
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(party.try_send(Method::POST, party.path("token"), &headers, form(&pairs)).await.is_err());
    lie(Lie::slow_token(Duration::from_millis(80)));
    let started = std::time::Instant::now();
    party.token(&refresh).await;
    assert!(started.elapsed() >= Duration::from_millis(80));

    lie(Lie::Jwks500);
    assert_eq!(party.fetch(party.path("jwks"), &[]).await.status, 500);
    lie(Lie::JwksRedirect);
    let target = party.fetch(party.path("jwks"), &[]).await;
    assert!(party.simulator.calls("elsewhere").is_empty());
    party.fetch(Url::parse(target.header("location")).unwrap().path(), &[]).await;
    assert_eq!(party.simulator.calls("elsewhere").len(), 1);
    lie(Lie::DiscoveryOtherIssuer);
    assert_ne!(party.fetch(party.path("discovery"), &[]).await.json()["issuer"], party.simulator.issuer());
    lie(Lie::UserinfoOtherSub);
    assert_eq!(party.bearer(party.path("userinfo"), &tokens["access_token"]).await.json()["sub"], "somebody-else");
    lie(Lie::DeadAccessToken);
    assert_eq!(party.bearer(party.path("userinfo"), &tokens["access_token"]).await.status, 401);
    lie(Lie::RefreshChangesSub);
    let changed = party.token(&refresh).await.json();
    let claims = URL_SAFE_NO_PAD.decode(changed["id_token"].as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
    let other: Value = serde_json::from_slice(&claims).unwrap();
    assert_ne!(other["sub"], party.simulator.subject(&People::all()[0]));

    lie(Lie::CallbackWrongIss);
    assert_eq!(party.authorize("openid", &[]).await.returned()["iss"], "https://issuer.invalid");
    lie(Lie::CallbackMissingIss);
    assert!(!party.authorize("openid", &[]).await.returned().contains_key("iss"));
    lie(Lie::CallbackDuplicateCode);
    assert_eq!(party.authorize("openid", &[]).await.header("location").matches("code=").count(), 2);
    lie(Lie::CallbackWrongState);
    assert_ne!(party.authorize("openid", &[]).await.returned()["state"], "the-state");
}
