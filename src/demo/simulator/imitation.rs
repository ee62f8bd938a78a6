//! What makes one provider differ from another.

use std::{fmt, time::Duration};

use http::{StatusCode, header};
use serde_json::json;

use super::{
    authorize::{Asked, Refusal},
    endpoint::{Endpoint, Fault},
    message::{Params, Reply, Request},
    pages::Look,
    people::Person,
    world::{Behaviour, World},
};

/// A provider as a relying party and a browser see it. What most do alike is given; each file overrides its oddities.
pub(super) trait Imitation: Send + Sync + fmt::Debug {
    /// Its looks and its name.
    fn look(&self) -> &'static Look;

    /// What it does unless told otherwise.
    fn behaviour(&self) -> Behaviour;

    /// Its identifier of a person.
    fn subject(&self, person: &Person) -> String;

    /// Where the subject stands in its profile (RFC 6901).
    fn subject_pointer(&self) -> &'static str {
        "/sub"
    }

    /// Whether it speaks OpenID Connect.
    fn has_id_token(&self) -> bool {
        false
    }

    /// Its issuer identifier.
    fn issuer(&self, base: &str) -> String {
        base.to_owned()
    }

    /// How long a code lives.
    fn code_lifetime(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// Whether it asks for consent after sign-in, the first time.
    fn asks_consent(&self) -> bool {
        true
    }

    /// Whether `prompt=none` exists here.
    fn answers_silently(&self) -> bool {
        self.has_id_token()
    }

    /// Whether a refresh token comes with this login; `consent_shown` tells whether the consent page was.
    fn refreshable(&self, asked: &Asked, consent_shown: bool, behaviour: &Behaviour) -> bool;

    /// What the request is for.
    fn endpoint(&self, request: &Request) -> Endpoint;

    /// Reads an authorization request.
    fn asked(&self, request: &Request, world: &World) -> Result<Asked, Refusal> {
        Asked::read(request, world, ' ')
    }

    /// Answers a request at any endpoint but the authorization endpoint.
    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault>;

    /// How it says no on the back channel.
    fn refuse(&self, fault: Fault, endpoint: Endpoint, world: &World) -> Reply {
        let _ = (endpoint, world);
        oauth_error(fault)
    }

    /// What the callback gets when the person cancels.
    fn denial(&self) -> Vec<(&'static str, &'static str)> {
        vec![("error", "access_denied")]
    }

    /// What the callback gets when the provider itself fails.
    fn platform_error(&self) -> Vec<(&'static str, &'static str)> {
        vec![("error", "server_error"), ("error_description", "simulated failure")]
    }

    /// A fragment it hangs onto the callback address.
    fn fragment(&self) -> Option<&'static str> {
        None
    }

    /// Its own endpoints as keys of `[provider.NAME]`, ready to be written after `=`.
    fn settings(&self, base: &str) -> Vec<(&'static str, String)>;
}

/// A TOML string.
pub(super) fn quoted(text: impl AsRef<str>) -> String {
    toml::Value::String(text.as_ref().to_owned()).to_string()
}

/// Which use of the token endpoint a request is.
pub(super) fn token_use(params: &Params) -> Endpoint {
    match params.get("grant_type") {
        Some("refresh_token") => Endpoint::Refresh,
        Some("fb_exchange_token") => Endpoint::Exchange,
        _ => Endpoint::Token,
    }
}

/// A token request must be a form post without repeated parameters and with a grant type that exists (RFC 6749, 3.2).
pub(super) fn check_token_request(request: &Request) -> Result<(), Fault> {
    if request.method != http::Method::POST || !request.is("application/x-www-form-urlencoded") {
        return Err(Fault::BadRequest("the token endpoint takes a form by POST"));
    }
    if request.query.get("client_secret").is_some() {
        return Err(Fault::BadRequest("credentials in the query"));
    }
    if request.form.repeated().is_some() {
        return Err(Fault::BadRequest("a parameter is repeated"));
    }
    match request.form.get("grant_type") {
        Some("authorization_code" | "refresh_token") => Ok(()),
        Some(_) => Err(Fault::UnknownGrantType),
        None => Err(Fault::BadRequest("grant_type is missing")),
    }
}

/// Errors as the standards spell them (RFC 6749, 5.2; RFC 6750, 3.1).
pub(super) fn oauth_error(fault: Fault) -> Reply {
    let (status, error, description) = match fault {
        Fault::MissingClient => (401, "invalid_client", "client authentication is missing"),
        Fault::WrongClient => (401, "invalid_client", "unknown client or wrong secret"),
        Fault::BadRequest(why) => (400, "invalid_request", why),
        Fault::UnknownGrantType => (400, "unsupported_grant_type", "no such grant type"),
        Fault::DeadCode => (400, "invalid_grant", "the code is unknown, used or expired"),
        Fault::WrongRedirect => (400, "invalid_grant", "redirect_uri is not the one the code was asked for"),
        Fault::WrongVerifier => (400, "invalid_grant", "code_verifier does not fit"),
        Fault::DeadRefresh => (400, "invalid_grant", "the refresh token is not active"),
        Fault::DeadAccess => (401, "invalid_token", "the access token is not active"),
        Fault::Forbidden(why) => (403, "insufficient_scope", why),
        Fault::TooMany => (429, "temporarily_unavailable", "too many requests"),
        Fault::NotFound => (404, "not_found", "no such address"),
    };
    let body = json!({"error": error, "error_description": description});
    let reply = Reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &body);
    match fault {
        Fault::MissingClient | Fault::WrongClient => reply.with(header::WWW_AUTHENTICATE, "Basic realm=\"token\""),
        Fault::DeadAccess => reply
            .with(header::WWW_AUTHENTICATE, &format!("Bearer error=\"{error}\", error_description=\"{description}\"")),
        Fault::TooMany => reply.with(header::RETRY_AFTER, "30"),
        _ => reply,
    }
}
