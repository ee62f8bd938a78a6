//! What a kind of OpenID Connect provider may have of its own.

use std::fmt;

use url::Url;

use super::Metadata;
use crate::{
    provider::{
        ProviderError,
        profile::Claims,
        registration::{Query, Registration},
    },
    secret::Secret,
};

/// What is odd about a kind of OpenID Connect provider.
pub(in crate::provider) trait Flavour: Send + Sync + fmt::Debug + 'static {
    /// Other spellings of the issuer in ID tokens.
    fn other_issuers(&self) -> &'static [&'static str] {
        &[]
    }
    /// Parameters added to the authorization request.
    fn authorize_params(&self, _registration: &Registration) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Looks at the endpoints before they are used: the reason why they cannot be.
    fn inspect(&self, _metadata: &Metadata) -> Result<(), ProviderError> {
        Ok(())
    }
    /// Checks of the kind's own on a genuine ID token.
    fn admit(&self, _registration: &Registration, _claims: &Claims) -> Result<(), ProviderError> {
        Ok(())
    }
    /// The upstream identity provider behind a broker.
    fn connection(&self, _claims: &Claims) -> Option<String> {
        None
    }
    /// False when the revocation endpoint takes no client credentials.
    fn authenticates_revocation(&self) -> bool {
        true
    }
    /// Where to sign out (RP-Initiated Logout 1.0, 2).
    fn end_session_url(&self, metadata: &Metadata, goodbye: &Goodbye<'_>) -> Option<Url> {
        let mut query = Query::default();
        if let Some(token) = goodbye.id_token {
            query.set("id_token_hint", token.expose());
        }
        query.set("client_id", goodbye.client_id);
        query.set("post_logout_redirect_uri", goodbye.return_to.as_str());
        query.set("state", goodbye.state);
        Some(query.onto(metadata.end_session.as_ref()?))
    }
}

/// What a sign-out at the provider is asked with.
#[derive(Debug)]
pub(in crate::provider) struct Goodbye<'a> {
    pub(in crate::provider) client_id: &'a str,
    pub(in crate::provider) id_token: Option<&'a Secret>,
    pub(in crate::provider) return_to: &'a Url,
    pub(in crate::provider) state: &'a str,
}

/// An issuer that is as the standard says.
#[derive(Debug)]
pub(in crate::provider) struct Standard;

impl Flavour for Standard {}
