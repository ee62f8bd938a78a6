//! Amazon Cognito user pools: OpenID Connect with the issuer on one host and everything else on another, PKCE that
//! discovery hides, a sign-out with parameters of its own, and upstream providers behind it.

use std::sync::Arc;

use url::{Host, Url};

use super::{
    OpenError, ProviderError,
    oidc::{Flavour, Goodbye, Metadata, Oidc},
    profile::{Claims, text},
    registration::{Query, Registration},
};
use crate::config::provider::Provider as Config;

#[derive(Debug)]
pub(super) struct Cognito;

impl Cognito {
    pub(super) fn open(registration: Registration) -> Result<Arc<Oidc<Self>>, OpenError> {
        let issuer = issuer(&registration.config)?;
        Oidc::open(registration, issuer, Self)
    }
}

/// The pool's issuer, without a trailing slash.
fn issuer(config: &Config) -> Result<String, OpenError> {
    if let Some(issuer) = &config.issuer {
        return Ok(issuer.clone());
    }
    let (Some(region), Some(pool)) = (&config.region, &config.user_pool_id) else {
        return Err(OpenError::NeedsKey { kind: "cognito", key: "region and user_pool_id" });
    };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !word(region) || !word(pool) {
        return Err(OpenError::NeedsKey { kind: "cognito", key: "region and user_pool_id as AWS spells them" });
    }
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Ok(format!("https://cognito-idp.{region}.{suffix}/{pool}"))
}

impl Flavour for Cognito {
    fn authorize_params(&self, registration: &Registration) -> Vec<(&'static str, String)> {
        registration.config.identity_provider.iter().map(|name| ("identity_provider", name.clone())).collect()
    }

    /// Until a domain is assigned to the pool, discovery names endpoints on the issuer's host, which do not work.
    fn inspect(&self, metadata: &Metadata) -> Result<(), ProviderError> {
        let on_issuer = |url: &Url| matches!(url.host(), Some(Host::Domain(host)) if host.starts_with("cognito-idp."));
        if on_issuer(&metadata.authorize) || on_issuer(&metadata.token) {
            return Err(ProviderError::Misconfigured(
                "the user pool has no domain, so nobody can sign in: assign a domain to the user pool (Branding, Domain)"
                    .into(),
            ));
        }
        Ok(())
    }

    /// All clients of a pool share issuer and keys: `aud` and `token_use` alone tell apps and tokens apart.
    fn admit(&self, _registration: &Registration, claims: &Claims) -> Result<(), ProviderError> {
        match text(claims, "token_use").as_deref() {
            Some("id") => Ok(()),
            _ => Err(ProviderError::Untrusted("token_use is not \"id\"".into())),
        }
    }

    /// The upstream provider of a federated person; Cognito's own users have none.
    fn connection(&self, claims: &Claims) -> Option<String> {
        let name = claims.get("identities")?.get(0)?.get("providerName")?.as_str()?;
        let clean = !name.is_empty() && name.len() <= 128 && !name.chars().any(char::is_control);
        clean.then(|| name.to_owned())
    }

    /// `/logout` with `client_id` and `logout_uri`: the standard parameters land on an error page, unknown ones are
    /// ignored, and `logout_uri` must be listed exactly, so that it carries no state.
    fn end_session_url(&self, metadata: &Metadata, goodbye: &Goodbye<'_>) -> Option<Url> {
        let endpoint = match &metadata.end_session {
            Some(url) => url.clone(),
            None => {
                let mut url = metadata.authorize.clone();
                let base = url.path().strip_suffix("/oauth2/authorize")?.to_owned();
                url.set_path(&format!("{base}/logout"));
                url.set_query(None);
                url
            }
        };
        let mut query = Query::default();
        query.set("client_id", goodbye.client_id);
        query.set("logout_uri", goodbye.return_to.as_str());
        Some(query.onto(&endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::provider::Kind;

    #[test]
    fn the_issuer_comes_from_region_and_pool() {
        let mut config = crate::provider::tests::config(Kind::Cognito, "");
        assert_eq!(issuer(&config).unwrap(), "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC");
        config.user_pool_id = Some("x/../evil".into());
        assert!(issuer(&config).is_err());
        config.user_pool_id = None;
        assert!(issuer(&config).is_err());
    }
}
