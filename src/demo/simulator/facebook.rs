//! Simulated Facebook.
//!
//! Odd: the API version is part of every path; scopes are parted by commas; errors come in the Graph envelope; no
//! refresh token but an exchange for a long-lived token; `expires_in` may be missing; every Graph call needs
//! `appsecret_proof`; the profile holds only the fields asked for, and no address where there is none; the callback
//! address ends in `#_=_`.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    authorize::{Asked, Refusal},
    endpoint::{Endpoint, Fault},
    grants::{Grant, Rotation},
    imitation::{Imitation, quoted},
    keys::{hex, hmac_sha256},
    message::{Params, Reply, Request},
    pages::Look,
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::{
    clock::Timestamp,
    secret::{constant_time_eq, random_text},
};

#[derive(Debug)]
pub(super) struct Facebook;

/// A long-lived token: 60 days.
const LONG: Duration = Duration::from_secs(5_184_000);
/// The Graph version the settings name.
const VERSION: &str = "v24.0";

const LOOK: Look = Look {
    word: "facebook",
    name: "Facebook",
    greeting: "Who is logging in?",
    allow: "Continue",
    css: ":root{--brand:#0b62d6;--round:8px;--button:6px;--paper:#eef1f5;--font:Helvetica,Arial,\"Noto Sans\",sans-serif}\
          main{border-top:6px solid var(--brand)}.mark{text-transform:lowercase;font-weight:800;font-size:28px}\
          .actions{flex-direction:row-reverse;justify-content:stretch}.actions button{flex:1}.face{border-radius:8px}\
          @media(prefers-color-scheme:dark){:root{--brand:#6ea8ff;--on-brand:#04183a;--paper:#18191a;--card:#242526}}",
};

impl Imitation for Facebook {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Off,
            token_lifetime: 5400,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: false,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.digits("1021524177383")
    }

    fn subject_pointer(&self) -> &'static str {
        "/id"
    }

    fn refreshable(&self, _: &Asked, _: bool, _: &Behaviour) -> bool {
        false
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match (&request.method, unversioned(&request.path)) {
            (_, Some("/dialog/oauth")) => Endpoint::Authorize,
            (_, Some("/oauth/access_token")) => match parameters(request).get("grant_type") {
                Some("fb_exchange_token") => Endpoint::Exchange,
                _ => Endpoint::Token,
            },
            (&Method::GET, Some("/me")) => Endpoint::Profile,
            (&Method::GET, Some("/debug_token")) => Endpoint::Inspect,
            (&Method::DELETE, Some(path)) if path.ends_with("/permissions") => Endpoint::Revoke,
            _ => Endpoint::Unknown,
        }
    }

    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        let mut asked = Asked::read(request, world, ',')?;
        // These do not exist here; Facebook ignores what it does not know.
        asked.prompts.clear();
        asked.login_hint = None;
        asked.nonce = None;
        Ok(asked)
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Token | Endpoint::Exchange => token(endpoint, request, world),
            Endpoint::Profile => profile(self, request, world),
            Endpoint::Inspect => debug_token(self, request, world),
            Endpoint::Revoke => uninstall(self, request, world),
            _ => Err(Fault::NotFound),
        }
    }

    fn refuse(&self, fault: Fault, _: Endpoint, _: &World) -> Reply {
        let (status, code, subcode, message) = match fault {
            Fault::MissingClient => (400, 101, None, "Missing client_id or client_secret parameter."),
            Fault::WrongClient => (400, 1, None, "Error validating client secret."),
            Fault::BadRequest(why) => (400, 100, None, why),
            Fault::UnknownGrantType => (400, 100, None, "Invalid grant_type"),
            Fault::DeadCode => (400, 100, Some(36009), "This authorization code has been used or has expired."),
            Fault::WrongRedirect => (
                400,
                100,
                Some(36008),
                "Error validating verification code. Please make sure your redirect_uri is identical to the one you used in the OAuth dialog request",
            ),
            Fault::WrongVerifier => (400, 100, None, "Error validating code verifier."),
            Fault::DeadRefresh | Fault::DeadAccess => {
                (401, 190, Some(463), "Error validating access token: Session has expired.")
            }
            Fault::Forbidden(why) => (400, 100, None, why),
            Fault::TooMany => (400, 4, None, "(#4) Application request limit reached"),
            Fault::NotFound => (404, 2500, None, "Unknown path components"),
        };
        let mut error =
            json!({"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "SimulatedTrace0"});
        if let (Some(subcode), Some(error)) = (subcode, error.as_object_mut()) {
            error.insert("error_subcode".into(), json!(subcode));
        }
        Reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &json!({ "error": error }))
    }

    fn denial(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("error", "access_denied"),
            ("error_reason", "user_denied"),
            ("error_code", "200"),
            ("error_description", "Permissions error"),
        ]
    }

    fn platform_error(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("error_code", "1349220"),
            ("error_message", "Feature unavailable: this app is still in development mode."),
        ]
    }

    fn fragment(&self) -> Option<&'static str> {
        Some("_=_")
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("graph_version", quoted(VERSION)),
            ("authorize_url", quoted(format!("{base}/{VERSION}/dialog/oauth"))),
            ("token_url", quoted(format!("{base}/{VERSION}/oauth/access_token"))),
            ("userinfo_url", quoted(format!("{base}/{VERSION}/me"))),
            ("api_url", quoted(base)),
        ]
    }
}

