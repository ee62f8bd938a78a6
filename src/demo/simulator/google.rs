//! Simulated Google.
//!
//! Odd: the refresh token comes only with `access_type=offline` and a consent page that was shown; it never rotates;
//! granted scopes come back under longer names; revoking withdraws consent, and a second revocation is a 400; consumer
//! accounts have no `hd`; there is no sign-out.

use http::{Method, StatusCode, header};
use serde_json::json;

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
pub(super) struct Google;

const LOOK: Look = Look {
    word: "google",
    name: "Google",
    greeting: "Choose an account",
    allow: "Continue",
    css: ":root{--brand:#1a56c4;--paper:#f0f4f9;--round:28px;--button:99px}\
          .people button{border-color:transparent;border-bottom-color:var(--line);border-radius:0}\
          .mark{font-weight:500;letter-spacing:-.04em}h1{font-weight:400;font-size:30px}\
          @media(prefers-color-scheme:dark){:root{--brand:#a8c7fa;--on-brand:#062e6f;--paper:#1b1b1d;--card:#0e0e10}}",
};

impl Imitation for Google {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Off,
            token_lifetime: 3599,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: true,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.digits("10769150350006150")
    }

    fn has_id_token(&self) -> bool {
        true
    }

    fn refreshable(&self, asked: &Asked, consent_shown: bool, _: &Behaviour) -> bool {
        asked.access_type_offline && consent_shown
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.as_str() {
            "/.well-known/openid-configuration" => Endpoint::Discovery,
            "/o/oauth2/v2/auth" => Endpoint::Authorize,
            "/token" => token_use(&request.form),
            "/v1/userinfo" => Endpoint::Profile,
            "/oauth2/v3/certs" => Endpoint::Keys,
            "/revoke" => Endpoint::Revoke,
            "/tokeninfo" => Endpoint::Inspect,
            _ => Endpoint::Unknown,
        }
    }

    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        let asked = Asked::read(request, world, ' ')?;
        let known = ["none", "consent", "select_account"];
        if asked.prompts.iter().any(|prompt| !known.contains(&prompt.as_str())) {
            return Err(Refusal::Page("invalid_request", "this prompt does not exist here".into()));
        }
        Ok(asked)
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Discovery => Ok(discovery(world)),
            Endpoint::Keys => Ok(Reply::ok(&world.keys.jwks()).with(header::CACHE_CONTROL, "public, max-age=300")),
            Endpoint::Token | Endpoint::Refresh => token(endpoint, request, world),
            Endpoint::Profile => {
                let grant = world.holder(request.bearer())?;
                let mut profile = claims(&grant);
                profile.insert("sub".into(), json!(self.subject(grant.person)));
                Ok(Reply::ok(&profile.into()))
            }
            Endpoint::Revoke => revoke(request, world),
            Endpoint::Inspect => inspect(request, world),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, endpoint: Endpoint, _: &World) -> Reply {
        let bad = |error: &str, why: &str| {
            Reply::json(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": why}))
        };
        match fault {
            Fault::DeadAccess if endpoint == Endpoint::Revoke => bad("invalid_token", "Token expired or revoked."),
            Fault::DeadCode | Fault::WrongVerifier => bad("invalid_grant", "Bad Request"),
            Fault::DeadRefresh => bad("invalid_grant", "Token has been expired or revoked."),
            Fault::WrongRedirect => bad("redirect_uri_mismatch", "Bad Request"),
            other => oauth_error(other),
        }
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("issuer", quoted(base)),
            ("discovery_url", quoted(format!("{base}/.well-known/openid-configuration"))),
            ("authorize_url", quoted(format!("{base}/o/oauth2/v2/auth"))),
            ("token_url", quoted(format!("{base}/token"))),
            ("userinfo_url", quoted(format!("{base}/v1/userinfo"))),
            ("jwks_url", quoted(format!("{base}/oauth2/v3/certs"))),
            ("revocation_url", quoted(format!("{base}/revoke"))),
        ]
    }
}

