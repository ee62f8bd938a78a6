//! Simulated AWS Cognito user pool.
//!
//! Odd: the issuer has a path of its own beside the pool's domain; discovery is silent about PKCE although S256 works;
//! booleans are texts in `userInfo`; groups are in the ID token only; access tokens are JWTs without `aud`; errors have
//! no description; `/logout` wants `client_id` and `logout_uri`; only refresh tokens can be revoked; rotation is a
//! setting, with or without a period of grace.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{
    authorize::{Asked, Refusal},
    endpoint::{Endpoint, Fault},
    grants::{Grant, Rotation},
    imitation::{Imitation, check_token_request, quoted, token_use},
    keys::Signing,
    message::{Reply, Request},
    pages::{self, Look},
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::secret::random_text;

#[derive(Debug)]
pub(super) struct Cognito;

const REGION: &str = "eu-central-1";
const POOL: &str = "eu-central-1_Simulated";

const LOOK: Look = Look {
    word: "cognito",
    name: "Cognito",
    greeting: "Sign in to your user pool",
    allow: "Allow",
    css: ":root{--brand:#9a4a00;--round:2px;--button:2px;--paper:#232f3e;--font:\"Open Sans\",\"Noto Sans\",system-ui,sans-serif}\
          footer{color:#c9d1da}main{padding:40px}.mark::before{content:\"\";display:inline-block;width:.7em;height:.7em;\
          margin-right:.4em;background:var(--brand);transform:rotate(45deg)}.face{border-radius:2px}\
          @media(prefers-color-scheme:dark){:root{--brand:#ffac4d;--on-brand:#221400;--card:#161e2a}}",
};

impl Imitation for Cognito {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Off,
            token_lifetime: 3600,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: false,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.uuid(0x0c0)
    }

    fn has_id_token(&self) -> bool {
        true
    }

    fn issuer(&self, base: &str) -> String {
        format!("{base}/{POOL}")
    }

    fn asks_consent(&self) -> bool {
        false
    }

    fn refreshable(&self, _: &Asked, _: bool, _: &Behaviour) -> bool {
        true
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.as_str() {
            "/oauth2/authorize" | "/login" => Endpoint::Authorize,
            "/oauth2/token" => token_use(&request.form),
            "/oauth2/userInfo" => Endpoint::Profile,
            "/oauth2/revoke" => Endpoint::Revoke,
            "/logout" => Endpoint::EndSession,
            path => match path.strip_prefix('/').and_then(|path| path.strip_prefix(POOL)) {
                Some("/.well-known/openid-configuration") => Endpoint::Discovery,
                Some("/.well-known/jwks.json") => Endpoint::Keys,
                _ => Endpoint::Unknown,
            },
        }
    }

    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        let mut asked = Asked::read(request, world, ' ')?;
        let known = ["openid", "email", "profile", "phone", "aws.cognito.signin.user.admin"];
        if asked.scopes.iter().any(|scope| !known.contains(&scope.as_str())) {
            return Err(asked.refused("invalid_scope", "this scope is not enabled on the app client"));
        }
        if asked.scopes.is_empty() {
            asked.scopes = known.iter().map(|&scope| scope.to_owned()).collect();
        }
        if !asked.scopes.iter().any(|scope| scope == "openid") && asked.scopes.iter().any(|scope| !scope.contains('.'))
        {
            return Err(asked.refused("invalid_scope", "email, phone and profile need openid"));
        }
        // For local users these two have no effect.
        asked.prompts.retain(|prompt| prompt != "consent" && prompt != "select_account");
        Ok(asked)
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Discovery => Ok(discovery(self, world)),
            Endpoint::Keys => Ok(Reply::ok(&world.keys.jwks()).with(header::CACHE_CONTROL, "public, max-age=86400")),
            Endpoint::Token | Endpoint::Refresh => token(self, endpoint, request, world),
            Endpoint::Profile => userinfo(self, request, world),
            Endpoint::Revoke => revoke(request, world),
            Endpoint::EndSession => Ok(logout(request, world)),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, endpoint: Endpoint, _: &World) -> Reply {
        let (status, error) = match fault {
            Fault::MissingClient | Fault::WrongClient if endpoint == Endpoint::Revoke => (401, "invalid_client"),
            Fault::MissingClient | Fault::WrongClient => (400, "invalid_client"),
            Fault::BadRequest("unsupported_token_type") => (400, "unsupported_token_type"),
            Fault::BadRequest(_) => (400, "invalid_request"),
            Fault::UnknownGrantType => (400, "unsupported_grant_type"),
            Fault::DeadAccess => (401, "invalid_token"),
            Fault::Forbidden(_) => (401, "invalid_token"),
            Fault::TooMany => (429, "too_many_requests"),
            Fault::NotFound => (404, "not_found"),
            _ => (400, "invalid_grant"),
        };
        let reply =
            Reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &json!({ "error": error }));
        match endpoint {
            Endpoint::Profile => {
                let challenge = format!(
                    "Bearer error=\"{error}\", error_description=\"Access token is expired, disabled, or deleted, or the user has globally signed out.\""
                );
                reply.with(header::WWW_AUTHENTICATE, &challenge)
            }
            _ => reply.with(HeaderName::from_static("x-amz-cognito-request-id"), "simulated"),
        }
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("issuer", quoted(self.issuer(base))),
            ("region", quoted(REGION)),
            ("user_pool_id", quoted(POOL)),
            ("authorize_url", quoted(format!("{base}/oauth2/authorize"))),
            ("token_url", quoted(format!("{base}/oauth2/token"))),
            ("userinfo_url", quoted(format!("{base}/oauth2/userInfo"))),
            ("revocation_url", quoted(format!("{base}/oauth2/revoke"))),
            ("end_session_url", quoted(format!("{base}/logout"))),
        ]
    }
}