/// The path behind `/vNN.N`.
fn unversioned(path: &str) -> Option<&str> {
    let (version, _) = path.strip_prefix("/v")?.split_once('/')?;
    let (major, minor) = version.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(major) && digits(minor)).then(|| path.get(version.len() + 2..)).flatten()
}

/// Facebook takes parameters from the query of a GET and from the form of a POST.
fn parameters(request: &Request) -> &Params {
    if request.method == Method::POST { &request.form } else { &request.query }
}

fn token(endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    let params = parameters(request);
    if params.repeated().is_some() {
        return Err(Fault::BadRequest("a parameter is repeated"));
    }
    world.authenticate(request, params, ClientAuth::Post)?;
    let behaviour = world.behaviour();
    let (grant, lifetime) = match (endpoint, params.get("grant_type")) {
        (Endpoint::Exchange, _) => (world.holder(params.get("fb_exchange_token"))?, LONG),
        (_, None | Some("authorization_code")) => {
            (world.redeem(params)?, Duration::from_secs(behaviour.token_lifetime))
        }
        _ => return Err(Fault::UnknownGrantType),
    };
    let access = format!("EAAG{}", random_text().replace(['-', '_'], "Z"));
    world.give_access(&access, &grant, Some(lifetime));
    let mut answer = json!({"access_token": access, "token_type": "bearer"});
    if let (true, Some(answer)) = (behaviour.tell_lifetime, answer.as_object_mut()) {
        answer.insert("expires_in".into(), json!(lifetime.as_secs()));
    }
    Ok(Reply::ok(&answer))
}

/// The user token of a Graph call, with its proof that the caller knows the app secret.
fn proven<'a>(request: &'a Request, world: &World) -> Result<(&'a str, Grant), Fault> {
    let token = request.bearer().or_else(|| request.query.get("access_token")).ok_or(Fault::DeadAccess)?;
    let grant = world.holder(Some(token))?;
    let expected = hex(&hmac_sha256(world.client_secret.as_bytes(), token.as_bytes()));
    match request.query.get("appsecret_proof") {
        None => Err(Fault::BadRequest("API calls from the server require an appsecret_proof argument")),
        Some(proof) if !constant_time_eq(proof.as_bytes(), expected.as_bytes()) => {
            Err(Fault::BadRequest("Invalid appsecret_proof provided in the API argument"))
        }
        Some(_) => Ok((token, grant)),
    }
}

