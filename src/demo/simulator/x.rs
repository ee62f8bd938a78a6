//! Simulated X.
//!
//! Odd: Basic authentication or nothing; PKCE is a must; a code lives 30 seconds; refresh tokens rotate and a replay
//! kills the family; dead codes and refresh tokens are `invalid_request`; the profile stands under `data`, with
//! `errors` beside it for fields that were not allowed; a request X does not like never comes back to the callback.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    authorize::{Asked, Refusal},
    endpoint::{Endpoint, Fault},
    grants::{Grant, Rotation},
    imitation::{Imitation, check_token_request, oauth_error, quoted, token_use},
    message::{Reply, Request},
    pages::Look,
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::secret::random_text;

#[derive(Debug)]
pub(super) struct X;

const LOOK: Look = Look {
    word: "x",
    name: "X",
    greeting: "Sign in to X",
    allow: "Authorize app",
    css: ":root{--brand:#0f1419;--round:16px;--button:99px;--paper:#dfe3e6}.mark{font-size:32px;font-weight:900}\
          h1{font-weight:800}.people button{padding:10px 18px 10px 10px}.actions{flex-direction:column-reverse}\
          @media(prefers-color-scheme:dark){:root{--brand:#eff3f4;--on-brand:#0f1419;--paper:#000;--card:#15181c}}",
};

impl Imitation for X {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Strict,
            token_lifetime: 7200,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: false,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.digits("224499494512345")
    }

    fn subject_pointer(&self) -> &'static str {
        "/data/id"
    }

    fn code_lifetime(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn refreshable(&self, asked: &Asked, _: bool, _: &Behaviour) -> bool {
        asked.scopes.iter().any(|scope| scope == "offline.access")
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.as_str() {
            "/i/oauth2/authorize" => Endpoint::Authorize,
            "/2/oauth2/token" => token_use(&request.form),
            "/2/oauth2/revoke" => Endpoint::Revoke,
            "/2/users/me" => Endpoint::Profile,
            _ => Endpoint::Unknown,
        }
    }

    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        let wrong = |why: &str| Refusal::Page("something_went_wrong", format!("Something went wrong: {why}."));
        let mut asked = match Asked::read(request, world, ' ') {
            Err(Refusal::Callback(_, _, why)) => return Err(wrong(why)),
            other => other?,
        };
        if asked.challenge.is_none() {
            return Err(wrong("code_challenge is required"));
        }
        if asked.state.as_ref().is_none_or(|state| state.len() > 500) {
            return Err(wrong("state is required and has at most 500 characters"));
        }
        asked.prompts.clear();
        asked.login_hint = None;
        asked.nonce = None;
        Ok(asked)
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Token | Endpoint::Refresh => token(endpoint, request, world),
            Endpoint::Profile => profile(self, request, world),
            Endpoint::Revoke => revoke(request, world),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, endpoint: Endpoint, world: &World) -> Reply {
        let json =
            |status, error: &str, why: &str| Reply::json(status, &json!({"error": error, "error_description": why}));
        let bad = StatusCode::BAD_REQUEST;
        match fault {
            Fault::MissingClient => {
                json(StatusCode::UNAUTHORIZED, "unauthorized_client", "Missing valid authorization header")
            }
            Fault::DeadCode | Fault::WrongRedirect | Fault::WrongVerifier => {
                json(bad, "invalid_request", "Value passed for the authorization code was invalid.")
            }
            Fault::DeadRefresh => json(bad, "invalid_request", "Value passed for the token was invalid."),
            Fault::DeadAccess => problem(StatusCode::UNAUTHORIZED, "Unauthorized"),
            Fault::Forbidden(_) => problem(StatusCode::FORBIDDEN, "Forbidden"),
            Fault::NotFound => problem(StatusCode::NOT_FOUND, "Not Found"),
            Fault::TooMany => too_many(world),
            other if endpoint == Endpoint::Profile => problem(bad, &format!("{other:?}")),
            other => oauth_error(other),
        }
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("authorize_url", quoted(format!("{base}/i/oauth2/authorize"))),
            ("token_url", quoted(format!("{base}/2/oauth2/token"))),
            ("userinfo_url", quoted(format!("{base}/2/users/me"))),
            ("revocation_url", quoted(format!("{base}/2/oauth2/revoke"))),
            ("api_url", quoted(base)),
        ]
    }
}

