//! Simulated GitHub, an OAuth App unless told to be a GitHub App with expiring tokens.
//!
//! Odd: the token endpoint answers in form encoding unless asked for JSON, and 200 even with an error; scopes come back
//! with commas; the subject is a number; the public address is usually null and the real ones are elsewhere; the API
//! refuses callers without a `User-Agent`; tokens are ended with DELETE and Basic. The API is below `/api/v3`, as on an
//! Enterprise Server.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};

use super::{
    authorize::{Asked, Refusal},
    endpoint::{Endpoint, Fault},
    grants::{Grant, Rotation},
    imitation::{Imitation, quoted, token_use},
    message::{Reply, Request},
    pages::Look,
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::secret::random_text;

#[derive(Debug)]
pub(super) struct GitHub;

const API: &str = "/api/v3";

const LOOK: Look = Look {
    word: "github",
    name: "GitHub",
    greeting: "Sign in to GitHub",
    allow: "Authorize",
    css: ":root{--brand:#1a7f37;--round:6px;--button:6px;--paper:#f6f8fa}main{box-shadow:none}h1{text-align:center;font-weight:400}\
          .lead{text-align:center}.mark{color:var(--ink);font-weight:600}.who b{font-weight:500}.actions{justify-content:space-between}\
          .face{border-radius:6px}@media(prefers-color-scheme:dark){:root{--brand:#3fb950;--on-brand:#02140a;--paper:#0d1117;--card:#161b22}}",
};

impl Imitation for GitHub {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Strict,
            token_lifetime: 28_800,
            tell_lifetime: true,
            expiring_tokens: false,
            issuer_without_scheme: false,
            issuer_on_callback: false,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.integer().to_string()
    }

    fn subject_pointer(&self) -> &'static str {
        "/id"
    }

    fn code_lifetime(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn refreshable(&self, _: &Asked, _: bool, behaviour: &Behaviour) -> bool {
        behaviour.expiring_tokens
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        let method = &request.method;
        match request.path.strip_prefix(API).unwrap_or(&request.path) {
            "/login/oauth/authorize" => Endpoint::Authorize,
            "/login/oauth/access_token" => token_use(&request.form),
            "/user" => Endpoint::Profile,
            "/user/emails" => Endpoint::Emails,
            "/user/orgs" | "/user/teams" => Endpoint::Groups,
            path if path.starts_with("/applications/") && *method == Method::DELETE => Endpoint::Revoke,
            path if path.starts_with("/applications/") && *method == Method::POST => Endpoint::Inspect,
            _ => Endpoint::Unknown,
        }
    }

    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        // response_type is not among GitHub's parameters, but every client sends it.
        let mut asked = Asked::read(request, world, ',')?;
        asked.prompts.retain(|prompt| prompt == "select_account");
        asked.nonce = None;
        Ok(asked)
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        let on_api = !endpoint.is_token();
        if on_api && request.header("user-agent").is_none_or(str::is_empty) {
            return Err(Fault::Forbidden(
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            ));
        }
        match endpoint {
            Endpoint::Token | Endpoint::Refresh => Ok(negotiated(request, token(endpoint, request, world)?)),
            Endpoint::Profile => Ok(Reply::ok(&profile(&world.holder(request.bearer())?))),
            Endpoint::Emails => emails(request, world),
            Endpoint::Groups => groups(request, world),
            Endpoint::Revoke => revoke(request, world),
            Endpoint::Inspect => inspect(request, world),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, endpoint: Endpoint, world: &World) -> Reply {
        if endpoint.is_token() && fault != Fault::TooMany {
            return token_error(fault);
        }
        let (status, message) = match fault {
            Fault::DeadAccess => (401, "Bad credentials"),
            Fault::MissingClient | Fault::WrongClient => (401, "Requires authentication"),
            Fault::Forbidden(why) => (403, why),
            Fault::BadRequest(why) => (422, why),
            Fault::TooMany => (403, "API rate limit exceeded"),
            _ => (404, "Not Found"),
        };
        let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest"});
        let reply = Reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND), &body);
        if fault != Fault::TooMany {
            return reply;
        }
        let reset = world.now().plus(Duration::from_secs(900)).as_secs().to_string();
        let reply = reply
            .with(HeaderName::from_static("x-ratelimit-remaining"), "0")
            .with(HeaderName::from_static("x-ratelimit-reset"), &reset);
        Reply { status: StatusCode::TOO_MANY_REQUESTS, ..reply }.with(http::header::RETRY_AFTER, "900")
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("authorize_url", quoted(format!("{base}/login/oauth/authorize"))),
            ("token_url", quoted(format!("{base}/login/oauth/access_token"))),
            ("api_url", quoted(format!("{base}{API}"))),
            ("userinfo_url", quoted(format!("{base}{API}/user"))),
        ]
    }
}

