//! Discovery (OpenID Connect Discovery 1.0, RFC 8414): where an issuer's endpoints are and what it can do.
//!
//! Fetched when first needed, never at start. The document's `issuer` must be the configured one byte for byte; the
//! operator's own endpoints win over what it says, and where all of them are given it is not asked.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::cached::fresh_for;
use crate::{
    config::provider::{ClientAuth, Provider as Config},
    provider::{
        ProviderError,
        outgoing::{Outgoing, escaped, place},
    },
};

/// The longest document read, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;

/// What the document says, as far as we read it.
#[derive(Debug, Default, Deserialize)]
struct Document {
    issuer: Option<String>,
    authorization_endpoint: Option<Url>,
    token_endpoint: Option<Url>,
    jwks_uri: Option<Url>,
    userinfo_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    end_session_endpoint: Option<Url>,
    response_types_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
}

/// Where everything is: the operator's word first, then discovery's.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Metadata {
    pub(in crate::provider) authorize: Url,
    pub(in crate::provider) token: Url,
    pub(in crate::provider) jwks: Url,
    pub(in crate::provider) userinfo: Option<Url>,
    pub(in crate::provider) revocation: Option<Url>,
    pub(in crate::provider) end_session: Option<Url>,
    /// How clients may prove themselves, when it is said and we know it.
    pub(in crate::provider) client_auth: Option<ClientAuth>,
    /// True when answers always carry `iss` (RFC 9207, 3).
    pub(in crate::provider) promises_iss: bool,
}

impl Metadata {
    /// The configured endpoints, when they suffice without discovery.
    pub(super) fn configured(config: &Config) -> Option<Self> {
        (config.authorize_url.is_some() && config.token_url.is_some() && config.jwks_url.is_some())
            .then(|| resolve(config, Document::default()).ok())?
    }

    /// Fetches and checks the document; with it, how long it is fresh.
    pub(super) async fn fetch(
        outgoing: &Outgoing,
        config: &Config,
        issuer: &str,
    ) -> Result<(Self, Duration), ProviderError> {
        let url = match &config.discovery_url {
            Some(url) => url.clone(),
            None => below(issuer)?,
        };
        let answer = outgoing.get(&url, None, "application/json").await?;
        if !answer.status.is_success() {
            let what = format!("discovery at {} answers {}", place(&url), answer.status);
            return Err(if answer.status.is_client_error() {
                ProviderError::Misconfigured(format!("{what}; correct issuer or discovery_url"))
            } else {
                ProviderError::Unavailable(what)
            });
        }
        let metadata = Self::parse(&answer.body, issuer, config)?;
        let endpoints = [Some(&metadata.authorize), Some(&metadata.token), Some(&metadata.jwks)];
        let optional = [metadata.userinfo.as_ref(), metadata.revocation.as_ref(), metadata.end_session.as_ref()];
        if let Some(bad) = endpoints.into_iter().chain(optional).flatten().find(|url| !outgoing.accepts(url)) {
            return Err(ProviderError::Misconfigured(format!("discovery names {}, which is not https", place(bad))));
        }
        Ok((metadata, fresh_for(&answer.headers)))
    }

    fn parse(body: &[u8], issuer: &str, config: &Config) -> Result<Self, ProviderError> {
        if body.len() > MAX_DOCUMENT {
            return Err(ProviderError::Untrusted("the discovery document is too large".into()));
        }
        let document: Document = serde_json::from_slice(body).map_err(|error| {
            ProviderError::Untrusted(format!("the discovery document: {}", escaped(&error.to_string())))
        })?;
        // Discovery, 4.3: exactly, or another issuer speaks for ours (mix-up).
        if document.issuer.as_deref() != Some(issuer) {
            return Err(ProviderError::Misconfigured(format!(
                "discovery names the issuer \"{}\" where \"{issuer}\" is configured; they must be spelled alike",
                escaped(document.issuer.as_deref().unwrap_or_default())
            )));
        }
        check_abilities(&document, config)?;
        resolve(config, document)
    }
}

/// The document's address (Discovery, 4: below the issuer, after removing one trailing slash).
fn below(issuer: &str) -> Result<Url, ProviderError> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Url::parse(&format!("{base}/.well-known/openid-configuration"))
        .map_err(|_| ProviderError::Misconfigured("the issuer is not a URL; correct issuer".into()))
}

