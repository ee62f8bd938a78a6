//! What the operator registered at a provider, checked once at start: client, secret, endpoints, way out.

use std::{fs, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use url::Url;

use super::{
    AuthorizationRequest, OpenError, Prompt, ProviderError,
    outgoing::{Outgoing, accepts, sensitive},
    preset::{Pkce, Preset},
};
use crate::{
    clock::Clock,
    config::provider::{ClientAuth, Provider as Config},
    identity::ProviderName,
    secret::{Secret, sha256},
};

/// Shorter secrets are refused: no provider issues them, and they can be guessed.
const MIN_SECRET: usize = 8;
/// Secrets that people copy from examples.
const EXAMPLES: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "password",
    "client_secret",
    "client-secret",
    "clientsecret",
    "your-client-secret",
    "your_client_secret",
    "xxxxxxxx",
    "example-secret",
    "********",
];
/// Parameters of the authorization request that are ours alone.
const RESERVED: &[&str] = &[
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// A provider's registration and the way out to it.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) name: ProviderName,
    pub(super) config: Config,
    pub(super) preset: &'static Preset,
    pub(super) secret: Option<Secret>,
    pub(super) outgoing: Outgoing,
    pub(super) clock: Arc<dyn Clock>,
}

impl Registration {
    pub(super) fn open(name: ProviderName, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let preset = Preset::of(config.kind);
        check_endpoints(config)?;
        if let Some(parameter) = config.authorize_params.keys().find(|key| RESERVED.contains(&key.as_str())) {
            return Err(OpenError::ReservedParameter(parameter.clone()));
        }
        let secret = secret(config, preset)?;
        let outgoing = Outgoing::open(config)?;
        Ok(Self { name, config: config.clone(), preset, secret, outgoing, clock })
    }

    pub(super) fn label(&self) -> &str {
        match &self.config.label {
            Some(label) => label,
            None if self.preset.label.is_empty() => self.name.as_str(),
            None => self.preset.label,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        self.config.kind.word()
    }

    pub(super) fn sends_pkce(&self) -> bool {
        match self.preset.pkce {
            Pkce::Always => true,
            Pkce::On => self.config.pkce.unwrap_or(true),
            Pkce::Off => self.config.pkce.unwrap_or(false),
        }
    }

    pub(super) fn revokes(&self) -> bool {
        self.config.revoke_on_sign_out.unwrap_or(self.preset.revokes)
    }

    /// How the client proves itself: as configured, as the kind needs, as `discovered`; Basic when nobody says
    /// (RFC 8414, 2). Without a secret it can only name itself.
    pub(super) fn client_auth(&self, discovered: Option<ClientAuth>) -> ClientAuth {
        match self.secret {
            None => ClientAuth::None,
            Some(_) => self.config.client_auth.or(self.preset.client_auth).or(discovered).unwrap_or(ClientAuth::Basic),
        }
    }

    /// The secret, where a kind cannot go without.
    pub(super) fn required_secret(&self) -> Result<&Secret, ProviderError> {
        self.secret.as_ref().ok_or_else(|| ProviderError::Misconfigured("it has no client secret".into()))
    }

    /// `Authorization: Basic` for calls outside the token endpoint; id and secret are form-encoded first
    /// (RFC 6749, 2.3.1).
    pub(super) fn basic(&self, url: &Url) -> Result<HeaderValue, ProviderError> {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&self.config.client_id), encode(self.required_secret()?.expose()));
        Ok(sensitive(&format!("Basic {}", STANDARD.encode(pair)), url)?)
    }

    /// Scopes as one text (RFC 6749, 3.3).
    pub(super) fn scope(&self, extra: &[&str]) -> String {
        match &self.config.scopes {
            Some(scopes) => scopes.join(" "),
            None => [self.preset.scopes, extra].concat().join(" "),
        }
    }

    /// The authorization request (RFC 6749, 4.1.1) with everything all kinds share. Ours win over the operator's
    /// parameters, those over `extra` and the preset's; none stands twice.
    pub(super) fn authorize_url(
        &self,
        endpoint: &Url,
        scope: &str,
        request: &AuthorizationRequest<'_>,
        extra: &[(&str, String)],
    ) -> Url {
        let mut query = Query::default();
        query.set("response_type", "code");
        query.set("client_id", &self.config.client_id);
        query.set("redirect_uri", request.redirect_uri.as_str());
        if !scope.is_empty() {
            query.set("scope", scope);
        }
        query.set("state", request.state);
        if self.sends_pkce() {
            query.set("code_challenge", &challenge(request.pkce_verifier));
            query.set("code_challenge_method", "S256");
        }
        match request.prompt {
            Prompt::Silent if self.preset.silent => query.set("prompt", "none"),
            Prompt::SelectAccount if self.preset.select_account => query.set("prompt", "select_account"),
            _ => {}
        }
        if let (Some(parameter), Some(hint)) = (self.preset.login_hint, request.login_hint) {
            query.set(parameter, hint);
        }
        for (name, value) in &self.config.authorize_params {
            query.set(name, value);
        }
        for (name, value) in extra {
            query.set(name, value);
        }
        for (name, value) in self.preset.authorize_params {
            query.set(name, value);
        }
        query.onto(endpoint)
    }
}

