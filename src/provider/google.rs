//! Google and Google Workspace: OpenID Connect, with two spellings of the issuer and the `hd` claim.
//!
//! There is no sign-out endpoint. A refresh token comes only with the first consent; without one the gateway renews
//! with `prompt=none`.

use std::sync::Arc;

use super::{
    OpenError, ProviderError,
    oidc::{Flavour, Goodbye, Metadata, Oidc},
    profile::Claims,
    registration::Registration,
};
use url::Url;

const ISSUER: &str = "https://accounts.google.com";

#[derive(Debug)]
pub(super) struct Google;

impl Google {
    pub(super) fn open(registration: Registration) -> Result<Arc<Oidc<Self>>, OpenError> {
        let issuer = registration.config.issuer.clone().unwrap_or_else(|| ISSUER.to_owned());
        Oidc::open(registration, issuer, Self)
    }
}

impl Flavour for Google {
    /// Old tokens leave the scheme out; accepted for Google and nobody else.
    fn other_issuers(&self) -> &'static [&'static str] {
        &["accounts.google.com"]
    }

    /// `hd` preselects the Workspace domain. A hint only: people can strip it, so [`Flavour::admit`] decides.
    fn authorize_params(&self, registration: &Registration) -> Vec<(&'static str, String)> {
        match registration.config.hosted_domains.as_slice() {
            [domain] => vec![("hd", domain.clone())],
            _ => Vec::new(),
        }
    }

    /// The `hd` *claim* must be one of the configured domains; the address's own domain says nothing, since a consumer
    /// account can have an address of any domain.
    fn admit(&self, registration: &Registration, claims: &Claims) -> Result<(), ProviderError> {
        let allowed = &registration.config.hosted_domains;
        let hosted = claims.get("hd").and_then(|hd| hd.as_str());
        match hosted {
            _ if allowed.is_empty() => Ok(()),
            Some(hd) if allowed.iter().any(|domain| domain.eq_ignore_ascii_case(hd)) => Ok(()),
            Some(_) => Err(ProviderError::NotAllowed("the account is of another Workspace domain".into())),
            None => Err(ProviderError::NotAllowed("the account is of no Workspace domain".into())),
        }
    }

    fn authenticates_revocation(&self) -> bool {
        false
    }

    fn end_session_url(&self, _metadata: &Metadata, _goodbye: &Goodbye<'_>) -> Option<Url> {
        None
    }
}