fn discovery(cognito: &Cognito, world: &World) -> Reply {
    let issuer = cognito.issuer(&world.base);
    Reply::ok(&json!({
        "issuer": issuer,
        "authorization_endpoint": world.url("/oauth2/authorize"),
        "token_endpoint": world.url("/oauth2/token"),
        "userinfo_endpoint": world.url("/oauth2/userInfo"),
        "revocation_endpoint": world.url("/oauth2/revoke"),
        "end_session_endpoint": world.url("/logout"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "phone", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }))
}

fn token(cognito: &Cognito, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    check_token_request(request)?;
    world.authenticate(request, &request.form, ClientAuth::Either)?;
    let (grant, refresh) = match endpoint {
        Endpoint::Refresh => {
            let (grant, refresh) = world.renew(&request.form, random_text)?;
            (Grant { nonce: None, ..grant }, refresh)
        }
        _ => {
            let grant = world.redeem(&request.form)?;
            let refresh = world.give_refresh("", &grant);
            (grant, refresh)
        }
    };
    let lifetime = world.behaviour().token_lifetime;
    let access = access_token(cognito, &grant, lifetime, world);
    world.give_access(&access, &grant, Some(Duration::from_secs(lifetime)));
    let mut answer = json!({"access_token": access, "token_type": "Bearer", "expires_in": lifetime});
    if let Some(answer) = answer.as_object_mut() {
        if grant.has("openid") {
            let issuer = cognito.issuer(&world.base);
            answer.insert("id_token".into(), json!(world.id_token(&issuer, &grant, &access, claims(&grant))));
        }
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".into(), json!(refresh));
        }
    }
    Ok(Reply::ok(&answer))
}

/// A JWT without `aud`: `client_id` stands in for it.
fn access_token(cognito: &Cognito, grant: &Grant, lifetime: u64, world: &World) -> String {
    let now = world.now();
    let claims = json!({
        "iss": cognito.issuer(&world.base), "sub": cognito.subject(grant.person), "client_id": world.client_id,
        "token_use": "access", "scope": grant.scopes.join(" "), "username": grant.person.username, "version": 2,
        "cognito:groups": grant.person.groups, "auth_time": grant.auth_time.as_secs(), "iat": now.as_secs(),
        "exp": now.plus(Duration::from_secs(lifetime)).as_secs(), "jti": random_text(),
        "origin_jti": format!("{:x}", grant.family),
    });
    world.keys.jws("JWT", &claims.to_string(), Signing::Honest)
}

fn claims(grant: &Grant) -> Value {
    let mut claims = profile(grant);
    claims.insert("token_use".into(), json!("id"));
    claims.insert("cognito:username".into(), json!(grant.person.username));
    claims.insert("auth_time".into(), json!(grant.auth_time.as_secs()));
    claims.insert("jti".into(), json!(random_text()));
    claims.insert("origin_jti".into(), json!(format!("{:x}", grant.family)));
    // Omitted when empty.
    if !grant.person.groups.is_empty() {
        claims.insert("cognito:groups".into(), json!(grant.person.groups));
    }
    claims.into()
}

fn profile(grant: &Grant) -> Map<String, Value> {
    let person = grant.person;
    let mut profile = Map::new();
    if grant.has("profile") {
        profile.insert("name".into(), json!(person.name()));
        profile.insert("given_name".into(), json!(person.given_name));
        profile.insert("family_name".into(), json!(person.family_name));
        profile.insert("preferred_username".into(), json!(person.username));
        profile.insert("locale".into(), json!(person.locale));
    }
    if let (true, Some(email)) = (grant.has("email"), person.email) {
        profile.insert("email".into(), json!(email));
        profile.insert("email_verified".into(), json!(person.email_verified));
    }
    profile
}

/// Booleans are texts here, and only here.
fn userinfo(cognito: &Cognito, request: &Request, world: &World) -> Result<Reply, Fault> {
    let grant = world.holder(request.bearer())?;
    if !grant.has("openid") {
        return Err(Fault::Forbidden("the access token lacks openid"));
    }
    let mut profile = profile(&grant);
    profile.insert("sub".into(), json!(cognito.subject(grant.person)));
    profile.insert("username".into(), json!(grant.person.username));
    if let Some(verified) = profile.get_mut("email_verified") {
        *verified = json!(verified.to_string());
    }
    Ok(Reply::ok(&profile.into()))
}

fn revoke(request: &Request, world: &World) -> Result<Reply, Fault> {
    if request.method != Method::POST {
        return Err(Fault::BadRequest("revocation is a POST"));
    }
    world.authenticate(request, &request.form, ClientAuth::Either)?;
    let token = request.form.get("token").ok_or(Fault::BadRequest("token is missing"))?;
    if token.contains('.') {
        return Err(Fault::BadRequest("unsupported_token_type"));
    }
    let mut state = world.state();
    let family = state.grants.refresh_holder(token).map(|grant| grant.family);
    if let Some(family) = family {
        state.grants.kill(family);
    }
    Ok(Reply::empty(StatusCode::OK))
}

/// Knows only its own two parameters, and does not revoke anything.
fn logout(request: &Request, world: &World) -> Reply {
    let target = request.query.get("logout_uri");
    if request.query.get("client_id") != Some(&world.client_id) || target.is_none() {
        return pages::refused(
            world,
            "invalid_request",
            "Required String parameter 'client_id' or 'logout_uri' is not present",
        );
    }
    let target = target.unwrap_or_default();
    if !world.state().post_logout_uris.iter().any(|known| known == target) {
        return pages::refused(world, "redirect_mismatch", &format!("“{target}” is not an allowed sign-out URL"));
    }
    world.sign_out(request, false);
    Reply::see_other(target)
}
