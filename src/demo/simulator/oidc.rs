//! A simulated OpenID Connect issuer, well-behaved in everything: what a Keycloak, Authentik or Dex looks like.
//!
//! Discovery below an issuer with a path, RS256, PKCE, `iss` on the callback (RFC 9207), rotating refresh tokens,
//! revocation, RP-initiated logout, and logout tokens for the back channel ([`logout_token`]).

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    authorize::Asked,
    endpoint::{Endpoint, Fault},
    grants::{Grant, Rotation},
    imitation::{Imitation, check_token_request, oauth_error, quoted, token_use},
    keys::Signing,
    message::{Params, Reply, Request},
    pages::{self, Look},
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::secret::random_text;

#[derive(Debug)]
pub(super) struct Oidc;

const REALM: &str = "/realms/demo";

const LOOK: Look = Look {
    word: "oidc",
    name: "Acme ID",
    greeting: "Sign in with your Acme account",
    allow: "Yes, allow",
    css: ":root{--brand:#5b3cc4;--round:20px;--button:12px;--paper:linear-gradient(160deg,#ebe4ff,#e3f1ff)}\
          body{background:var(--paper) fixed}.people{display:grid;gap:8px}.people li+li{margin:0}\
          @media(prefers-color-scheme:dark){:root{--brand:#b9a5ff;--on-brand:#1b0f47;--paper:linear-gradient(160deg,#1c1433,#0d1c2b)}}",
};

impl Imitation for Oidc {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Strict,
            token_lifetime: 300,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: true,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.uuid(0x01d)
    }

    fn has_id_token(&self) -> bool {
        true
    }

    fn issuer(&self, base: &str) -> String {
        format!("{base}{REALM}")
    }

    fn refreshable(&self, _: &Asked, _: bool, _: &Behaviour) -> bool {
        true
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.strip_prefix(REALM).unwrap_or_default() {
            "/.well-known/openid-configuration" => Endpoint::Discovery,
            "/authorize" => Endpoint::Authorize,
            "/token" => token_use(&request.form),
            "/userinfo" => Endpoint::Profile,
            "/certs" => Endpoint::Keys,
            "/revoke" => Endpoint::Revoke,
            "/logout" => Endpoint::EndSession,
            _ => Endpoint::Unknown,
        }
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Discovery => Ok(discovery(self, world)),
            Endpoint::Keys => Ok(Reply::ok(&world.keys.jwks()).with(header::CACHE_CONTROL, "public, max-age=300")),
            Endpoint::Token | Endpoint::Refresh => token(self, endpoint, request, world),
            Endpoint::Profile => {
                let grant = world.holder(request.bearer())?;
                let mut profile = profile(&grant);
                profile.insert("sub".into(), json!(self.subject(grant.person)));
                Ok(Reply::ok(&profile.into()))
            }
            Endpoint::Revoke => revoke(request, world),
            Endpoint::EndSession => Ok(end_session(request, world)),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, _: Endpoint, _: &World) -> Reply {
        oauth_error(fault)
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        // Discovery tells the rest.
        vec![("issuer", quoted(self.issuer(base))), ("groups_claim", quoted("groups"))]
    }
}

fn discovery(oidc: &Oidc, world: &World) -> Reply {
    let issuer = oidc.issuer(&world.base);
    let at = |path: &str| format!("{issuer}{path}");
    Reply::ok(&json!({
        "issuer": issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/certs"),
        "revocation_endpoint": at("/revoke"),
        "end_session_endpoint": at("/logout"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": world.behaviour().issuer_on_callback,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
    }))
    .with(header::CACHE_CONTROL, "public, max-age=300")
}

fn token(oidc: &Oidc, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
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
    let access = random_text();
    world.give_access(&access, &grant, Some(Duration::from_secs(lifetime)));
    let mut answer = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": lifetime, "scope": grant.scopes.join(" "),
    });
    if let Some(answer) = answer.as_object_mut() {
        if grant.has("openid") {
            let mut claims = profile(&grant);
            claims.insert("sid".into(), json!(grant.sid));
            claims.insert("auth_time".into(), json!(grant.auth_time.as_secs()));
            claims.insert("amr".into(), json!(["pwd"]));
            let id_token = world.id_token(&oidc.issuer(&world.base), &grant, &access, claims.into());
            answer.insert("id_token".into(), json!(id_token));
        }
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".into(), json!(refresh));
        }
    }
    Ok(Reply::ok(&answer))
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
    profile.insert("groups".into(), json!(person.groups));
    profile
}

/// 200 also for tokens nobody knows (RFC 7009, 2.2); a refresh token takes its family along.
fn revoke(request: &Request, world: &World) -> Result<Reply, Fault> {
    if request.method != Method::POST {
        return Err(Fault::BadRequest("revocation is a POST"));
    }
    world.authenticate(request, &request.form, ClientAuth::Either)?;
    let token = request.form.get("token").ok_or(Fault::BadRequest("token is missing"))?;
    let mut state = world.state();
    if let Some(family) = state.grants.refresh_holder(token).map(|grant| grant.family) {
        state.grants.kill(family);
    }
    state.grants.forget(token);
    Ok(Reply::empty(StatusCode::OK))
}