fn check_abilities(document: &Document, config: &Config) -> Result<(), ProviderError> {
    let lacks = |list: &Option<Vec<String>>, wanted: &dyn Fn(&str) -> bool| {
        list.as_ref().is_some_and(|list| !list.iter().any(|word| wanted(word)))
    };
    if lacks(&document.response_types_supported, &|word| word == "code") {
        return Err(ProviderError::Misconfigured("the issuer does not offer the code flow".into()));
    }
    let accepted = |word: &str| config.id_token_algorithms.iter().any(|name| name == word);
    if lacks(&document.id_token_signing_alg_values_supported, &accepted) {
        let offered = document.id_token_signing_alg_values_supported.clone().unwrap_or_default().join(", ");
        return Err(ProviderError::Misconfigured(format!(
            "the issuer signs ID tokens with {} only; name one in id_token_algorithms",
            escaped(&offered)
        )));
    }
    if document.require_pushed_authorization_requests {
        return Err(ProviderError::Misconfigured(
            "the issuer demands pushed authorization requests (RFC 9126), which are not supported; turn that off for this client"
                .into(),
        ));
    }
    if lacks(&document.code_challenge_methods_supported, &|word| word == "S256") {
        tracing::warn!("an issuer's discovery does not list PKCE S256; it is sent all the same");
    }
    Ok(())
}

fn resolve(config: &Config, document: Document) -> Result<Metadata, ProviderError> {
    let needed = |key: &str, configured: &Option<Url>, told: Option<Url>| {
        configured
            .clone()
            .or(told)
            .ok_or_else(|| ProviderError::Misconfigured(format!("discovery does not name this endpoint; set {key}")))
    };
    let methods = document.token_endpoint_auth_methods_supported;
    let offers = |word: &str| methods.as_ref().is_some_and(|list| list.iter().any(|method| method == word));
    let client_auth = if offers("client_secret_basic") {
        Some(ClientAuth::Basic)
    } else if offers("client_secret_post") {
        Some(ClientAuth::Post)
    } else {
        None
    };
    Ok(Metadata {
        authorize: needed("authorize_url", &config.authorize_url, document.authorization_endpoint)?,
        token: needed("token_url", &config.token_url, document.token_endpoint)?,
        jwks: needed("jwks_url", &config.jwks_url, document.jwks_uri)?,
        userinfo: config.userinfo_url.clone().or(document.userinfo_endpoint),
        revocation: config.revocation_url.clone().or(document.revocation_endpoint),
        end_session: config.end_session_url.clone().or(document.end_session_endpoint),
        client_auth,
        promises_iss: document.authorization_response_iss_parameter_supported,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::provider::Kind;

    const ISSUER: &str = "https://op.test/realm";

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Metadata, ProviderError> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://login.op.test/authorize",
            "token_endpoint": "https://op.test/token",
            "jwks_uri": "https://op.test/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        change(&mut document);
        let config = crate::provider::tests::config(Kind::Oidc, ISSUER);
        Metadata::parse(&serde_json::to_vec(&document).unwrap(), ISSUER, &config)
    }

    #[test]
    fn another_issuer_does_not_speak_for_ours() {
        assert!(parse(|_| ()).is_ok());
        for other in ["https://op.test/realm/", "https://OP.test/realm", "https://evil.test/realm"] {
            assert!(parse(|document| document["issuer"] = other.into()).is_err(), "{other}");
        }
        assert!(parse(|document| document["issuer"] = Value::Null).is_err());
    }

    #[test]
    fn what_the_issuer_cannot_do_is_told() {
        for (member, value, told) in [
            ("response_types_supported", json!(["id_token"]), "code flow"),
            ("id_token_signing_alg_values_supported", json!(["ES256"]), "id_token_algorithms"),
            ("token_endpoint", Value::Null, "token_url"),
            ("require_pushed_authorization_requests", json!(true), "pushed"),
        ] {
            let error = parse(|document| document[member] = value).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(parse(|_| ()).unwrap().client_auth, Some(ClientAuth::Post));
    }

    #[test]
    fn the_document_is_below_the_issuer() {
        for issuer in ["https://t.auth0.test/", "https://t.auth0.test"] {
            assert_eq!(below(issuer).unwrap().as_str(), "https://t.auth0.test/.well-known/openid-configuration");
        }
        assert_eq!(below(ISSUER).unwrap().path(), "/realm/.well-known/openid-configuration");
    }
}
