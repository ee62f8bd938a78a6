//! Providers: who may vouch for people, and how each is spoken to.
//!
//! A [`Provider`] begins a login ([`Provider::authorize_url`]), redeems the code it answers with into a
//! [`VerifiedIdentity`], and later renews the session the way its kind allows. Most of them are data: a preset over the
//! OpenID Connect client ([`oidc`]) or the OAuth 2.0 client ([`oauth2`]); a file of their own holds only what is odd
//! about them. All calls go through [`outgoing`]: bounded in time and size, never redirected.
//!
//! To add a provider: a word in `config::provider::Kind`, a file with its preset and oddities, an arm in [`open`], a
//! simulator in `demo` that follows its documentation, a row in the login tests.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    clock::Timestamp,
    identity::{Issuer, Origin, Profile, ProviderName, VerifiedIdentity},
    secret::Secret,
};

/// What we send a browser to a provider with.
#[derive(Debug, Clone)]
pub struct AuthorizationRequest<'a> {
    /// Random, bound to the browser, single use (RFC 6749, 10.12).
    pub state: &'a str,
    /// Random, comes back inside the ID token (OpenID Connect Core, 3.1.2.1).
    pub nonce: &'a str,
    /// The PKCE verifier whose S256 challenge is sent (RFC 7636, 4.2).
    pub pkce_verifier: &'a Secret,
    /// Where the answer must come, exactly as registered.
    pub redirect_uri: &'a Url,
    /// Who is expected, as the provider wants to be told (an address, a subject); sent where the kind has a parameter.
    pub login_hint: Option<&'a str>,
    /// What the provider should ask of the person.
    pub prompt: Prompt,
}

/// What the provider should ask of the person; kinds without such a parameter ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Prompt {
    /// Whatever it usually asks.
    #[default]
    Usual,
    /// Nothing: answer at once or say that it cannot be done (`prompt=none`).
    Silent,
    /// Which account (`prompt=select_account`), after an explicit sign-out.
    SelectAccount,
}

/// The provider's answer that came to our callback and belongs to a pending login.
#[derive(Debug, Clone)]
pub struct AuthorizationResponse<'a> {
    /// The code to redeem.
    pub code: &'a Secret,
    /// Who answered (RFC 9207), when told.
    pub iss: Option<&'a str>,
    /// The nonce we sent.
    pub nonce: &'a str,
    /// The PKCE verifier.
    pub pkce_verifier: &'a Secret,
    /// The redirect URI we sent, byte for byte.
    pub redirect_uri: &'a Url,
}

/// The provider's tokens for one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// For its API, and for apps where a route passes it on.
    pub access_token: Secret,
    /// When the access token ends; `None` when unknown.
    pub expires_at: Option<Timestamp>,
    /// To renew with.
    pub refresh_token: Option<Secret>,
    /// The ID token as it came, for sign-out hints and apps where a route passes it on.
    pub id_token: Option<Secret>,
}

/// A redeemed code.
#[derive(Debug, Clone)]
pub struct Redeemed {
    /// Who it is: every check has passed.
    pub identity: VerifiedIdentity,
    /// Their tokens.
    pub tokens: Tokens,
    /// When to renew; `None` when the kind or the answer allows none.
    pub renew_at: Option<Timestamp>,
}

/// A renewed session.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The tokens from now on; a refresh token the provider did not replace is kept.
    pub tokens: Tokens,
    /// What the provider tells of the person now; `None` means "as before".
    pub profile: Option<Profile>,
    /// When to renew next.
    pub renew_at: Option<Timestamp>,
}

/// How a call to a provider can fail. Texts are for the log; they hold no token, code or verifier.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It could not be reached, was too slow, or answered 5xx or 429: nothing is decided.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// It refused our credentials or our request: an operator must act (`invalid_client`, wrong redirect URI …).
    #[error("the provider refuses this client: {0}")]
    Misconfigured(String),
    /// It refused the code or the refresh token for good (`invalid_grant` and its vendor spellings).
    #[error("the provider refuses the grant: {0}")]
    GrantRefused(String),
    /// Its answer failed a check: wrong issuer, audience, nonce, signature, age, shape. Nothing in it is believed.
    #[error("the provider's answer failed a check: {0}")]
    Untrusted(String),
    /// The answer is genuine but this person may not come by this provider (such as a wrong Workspace domain).
    #[error("the provider's answer is not for us: {0}")]
    NotAllowed(String),
}

impl ProviderError {
    /// A short, stable word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Misconfigured(_) => "misconfigured",
            Self::GrantRefused(_) => "grant_refused",
            Self::Untrusted(_) => "untrusted",
            Self::NotAllowed(_) => "not_allowed",
        }
    }
}

/// One configured provider. Calls run on the control plane and end within the provider's configured timeout.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// The name the operator gave it.
    fn name(&self) -> &ProviderName;

    /// What people call it.
    fn label(&self) -> &str;

    /// Its kind, as spelled in the configuration: also picks its icon.
    fn kind(&self) -> &'static str;

    /// True when it can be asked with [`Prompt::Silent`].
    fn supports_silent(&self) -> bool;

    /// Who answers, for RFC 9207, when that is known before the answer.
    fn issuer(&self) -> Option<Issuer>;

    /// Where to send the browser to begin a login.
    async fn authorize_url(&self, request: AuthorizationRequest<'_>) -> Result<Url, ProviderError>;

    /// Redeems a code: checks `iss`, exchanges, validates the ID token or reads the profile. Never retried with the
    /// same code (RFC 6749, 4.1.2).
    async fn redeem(&self, response: AuthorizationResponse<'_>, now: Timestamp) -> Result<Redeemed, ProviderError>;

    /// Renews the session's tokens the way this kind allows. Only [`ProviderError::GrantRefused`] and
    /// [`ProviderError::NotAllowed`] end the session; everything else keeps it.
    async fn renew(&self, tokens: &Tokens, origin: &Origin, now: Timestamp) -> Result<Renewed, ProviderError>;

    /// Revokes the tokens at the provider on sign-out, if the kind does and the operator wants it; best effort.
    async fn revoke(&self, tokens: &Tokens) -> Result<(), ProviderError>;

    /// Where to send the browser to sign out there too, if the kind has it and the operator wants it.
    async fn end_session_url(&self, id_token: Option<&Secret>, return_to: &Url, state: &str) -> Option<Url>;

    /// Whether it can serve logins right now, for readiness and the sign-in page; from what is known, without a call.
    fn health(&self) -> Health;
}

/// What is known of a provider's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Logins can begin.
    Ready,
    /// They cannot: the reason, for operators.
    Unready(String),
}
