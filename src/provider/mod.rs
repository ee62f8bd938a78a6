//! Providers: who may vouch for people, and how each is spoken to.
//!
//! A [`Provider`] begins a login ([`Provider::authorize_url`]), redeems the code it answers with into a
//! [`VerifiedIdentity`], and later renews the session the way its kind allows. Most of them are data: a preset over the
//! OpenID Connect client (`oidc`) or the OAuth 2.0 client (`oauth2`); a file of their own holds only what is odd
//! about them. All calls go through `outgoing`: bounded in time and size, never redirected.
//!
//! To add a provider: a word in `config::provider::Kind`, a file with its preset and oddities, an arm in [`open`], a
//! simulator in `demo` that follows its documentation, a row in the login tests.

mod cognito;
mod examine;
mod facebook;
mod github;
mod google;
mod oauth2;
mod oidc;
mod outgoing;
mod preset;
mod profile;
mod registration;
mod signed_request;
mod x;

#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use self::registration::Registration;
use crate::{
    clock::{Clock, Timestamp},
    config::provider::Kind,
    identity::{Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
    secret::Secret,
    told::{Examined, Told},
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

/// What a provider sends us unasked about somebody's sessions, as it came.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// OpenID Connect Back-Channel Logout 1.0, 2.5: `logout_token`.
    LogoutToken(&'a str),
    /// Facebook's deauthorise callback: `signed_request`.
    SignedRequest(&'a str),
}

impl Message<'_> {
    /// What a kind says that knows no such message.
    fn unheard(self) -> ProviderError {
        ProviderError::NotAllowed("this kind of provider sends no such message".into())
    }
}

/// A provider's message, with every check passed: somebody's sessions are over there. Whether it came before is for
/// the caller to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Who says so.
    pub issuer: Issuer,
    /// Whose sessions.
    pub subject: Option<Subject>,
    /// Only the one the issuer knows by this id of its own; means nothing at another issuer.
    pub sid: Option<String>,
    /// The message's own id, to know it by when it comes again.
    pub id: String,
    /// Until when the same message would pass the checks again.
    pub heard_until: Timestamp,
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

    /// What is wrong and what an operator should do.
    pub fn told(&self) -> Told {
        let told = Told::parse(self);
        if told.remedy.is_empty() { Told { remedy: self.remedy().to_owned(), ..told } } else { told }
    }

    /// What usually helps, where the text itself does not say.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => {
                "see that this host may call it (DNS, firewall, proxy), and that ca_file knows its certificate"
            }
            Self::Misconfigured(_) | Self::GrantRefused(_) => {
                "compare this provider's section with the registration at the provider"
            }
            Self::Untrusted(_) | Self::NotAllowed(_) => {
                "see whether the addresses in this provider's section are right"
            }
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

    /// Checks a message that came from outside and says to come from this provider.
    async fn hear(&self, message: Message<'_>, _now: Timestamp) -> Result<Farewell, ProviderError> {
        Err(message.unheard())
    }

    /// Asks everything that a login will need, short of a login, for `brama doctor`: fetches what it publishes, and
    /// reaches its endpoints. Whether it takes our client id and secret only a login shows.
    ///
    /// # Errors
    /// What is wrong and what to do.
    async fn examine(&self) -> Examined;

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

/// Why a provider cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file of `client_secret_file` cannot be read.
    #[error("client_secret_file {path} cannot be read ({why}); correct the path or its permissions")]
    UnreadableSecret {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        why: std::io::Error,
    },
    /// There is no client secret.
    #[error("there is no client secret; set client_secret_file, or client_auth = \"none\" for a public client")]
    MissingSecret,
    /// This kind cannot be a public client.
    #[error("kind \"{0}\" needs a client secret; set client_secret_file and leave client_auth out")]
    SecretNeeded(&'static str),
    /// The client secret is empty.
    #[error("the client secret is empty; copy it from the registration at the provider")]
    EmptySecret,
    /// The client secret is too short to be one.
    #[error(
        "the client secret is shorter than 8 characters; copy the whole of it from the registration at the provider"
    )]
    ShortSecret,
    /// The client secret is one from an example.
    #[error("the client secret is an example's; put in the one from the registration at the provider")]
    ExampleSecret,
    /// An HMAC algorithm needs a longer secret (RFC 7518, 3.2).
    #[error(
        "{algorithm} in id_token_algorithms needs a client secret of {least} bytes or more; use RS256, or a longer secret"
    )]
    ShortHmacSecret {
        /// The algorithm.
        algorithm: String,
        /// The least length in bytes.
        least: usize,
    },
    /// The file of `ca_file` cannot be used.
    #[error("ca_file {path} cannot be used ({why}); give a PEM file of certificate authorities")]
    BadCaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// An endpoint is not https.
    #[error(
        "{key} = \"{url}\" is not https; use https, or set dangerous_allow_http = true if you accept forged answers"
    )]
    Plaintext {
        /// The key.
        key: &'static str,
        /// The endpoint, without its query.
        url: String,
    },
    /// The issuer is not a URL.
    #[error("issuer = \"{0}\" is not a URL; write it exactly as the provider spells it")]
    BadIssuer(String),
    /// An algorithm nobody knows, or `none`.
    #[error(
        "\"{0}\" in id_token_algorithms is not known; name some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512"
    )]
    UnknownAlgorithm(String),
    /// No algorithm is accepted.
    #[error("id_token_algorithms is empty, so no ID token could be accepted; name at least one, such as RS256")]
    NoAlgorithm,
    /// A parameter of the protocol in `authorize_params`.
    #[error("authorize_params holds \"{0}\", which the gateway sets itself; remove it")]
    ReservedParameter(String),
    /// The kind needs a key that is not there or not usable.
    #[error("kind \"{kind}\" needs {key}; add it to the provider's section")]
    NeedsKey {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
}

/// Opens a configured provider: reads its secret and certificate authorities, checks its addresses. Makes no call:
/// discovery waits for the first login, so that a provider that is down never stops the gateway from starting.
///
/// # Errors
/// [`OpenError`], one message per mistake, with its remedy.
pub fn open(
    name: ProviderName,
    config: &crate::config::provider::Provider,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Provider>, OpenError> {
    let registration = Registration::open(name, config, clock)?;
    Ok(match config.kind {
        Kind::Google => google::Google::open(registration)?,
        Kind::Facebook => facebook::Facebook::open(registration)?,
        Kind::X => x::X::open(registration)?,
        Kind::Cognito => cognito::Cognito::open(registration)?,
        Kind::GitHub => github::GitHub::open(registration)?,
        Kind::Oidc => {
            let issuer = config.issuer.clone().ok_or(OpenError::NeedsKey { kind: "oidc", key: "issuer" })?;
            oidc::Oidc::open(registration, issuer, oidc::Standard)?
        }
        Kind::OAuth2 => oauth2::Generic::open(registration)?,
    })
}