/// OpenID Connect RP-Initiated Logout 1.0, 2. Without a hint that is ours the person is asked.
fn end_session(request: &Request, world: &World) -> Reply {
    let params = if request.method == Method::POST { &request.form } else { &request.query };
    let target = params.get("post_logout_redirect_uri");
    if let Some(target) = target
        && !world.state().post_logout_uris.iter().any(|known| known == target)
    {
        return pages::refused(world, "invalid_redirect_uri", &format!("“{target}” is not registered for the return"));
    }
    let confirmed = request.method == Method::POST && params.get("confirmed").is_some();
    if !confirmed && !params.get("id_token_hint").is_some_and(|hint| ours(hint, world)) {
        return ask_first(params, world);
    }
    world.sign_out(request, true);
    let Some(mut url) = target.and_then(|target| Url::parse(target).ok()) else {
        return pages::message(world, "You are signed out", "<p class=lead>You may close this page.</p>");
    };
    if let Some(state) = params.get("state") {
        url.query_pairs_mut().append_pair("state", state);
    }
    Reply::see_other(url.as_str())
}

/// Whether an ID token names our client; an expired one is fine, and so is the signature's key of yesterday.
fn ours(hint: &str, world: &World) -> bool {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = hint.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok()).unwrap_or_default();
    serde_json::from_slice::<Value>(&payload).is_ok_and(|claims| claims.get("aud") == Some(&json!(world.client_id)))
}

fn ask_first(params: &Params, world: &World) -> Reply {
    let hidden: String = ["post_logout_redirect_uri", "state"]
        .iter()
        .filter_map(|name| params.get(name).map(|value| (name, super::message::escape(value))))
        .map(|(name, value)| format!("<input type=hidden name={name} value=\"{value}\">"))
        .collect();
    let body = format!(
        "<p class=lead>The app did not say who is signing out.</p><form method=post>{hidden}<div class=actions>\
         <button class=main name=confirmed value=1 autofocus>Sign out</button></div></form>"
    );
    pages::message(world, "Do you want to sign out?", &body)
}

/// A rule of OpenID Connect Back-Channel Logout 1.0, 2.6, to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutFlaw {
    /// Another issuer.
    WrongIss,
    /// Another audience.
    WrongAud,
    /// Issued a day ago.
    OldIat,
    /// No `events`.
    NoEvents,
    /// An event of another kind.
    OtherEvent,
    /// A nonce, which is forbidden.
    Nonce,
    /// Neither `sub` nor `sid`.
    Nobody,
    /// No `jti`.
    NoJti,
    /// Expired.
    Expired,
    /// Signed by another key.
    WrongKey,
    /// Not signed.
    Unsigned,
    /// An explicit type of another kind of token.
    WrongType,
}

impl LogoutFlaw {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::WrongIss,
        Self::WrongAud,
        Self::OldIat,
        Self::NoEvents,
        Self::OtherEvent,
        Self::Nonce,
        Self::Nobody,
        Self::NoJti,
        Self::Expired,
        Self::WrongKey,
        Self::Unsigned,
        Self::WrongType,
    ];
}

/// A logout token for `subject` and, if given, one session of theirs.
pub(super) fn logout_token(world: &World, subject: &str, sid: Option<&str>, flaw: Option<LogoutFlaw>) -> String {
    let now = world.now().as_secs();
    let mut claims = json!({
        "iss": world.imitation.issuer(&world.base), "aud": world.client_id, "iat": now, "exp": now + 120,
        "jti": random_text(), "sub": subject,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    if let Some(claims) = claims.as_object_mut() {
        if let Some(sid) = sid {
            claims.insert("sid".into(), json!(sid));
        }
        break_rule(claims, flaw, now);
    }
    let signing = match flaw {
        Some(LogoutFlaw::WrongKey) => Signing::WrongKey,
        Some(LogoutFlaw::Unsigned) => Signing::Unsigned,
        _ => Signing::Honest,
    };
    let typ = if flaw == Some(LogoutFlaw::WrongType) { "at+jwt" } else { "logout+jwt" };
    world.keys.jws(typ, &claims.to_string(), signing)
}

fn break_rule(claims: &mut Map<String, Value>, flaw: Option<LogoutFlaw>, now: i64) {
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    match flaw {
        Some(LogoutFlaw::WrongIss) => set("iss", json!("https://issuer.invalid")),
        Some(LogoutFlaw::WrongAud) => set("aud", json!("another-client")),
        Some(LogoutFlaw::OldIat) => set("iat", json!(now - 86_400)),
        Some(LogoutFlaw::OtherEvent) => set("events", json!({"https://events.invalid/other": {}})),
        Some(LogoutFlaw::Nonce) => set("nonce", json!("forbidden")),
        Some(LogoutFlaw::Expired) => set("exp", json!(now - 200)),
        Some(LogoutFlaw::NoEvents) => {
            claims.remove("events");
        }
        Some(LogoutFlaw::NoJti) => {
            claims.remove("jti");
        }
        Some(LogoutFlaw::Nobody) => {
            claims.remove("sub");
            claims.remove("sid");
        }
        _ => {}
    }
}