fn profile(facebook: &Facebook, request: &Request, world: &World) -> Result<Reply, Fault> {
    let (_, grant) = proven(request, world)?;
    let fields: Vec<&str> = match request.query.get("fields") {
        // A field may carry options: picture.width(256).height(256).
        Some(fields) => fields.split(',').map(|field| field.split('.').next().unwrap_or_default().trim()).collect(),
        None => vec!["id", "name"],
    };
    let person = grant.person;
    let mut profile = serde_json::Map::new();
    profile.insert("id".into(), json!(facebook.subject(person)));
    for field in fields {
        if let Some(value) = self::field(field, person, &grant) {
            profile.insert(field.to_owned(), value);
        }
    }
    Ok(Reply::ok(&profile.into()))
}

fn field(name: &str, person: &Person, grant: &Grant) -> Option<Value> {
    match name {
        "name" => Some(json!(person.name())),
        "first_name" => Some(json!(person.given_name)),
        "last_name" => Some(json!(person.family_name)),
        // Only an address Facebook considers valid, and only with the permission.
        "email" if grant.has("email") && person.email_verified => person.email.map(|email| json!(email)),
        "picture" => Some(json!({"data": {
            "url": format!("https://pictures.invalid/{}.jpg", person.id), "width": 256, "height": 256,
            "is_silhouette": person.email.is_none(),
        }})),
        _ => None,
    }
}

fn debug_token(facebook: &Facebook, request: &Request, world: &World) -> Result<Reply, Fault> {
    let app = format!("{}|{}", world.client_id, world.client_secret);
    if request.query.get("access_token") != Some(&app) {
        return Err(Fault::DeadAccess);
    }
    let token = request.query.get("input_token").ok_or(Fault::BadRequest("input_token is missing"))?;
    let now = world.now();
    let state = world.state();
    let data = match state.grants.holder(token, now) {
        Ok((grant, issued, expires)) => json!({
            "app_id": world.client_id, "type": "USER", "application": "Simulated app", "is_valid": true,
            "expires_at": expires.map_or(0, Timestamp::as_secs), "issued_at": issued.as_secs(),
            "data_access_expires_at": issued.plus(Duration::from_secs(90 * 86_400)).as_secs(),
            "scopes": grant.scopes, "user_id": facebook.subject(grant.person),
        }),
        Err(_) => json!({
            "is_valid": false, "scopes": [],
            "error": {"code": 190, "subcode": 463, "message": "Error validating access token: Session has expired."},
        }),
    };
    Ok(Reply::ok(&json!({ "data": data })))
}

/// Removes the app from the account.
fn uninstall(facebook: &Facebook, request: &Request, world: &World) -> Result<Reply, Fault> {
    let (_, grant) = proven(request, world)?;
    let whose = unversioned(&request.path).and_then(|path| path.strip_suffix("/permissions")).unwrap_or_default();
    if whose != "/me" && whose.trim_start_matches('/') != facebook.subject(grant.person) {
        return Err(Fault::Forbidden("Unsupported delete request"));
    }
    let mut state = world.state();
    state.grants.kill_all(|other| other.person == grant.person);
    state.consents.remove(grant.person.id);
    Ok(Reply::ok(&json!({"success": true})))
}

/// `signature.payload`; the signature is over the encoded payload.
pub(super) fn signed_request(world: &World, person: &Person, forged: bool) -> String {
    let payload = json!({
        "algorithm": "HMAC-SHA256", "issued_at": world.now().as_secs(), "user_id": Facebook.subject(person),
    });
    let payload = URL_SAFE_NO_PAD.encode(payload.to_string());
    let key = if forged { "not the app secret" } else { &world.client_secret };
    format!("{}.{payload}", URL_SAFE_NO_PAD.encode(hmac_sha256(key.as_bytes(), payload.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::unversioned;

    #[test]
    fn only_versioned_paths_exist() {
        assert_eq!(unversioned("/v24.0/me"), Some("/me"));
        assert_eq!(unversioned("/v24.0/oauth/access_token"), Some("/oauth/access_token"));
        for path in ["/me", "/v24/me", "/vx.y/me", "/v24.0", "/v.0/me"] {
            assert_eq!(unversioned(path), None, "{path}");
        }
    }
}