fn discovery(world: &World) -> Reply {
    Reply::ok(&json!({
        "issuer": world.base,
        "authorization_endpoint": world.url("/o/oauth2/v2/auth"),
        "token_endpoint": world.url("/token"),
        "userinfo_endpoint": world.url("/v1/userinfo"),
        "revocation_endpoint": world.url("/revoke"),
        "jwks_uri": world.url("/oauth2/v3/certs"),
        "response_types_supported": ["code", "token", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "authorization_response_iss_parameter_supported": world.behaviour().issuer_on_callback,
    }))
    .with(header::CACHE_CONTROL, "public, max-age=3600")
}

fn token(endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    check_token_request(request)?;
    world.authenticate(request, &request.form, ClientAuth::Either)?;
    let grant = match endpoint {
        Endpoint::Refresh => Grant { nonce: None, ..world.renew(&request.form, random_text)?.0 },
        _ => world.redeem(&request.form)?,
    };
    let behaviour = world.behaviour();
    let access = format!("ya29.{}", random_text());
    world.give_access(&access, &grant, Some(std::time::Duration::from_secs(behaviour.token_lifetime)));
    let mut answer = json!({
        "access_token": access, "expires_in": behaviour.token_lifetime, "scope": long_scopes(&grant), "token_type": "Bearer",
    });
    if let Some(answer) = answer.as_object_mut() {
        if grant.has("openid") {
            let issuer =
                if behaviour.issuer_without_scheme { world.base.trim_start_matches("http://") } else { &world.base };
            let mut more = claims(&grant);
            more.insert("azp".into(), json!(world.client_id));
            answer.insert("id_token".into(), json!(world.id_token(issuer, &grant, &access, more.into())));
        }
        if endpoint == Endpoint::Token
            && let Some(refresh) = world.give_refresh("1//0", &grant)
        {
            answer.insert("refresh_token".into(), json!(refresh));
        }
    }
    Ok(Reply::ok(&answer))
}

fn long_scopes(grant: &Grant) -> String {
    let long = |scope: &String| match scope.as_str() {
        "email" | "profile" => format!("https://www.googleapis.com/auth/userinfo.{scope}"),
        other => other.to_owned(),
    };
    grant.scopes.iter().map(long).collect::<Vec<_>>().join(" ")
}

fn claims(grant: &Grant) -> serde_json::Map<String, serde_json::Value> {
    let person = grant.person;
    let mut claims = serde_json::Map::new();
    if grant.has("email")
        && let Some(email) = person.email
    {
        claims.insert("email".into(), json!(email));
        claims.insert("email_verified".into(), json!(person.email_verified));
    }
    if let Some(domain) = person.hosted_domain {
        claims.insert("hd".into(), json!(domain));
    }
    if grant.has("profile") {
        claims.insert("name".into(), json!(person.name()));
        claims.insert("given_name".into(), json!(person.given_name));
        claims.insert("family_name".into(), json!(person.family_name));
        claims.insert("picture".into(), json!(format!("https://pictures.invalid/{}.png", person.id)));
        claims.insert("locale".into(), json!(person.locale));
    }
    claims
}

/// Either kind of token, no client authentication; ends the family and the consent.
fn revoke(request: &Request, world: &World) -> Result<Reply, Fault> {
    if request.method != Method::POST {
        return Err(Fault::BadRequest("revocation is a POST"));
    }
    let token = request
        .form
        .get("token")
        .or_else(|| request.query.get("token"))
        .ok_or(Fault::BadRequest("token is missing"))?;
    let now = world.now();
    let mut state = world.state();
    let held = state.grants.holder(token, now).map(|(grant, ..)| grant.clone()).ok();
    let grant = held.or_else(|| state.grants.refresh_holder(token).cloned()).ok_or(Fault::DeadAccess)?;
    state.grants.kill_all(|other| other.person == grant.person);
    state.consents.remove(grant.person.id);
    Ok(Reply::ok(&json!({})))
}

fn inspect(request: &Request, world: &World) -> Result<Reply, Fault> {
    let token = request.query.get("access_token").ok_or(Fault::BadRequest("access_token is missing"))?;
    let now = world.now();
    let state = world.state();
    let (grant, _, expires) = state.grants.holder(token, now)?;
    Ok(Reply::ok(&json!({
        "aud": world.client_id, "azp": world.client_id, "sub": Google.subject(grant.person), "scope": long_scopes(grant),
        "expires_in": expires.map(|expires| expires.since(now).as_secs().to_string()),
    })))
}
