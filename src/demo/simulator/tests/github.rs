//! GitHub: form answers, profiles, GitHub Apps.

use super::*;

#[tokio::test]
async fn github_answers_forms_and_errors_with_200() {
    let party = party(SimulatorKind::GitHub).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let code = party.authorize("read:user user:email", &[]).await.returned().remove("code").unwrap();
    let pairs = [
        ("client_id", "client"),
        ("client_secret", "s+cret:%"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let plain = party.post("/login/oauth/access_token", &[], &pairs).await;
    assert!(plain.header("content-type").starts_with("application/x-www-form-urlencoded"));
    let members: HashMap<_, _> = form_urlencoded::parse(plain.body.as_bytes()).into_owned().collect();
    assert_eq!(members["scope"], "read:user,user:email");
    let again = party.post("/login/oauth/access_token", &[("accept", "application/json")], &pairs).await;
    assert_eq!((again.status.as_u16(), again.json()["error"].clone()), (200, json!("bad_verification_code")));
}

#[tokio::test]
async fn github_profiles_are_numbered_and_without_an_address() {
    let party = party(SimulatorKind::GitHub).await;
    let tokens = party.login("alice", "read:user user:email read:org", &[]).await;
    assert!(tokens["expires_in"].is_null());
    let token = &tokens["access_token"];
    let profile = party.bearer("/api/v3/user", token).await.json();
    assert!(profile["id"].is_u64() && profile["email"].is_null());
    let emails = party.bearer("/api/v3/user/emails", token).await.json();
    let primary: Vec<_> = emails.as_array().unwrap().iter().filter(|entry| entry["primary"] == true).collect();
    assert_eq!(primary[0]["email"], "alice@example.com");
    assert_eq!(party.bearer("/api/v3/user/teams", token).await.json()[0]["organization"]["login"], "acme");
    let authorization = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(party.fetch("/api/v3/user", &[("authorization", &authorization)]).await.status, 403, "no User-Agent");
    let basic = Party::basic();
    let headers = [("authorization", basic.as_str()), ("user-agent", "test"), ("content-type", "application/json")];
    let body = json!({"access_token": token}).to_string();
    let path = "/api/v3/applications/client/token";
    assert_eq!(party.send(Method::DELETE, path, &headers[1..], body.clone()).await.status, 401);
    assert_eq!(party.send(Method::DELETE, path, &headers, body.clone()).await.status, 204);
    assert_eq!(party.send(Method::DELETE, path, &headers, body).await.status, 404);
    assert_eq!(party.bearer("/api/v3/user", token).await.status, 401);
}

#[tokio::test]
async fn github_apps_expire_and_rotate() {
    let party = party(SimulatorKind::GitHub).await;
    party.simulator.behave(|behaviour| behaviour.expiring_tokens = true);
    let tokens = party.login("alice", "", &[]).await;
    assert_eq!((tokens["expires_in"].clone(), tokens["scope"].clone()), (json!(28_800), json!("")));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_string());
    let replay = party.refresh(&tokens["refresh_token"]).await;
    assert_eq!((replay.status.as_u16(), replay.json()["error"].clone()), (200, json!("bad_refresh_token")));
}
