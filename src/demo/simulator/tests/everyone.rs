//! What all kinds have in common.

use super::*;

#[tokio::test]
async fn every_kind_signs_in_through_its_pages_and_then_without_them() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let scope = "openid profile email";
        let page = party.authorize(scope, &[]).await;
        assert_eq!(page.status, 200, "{kind:?}");
        assert!(page.body.contains("Олена Шевченко") && page.body.contains("simulated"), "{kind:?}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        let mut answer = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "olena")]).await;
        assert!(answer.header("set-cookie").starts_with(&format!("simulated_{}=", kind.word())));
        if kind != SimulatorKind::Cognito {
            let consent = answer;
            assert!(consent.body.contains("Олена Шевченко"), "{kind:?}");
            answer = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
            let twice = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
            assert_eq!(twice.status, 400, "a page counts once");
        }
        assert_eq!(answer.status, 303);
        let returned = answer.returned();
        assert_eq!(returned["state"], "the-state");
        assert_eq!(party.redeem(&returned["code"]).await.status, 200, "{kind:?}");
        let again = party.authorize(scope, &[]).await;
        assert_eq!(again.status, 303, "{kind:?} knows its browser");
        assert!(again.returned().contains_key("code"));
    }
}

#[tokio::test]
async fn cancelling_is_told_in_each_providers_own_shape() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let page = party.authorize("openid", &[]).await;
        let returned =
            party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("cancel", "1")]).await.returned();
        assert_eq!(returned["error"], "access_denied");
        assert_eq!(returned["state"], "the-state");
        assert_eq!(returned.contains_key("error_reason"), kind == SimulatorKind::Facebook);
        assert_eq!(returned.contains_key("iss"), matches!(kind, SimulatorKind::Google | SimulatorKind::Oidc));
        party.simulator.auto_cancel();
        assert_eq!(party.authorize("openid", &[]).await.returned()["error"], "access_denied");
    }
}

#[tokio::test]
async fn requests_from_nobody_or_to_elsewhere_get_a_page_and_no_redirect() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        party.simulator.auto_approve(Some("alice")).unwrap();
        for (name, value) in [("client_id", "stranger"), ("redirect_uri", "http://localhost:4180/oauth2/callback/p/")] {
            let pairs =
                [("response_type", "code"), ("client_id", "client"), ("redirect_uri", CALLBACK), ("state", "s")];
            let pairs = pairs.map(|(key, old)| (key, if key == name { value } else { old }));
            let answer = party.fetch(&format!("{}?{}", party.path("authorize"), form(&pairs)), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{kind:?} {name}");
        }
        let twice = party.authorize("openid", &[("state", "again")]).await;
        assert_eq!(twice.status, 400, "{kind:?}: a repeated parameter");
    }
}

#[tokio::test]
async fn codes_are_bound_to_verifier_and_redirect_and_clients_must_prove_themselves() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        party.simulator.auto_approve(Some("alice")).unwrap();
        let refused = |answer: &Answer| answer.status != 200 || answer.json().get("access_token").is_none();
        for (name, value) in [("code_verifier", "wrong"), ("redirect_uri", "http://localhost/"), ("code", "made-up")] {
            let code = party.authorize("openid", &[]).await.returned().remove("code").unwrap();
            let pairs = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ];
            let answer = party.token(&pairs.map(|(key, old)| (key, if key == name { value } else { old }))).await;
            assert!(refused(&answer), "{kind:?} {name}: {}", answer.body);
        }
        let code = party.authorize("openid", &[]).await.returned().remove("code").unwrap();
        let pairs = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        let wrong = [pairs.as_slice(), &[("client_id", "client"), ("client_secret", "wrong")]].concat();
        assert!(refused(&party.post(party.path("token"), &[("accept", "application/json")], &wrong).await), "{kind:?}");
        assert!(refused(&party.post(party.path("token"), &[("accept", "application/json")], &pairs).await), "{kind:?}");
    }
}

#[tokio::test]
async fn calls_are_kept_and_control_works_from_outside() {
    let party = party(SimulatorKind::X).await;
    let control = |body: Value| {
        let headers = [("content-type", "application/json")];
        let party = &party;
        async move { party.send(Method::POST, "/_control", &headers, body.to_string()).await }
    };
    let state =
        control(json!({"auto_approve": "olena", "lie": "token500", "behaviour": {"rotation": {"grace": 5}}})).await;
    assert_eq!(state.status, 200, "{}", state.body);
    assert_eq!(state.json()["behaviour"]["rotation"], json!({"grace": 5}));
    let code = party.authorize(X_SCOPES, &[]).await.returned().remove("code").unwrap();
    assert_eq!(party.redeem(&code).await.status, 500);
    control(json!({"lie": null})).await;
    assert_eq!(party.redeem(&code).await.status, 200, "the lie did not use the code up");

    let calls = party.simulator.calls("token");
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [500, 200]);
    assert_eq!(calls[1].parameter("code_verifier"), Some(VERIFIER));
    assert_eq!(calls[1].header("authorization"), Some(Party::basic().as_str()));
    assert_eq!(party.simulator.calls("authorize")[0].parameter("code_challenge_method"), Some("S256"));
    assert_eq!(party.fetch("/_calls?name=token", &[]).await.json().as_array().unwrap().len(), 2);

    for bad in [json!({"lie": "white"}), json!({"auto_approve": "nobody"}), json!({"what": 1}), json!([])] {
        assert_eq!(control(bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(party.post("/_control", &[], &[("lie", "wrong_iss")]).await.status, 400, "a form is no control");
    let rebound = party.fetch("/_calls", &[("host", "attacker.example")]).await;
    assert_eq!(rebound.status, 421);
    assert!(party.simulator.auto_approve(Some("nobody")).is_err());
}

#[tokio::test]
async fn the_configuration_it_writes_is_one_the_gateway_reads() {
    use crate::config::{
        problem::Problems,
        provider::Provider,
        value::{At, Value as _},
    };
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let text = party.simulator.config_toml("p");
        let document = toml::de::DeTable::parse(&text).unwrap();
        let span = document.span();
        let root = toml::Spanned::new(span, toml::de::DeValue::Table(document.into_inner()));
        let mut problems = Problems::new("test.toml", text.clone());
        let root = At::new(&root, "");
        let provider = Provider::read(&root.child("provider").unwrap().child("p").unwrap(), &mut problems);
        assert!(provider.is_some() && problems.is_empty(), "{kind:?}: {text}");
    }
}
