//! Renewal by refresh token (OpenID Connect Core, 12), and what is known of the person after it.

use super::{
    Claims, Flavour, Metadata, Occasion, Oidc, Origin, Profile, ProviderError, Renewed, Timestamp, TokenEndpoint,
    Tokens, id_token, profile, userinfo,
};

/// Claims for display only; kept from the last ID token when a refreshed one leaves them out, as Google's do.
const DISPLAY: [&str; 7] = ["name", "given_name", "family_name", "picture", "locale", "preferred_username", "nickname"];

impl<F: Flavour> Oidc<F> {
    pub(super) async fn renew_in_time(
        &self,
        tokens: &Tokens,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Renewed, ProviderError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            // Nobody has said no; the session lives on as it is.
            return Ok(Renewed { tokens: tokens.clone(), profile: None, renew_at: None });
        };
        let metadata = self.metadata().await?;
        // Before the refresh token is spent, which may work once only.
        let keys = self.keys(&metadata).await?;
        let auth = self.registration.client_auth(metadata.client_auth);
        let endpoint = TokenEndpoint::new(&self.registration, &metadata.token, auth);
        let mut renewed = endpoint.refresh(refresh_token, now).await?;
        let subject = origin.key.subject.as_str();
        let before = tokens.id_token.as_ref().and_then(id_token::claims_of_kept).unwrap_or_default();
        let profile = if renewed.id_token.is_some() {
            let nonce = before.get("nonce").and_then(|nonce| nonce.as_str());
            let claims = self.validate(&metadata, keys, &renewed, Occasion::Refresh { subject, nonce }, now).await?;
            self.renewed_profile(&metadata, &renewed, subject, &claims.all, &before).await?
        } else {
            renewed.id_token = tokens.id_token.clone();
            self.profile_without_id_token(&metadata, &renewed, subject, &before).await?
        };
        let profile = profile.map(|profile| profile::renewed(origin, profile)).transpose()?;
        let renew_at = self.renew_at(&renewed, now);
        Ok(Renewed { tokens: renewed, profile, renew_at })
    }

    /// The profile after a refresh that brought an ID token. Display claims it leaves out (Google does) are taken from
    /// the one before; addresses and groups never are: what is gone is gone.
    async fn renewed_profile(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
        id: &Claims,
        before: &Claims,
    ) -> Result<Option<Profile>, ProviderError> {
        let more = match self.userinfo(metadata, tokens, subject, id).await {
            Ok(more) => more,
            Err(ProviderError::GrantRefused(why)) => return Err(ProviderError::GrantRefused(why)),
            Err(error) => {
                // The new tokens must not be lost for this; the profile stays as it was.
                tracing::warn!(provider = %self.registration.name, %error, "userinfo fails after a refresh");
                return Ok(None);
            }
        };
        let shown: Claims = before
            .iter()
            .filter(|(name, _)| DISPLAY.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let sources: Vec<&Claims> = std::iter::once(id).chain(more.as_ref()).chain([&shown]).collect();
        Ok(Some(self.profile(&sources)))
    }

    /// The profile after a refresh without an ID token: userinfo over what the last ID token said, if both are there.
    async fn profile_without_id_token(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
        before: &Claims,
    ) -> Result<Option<Profile>, ProviderError> {
        let Some(url) = &metadata.userinfo else { return Ok(None) };
        if before.is_empty() || self.registration.config.userinfo == Some(false) {
            return Ok(None);
        }
        match userinfo::fetch(&self.registration.outgoing, url, &tokens.access_token, subject).await {
            Ok(claims) => Ok(Some(self.profile(&[&claims, before]))),
            Err(ProviderError::GrantRefused(why)) => Err(ProviderError::GrantRefused(why)),
            Err(error) => {
                tracing::warn!(provider = %self.registration.name, %error, "userinfo fails after a refresh");
                Ok(None)
            }
        }
    }
}