/// Errors at the token endpoint are a 200.
fn token_error(fault: Fault) -> Reply {
    let (error, description) = match fault {
        Fault::MissingClient | Fault::WrongClient => {
            ("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
        }
        Fault::DeadCode | Fault::WrongVerifier => ("bad_verification_code", "The code passed is incorrect or expired."),
        Fault::WrongRedirect => ("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL."),
        Fault::DeadRefresh => ("bad_refresh_token", "The refresh token passed is incorrect or expired."),
        Fault::UnknownGrantType => ("unsupported_grant_type", "The grant_type is not supported."),
        _ => ("invalid_request", "The request is incomplete."),
    };
    Reply::ok(&json!({"error": error, "error_description": description, "error_uri": "https://docs.github.com/apps"}))
}

/// JSON for those who ask for it, else a form.
fn negotiated(request: &Request, reply: Reply) -> Reply {
    if request.header("accept").is_some_and(|accept| accept.contains("json")) {
        return reply;
    }
    let mut form = form_urlencoded::Serializer::new(String::new());
    if let Some(Value::Object(members)) = reply.value() {
        for (name, value) in members {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            form.append_pair(&name, &text);
        }
    }
    Reply::new(reply.status, "application/x-www-form-urlencoded; charset=utf-8", form.finish())
}

fn token(endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    if request.method != Method::POST || request.form.repeated().is_some() {
        return Err(Fault::BadRequest("a form by POST, nothing twice"));
    }
    world.authenticate(request, &request.form, ClientAuth::Post)?;
    let (grant, refresh) = match endpoint {
        Endpoint::Refresh => world.renew(&request.form, || format!("ghr_{}", random_text()))?,
        _ => {
            let grant = world.redeem(&request.form)?;
            let refresh = world.give_refresh("ghr_", &grant);
            (grant, refresh)
        }
    };
    let behaviour = world.behaviour();
    let lifetime = behaviour.expiring_tokens.then_some(behaviour.token_lifetime);
    let access = format!("{}_{}", if behaviour.expiring_tokens { "ghu" } else { "gho" }, random_text());
    world.give_access(&access, &grant, lifetime.map(Duration::from_secs));
    let scope = if behaviour.expiring_tokens { String::new() } else { grant.scopes.join(",") };
    let mut answer = json!({"access_token": access, "token_type": "bearer", "scope": scope});
    if let (Some(answer), Some(lifetime), Some(refresh)) = (answer.as_object_mut(), lifetime, refresh) {
        answer.insert("expires_in".into(), json!(lifetime));
        answer.insert("refresh_token".into(), json!(refresh));
        answer.insert("refresh_token_expires_in".into(), json!(15_897_600));
    }
    Ok(Reply::ok(&answer))
}

fn profile(grant: &Grant) -> Value {
    let person = grant.person;
    json!({
        "id": person.integer(), "login": person.username, "node_id": format!("U_{}", person.integer()),
        "name": person.name(), "email": null, "type": "User", "site_admin": false,
        "avatar_url": format!("https://pictures.invalid/{}.png", person.id),
        "html_url": format!("https://github.invalid/{}", person.username),
        "company": null, "blog": "", "location": null, "bio": null,
        "created_at": "2011-01-25T18:44:36Z", "updated_at": "2026-01-25T18:44:36Z",
    })
}

fn emails(request: &Request, world: &World) -> Result<Reply, Fault> {
    let grant = world.holder(request.bearer())?;
    if !grant.has("user:email") && !grant.has("user") && !grant.refreshable {
        return Err(Fault::NotFound);
    }
    let person = grant.person;
    let noreply = json!({
        "email": format!("{}+{}@users.noreply.github.com", person.integer(), person.username),
        "primary": person.email.is_none(), "verified": person.email.is_none(), "visibility": null,
    });
    let mut list =
        vec![json!({"email": "old@example.invalid", "primary": false, "verified": false, "visibility": null}), noreply];
    if let Some(email) = person.email {
        list.push(json!({"email": email, "primary": true, "verified": person.email_verified, "visibility": "private"}));
    }
    Ok(Reply::ok(&Value::Array(list)))
}

/// Every group is a team of the organisation `acme`.
fn groups(request: &Request, world: &World) -> Result<Reply, Fault> {
    let grant = world.holder(request.bearer())?;
    if !grant.has("read:org") {
        return Err(Fault::Forbidden("You need at least read:org scope"));
    }
    let organisation = json!({"login": "acme", "id": 9001});
    let teams = grant.person.groups.iter().zip(1..);
    let list = if request.path.ends_with("/teams") {
        teams.map(|(slug, id)| json!({"slug": slug, "name": slug, "id": id, "organization": organisation})).collect()
    } else if grant.person.groups.is_empty() {
        Vec::new()
    } else {
        vec![organisation]
    };
    Ok(Reply::ok(&Value::Array(list)))
}

/// The token in the JSON body of an `/applications/{client_id}/…` call.
fn named_token(request: &Request, world: &World) -> Result<String, Fault> {
    world.authenticate(request, &request.form, ClientAuth::Basic)?;
    let path = request.path.strip_prefix(API).unwrap_or(&request.path);
    let own = path.strip_prefix("/applications/").and_then(|rest| rest.split('/').next());
    if own != Some(world.client_id.as_str()) {
        return Err(Fault::NotFound);
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Fault::BadRequest("Problems parsing JSON"))?;
    let token = body.get("access_token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or(Fault::BadRequest("Invalid request. access_token wasn't supplied."))
}

fn revoke(request: &Request, world: &World) -> Result<Reply, Fault> {
    let token = named_token(request, world)?;
    let grant = world.holder(Some(&token)).map_err(|_| Fault::NotFound)?;
    let mut state = world.state();
    if request.path.ends_with("/grant") {
        state.grants.kill_all(|other| other.person == grant.person);
        state.consents.remove(grant.person.id);
    } else {
        state.grants.forget(&token);
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn inspect(request: &Request, world: &World) -> Result<Reply, Fault> {
    let token = named_token(request, world)?;
    let grant = world.holder(Some(&token)).map_err(|_| Fault::NotFound)?;
    Ok(Reply::ok(&json!({"token": token, "scopes": grant.scopes, "user": profile(&grant)})))
}