/// The S256 challenge (RFC 7636, 4.2).
fn challenge(verifier: &Secret) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha256(verifier.expose().as_bytes()))
}

/// A query in which no parameter stands twice (RFC 6749, 3.1); the first to set one wins.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The endpoint with this query; parameters that already stand in its own are kept. Spaces become `%20`: some
    /// servers misread `+` in `scope`.
    pub(super) fn onto(mut self, endpoint: &Url) -> Url {
        for (name, value) in endpoint.query_pairs() {
            self.set(&name, &value);
        }
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, UNRESERVED).to_string();
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let mut url = endpoint.clone();
        url.set_fragment(None);
        url.set_query(Some(&pairs.join("&")));
        url
    }
}

/// Everything but the unreserved characters of RFC 3986, 2.3.
const UNRESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn check_endpoints(config: &Config) -> Result<(), OpenError> {
    let endpoints = [
        ("discovery_url", &config.discovery_url),
        ("authorize_url", &config.authorize_url),
        ("token_url", &config.token_url),
        ("userinfo_url", &config.userinfo_url),
        ("jwks_url", &config.jwks_url),
        ("revocation_url", &config.revocation_url),
        ("end_session_url", &config.end_session_url),
        ("api_url", &config.api_url),
    ];
    let issuer = match &config.issuer {
        Some(text) => Some(Url::parse(text).map_err(|_| OpenError::BadIssuer(text.clone()))?),
        None => None,
    };
    for (key, url) in endpoints.into_iter().chain([("issuer", &issuer)]) {
        if let Some(url) = url
            && !accepts(url, config.dangerous_allow_http)
        {
            return Err(OpenError::Plaintext { key, url: super::outgoing::place(url) });
        }
    }
    Ok(())
}

/// The client secret, or nothing for a public client.
fn secret(config: &Config, preset: &Preset) -> Result<Option<Secret>, OpenError> {
    if config.client_auth == Some(ClientAuth::None) {
        return if preset.needs_secret { Err(OpenError::SecretNeeded(config.kind.word())) } else { Ok(None) };
    }
    let secret = match (&config.client_secret, &config.client_secret_file) {
        (_, Some(path)) => read_secret(path)?,
        (Some(secret), None) => secret.clone(),
        (None, None) => return Err(OpenError::MissingSecret),
    };
    check_secret(secret.expose())?;
    Ok(Some(secret))
}

fn read_secret(path: &Path) -> Result<Secret, OpenError> {
    let unreadable = |why: std::io::Error| OpenError::UnreadableSecret { path: path.to_owned(), why };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o004 != 0 {
            tracing::warn!(path = %path.display(), "everyone on this machine can read this client secret: chmod o-r");
        }
    }
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(unreadable)?);
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn check_secret(secret: &str) -> Result<(), OpenError> {
    if secret.trim().is_empty() {
        return Err(OpenError::EmptySecret);
    }
    let plain = secret.trim().to_ascii_lowercase();
    if EXAMPLES.contains(&plain.as_str()) || plain.starts_with("${") || plain.starts_with('<') {
        return Err(OpenError::ExampleSecret);
    }
    if secret.len() < MIN_SECRET {
        return Err(OpenError::ShortSecret);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_refused() {
        for weak in ["", "  ", "short", "changeme", "ChangeMe", "<your secret>", "${SECRET_NAME}", "secret"] {
            assert!(check_secret(weak).is_err(), "{weak:?}");
        }
        assert!(check_secret("GOCSPX-1mVQ8yTq").is_ok());
    }

    #[test]
    fn no_parameter_stands_twice_and_spaces_are_percent_encoded() {
        let mut query = Query::default();
        query.set("scope", "openid email");
        query.set("state", "ours");
        query.set("state", "theirs");
        let url = query.onto(&Url::parse("https://op.test/authorize?tenant=a%20b&state=preset#fragment").unwrap());
        assert_eq!(url.as_str(), "https://op.test/authorize?scope=openid%20email&state=ours&tenant=a%20b");
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