/// Resource errors (RFC 9457).
fn problem(status: StatusCode, title: &str) -> Reply {
    let body = json!({"title": title, "detail": title, "type": "about:blank", "status": status.as_u16()});
    Reply::new(status, "application/problem+json", body.to_string())
}

fn too_many(world: &World) -> Reply {
    let reset = world.now().plus(Duration::from_secs(900)).as_secs().to_string();
    problem(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")
        .with(HeaderName::from_static("x-rate-limit-limit"), "75")
        .with(HeaderName::from_static("x-rate-limit-remaining"), "0")
        .with(HeaderName::from_static("x-rate-limit-reset"), &reset)
}

fn token(endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    check_token_request(request)?;
    world.authenticate(request, &request.form, ClientAuth::Basic)?;
    let (grant, refresh) = match endpoint {
        Endpoint::Refresh => world.renew(&request.form, random_text)?,
        _ => {
            let grant = world.redeem(&request.form)?;
            let refresh = world.give_refresh("", &grant);
            (grant, refresh)
        }
    };
    let lifetime = world.behaviour().token_lifetime;
    let access = random_text();
    world.give_access(&access, &grant, Some(Duration::from_secs(lifetime)));
    let mut answer = json!({
        "token_type": "bearer", "expires_in": lifetime, "access_token": access, "scope": grant.scopes.join(" "),
    });
    if let (Some(refresh), Some(answer)) = (refresh, answer.as_object_mut()) {
        answer.insert("refresh_token".into(), json!(refresh));
    }
    Ok(Reply::ok(&answer))
}

fn profile(x: &X, request: &Request, world: &World) -> Result<Reply, Fault> {
    let grant = world.holder(request.bearer())?;
    if !grant.has("users.read") || !grant.has("tweet.read") {
        return Err(Fault::Forbidden("users.read and tweet.read are needed"));
    }
    let mut data = Map::new();
    data.insert("id".into(), json!(x.subject(grant.person)));
    data.insert("name".into(), json!(grant.person.name()));
    data.insert("username".into(), json!(grant.person.username));
    let mut errors = Vec::new();
    for name in request.query.get("user.fields").unwrap_or_default().split(',') {
        add_field(name, &grant, &mut data, &mut errors);
    }
    let mut answer = json!({ "data": data });
    if let (false, Some(answer)) = (errors.is_empty(), answer.as_object_mut()) {
        answer.insert("errors".into(), Value::Array(errors));
    }
    Ok(Reply::ok(&answer))
}

fn add_field(name: &str, grant: &Grant, data: &mut Map<String, Value>, errors: &mut Vec<Value>) {
    let person = grant.person;
    match name {
        "profile_image_url" => {
            data.insert(name.into(), json!(format!("https://pictures.invalid/{}_normal.jpg", person.id)));
        }
        "verified" | "protected" => {
            data.insert(name.into(), json!(false));
        }
        "created_at" => {
            data.insert(name.into(), json!("2013-12-14T04:35:55.000Z"));
        }
        "confirmed_email" if !grant.has("users.email") => errors.push(json!({
            "title": "Field Authorization Error", "field": name, "section": "user",
            "detail": "Sorry, you are not authorized to access 'user.confirmed_email'.",
            "type": "https://api.x.com/2/problems/not-authorized-for-field",
        })),
        "confirmed_email" if person.email_verified => {
            data.insert(name.into(), json!(person.email));
        }
        _ => {}
    }
}

fn revoke(request: &Request, world: &World) -> Result<Reply, Fault> {
    if request.method != Method::POST {
        return Err(Fault::BadRequest("revocation is a POST"));
    }
    world.authenticate(request, &request.form, ClientAuth::Basic)?;
    let token = request.form.get("token").ok_or(Fault::BadRequest("token is missing"))?;
    world.state().grants.forget(token);
    Ok(Reply::ok(&json!({"revoked": true})))
}
