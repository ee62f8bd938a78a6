//! The OpenID Connect client: Google, Cognito and every issuer that keeps to the standard.
//!
//! Discovery and key set are fetched when first needed and kept ([`cached`]); a code is exchanged at the token endpoint
//! of [`oauth2`](super::oauth2); the ID token passes [`id_token::validate`] before anything in it is believed. What is
//! odd about a kind is in its [`Flavour`].
//!
//! Deliberately absent: the implicit and hybrid flows, encrypted ID tokens, request objects, dynamic registration.

mod cached;
mod discovery;
mod flavour;
mod id_token;
mod jwks;
mod logout_token;
mod renewal;
mod userinfo;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use url::Url;

use self::{
    cached::{Cached, back_off},
    id_token::{Expectations, IdClaims, MAX_AGE_AT_LOGIN, Occasion, Refusal},
    jwks::KeySet,
};
pub(super) use self::{
    discovery::Metadata,
    flavour::{Flavour, Goodbye, Standard},
};
use super::{
    AuthorizationRequest, AuthorizationResponse, Farewell, Health, Message, OpenError, Provider, ProviderError,
    Redeemed, Renewed, Tokens, examine,
    oauth2::token::{TokenEndpoint, revoke},
    outgoing::{escaped, within},
    profile::{self, Claims},
    registration::Registration,
};
use crate::{
    clock::Timestamp,
    identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
    secret::Secret,
    told::{Examined, Sound},
};

/// An OpenID Connect provider.
#[derive(Debug)]
pub(super) struct Oidc<F> {
    registration: Registration,
    flavour: F,
    issuer: String,
    algorithms: Vec<Algorithm>,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
    /// To hand to the task that tries again what failed.
    this: Weak<Self>,
    retrying: AtomicBool,
}

impl<F: Flavour> Oidc<F> {
    pub(super) fn open(registration: Registration, issuer: String, flavour: F) -> Result<Arc<Self>, OpenError> {
        let algorithms = algorithms(&registration)?;
        let (metadata, keys) =
            (Cached::new(Arc::clone(&registration.clock)), Cached::new(Arc::clone(&registration.clock)));
        Ok(Arc::new_cyclic(|this| Self {
            registration,
            flavour,
            issuer,
            algorithms,
            metadata,
            keys,
            this: Weak::clone(this),
            retrying: AtomicBool::new(false),
        }))
    }

    /// The endpoints, from configuration or discovery.
    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        let found = self.metadata.get(self.discover()).await;
        if found.is_err() {
            self.retry_in_background();
        }
        found
    }

    async fn discover(&self) -> Result<(Metadata, Duration), ProviderError> {
        let config = &self.registration.config;
        let found = match Metadata::configured(config) {
            Some(metadata) => (metadata, Duration::MAX),
            None => Metadata::fetch(&self.registration.outgoing, config, &self.issuer).await?,
        };
        self.flavour.inspect(&found.0)?;
        Ok(found)
    }

    /// Fetches discovery and keys until it works, so that [`Provider::health`] recovers without a login to notice it.
    /// Ends with the provider.
    fn retry_in_background(&self) {
        if self.retrying.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Weak::clone(&self.this);
        tokio::spawn(async move {
            for times in 0_u32.. {
                tokio::time::sleep(back_off(times)).await;
                let Some(provider) = this.upgrade() else { return };
                match provider.fetch_all().await {
                    Ok(()) => {
                        provider.retrying.store(false, Ordering::Release);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(provider = %provider.registration.name, %error, "the provider is not ready");
                    }
                }
            }
        });
    }

    async fn fetch_all(&self) -> Result<(), ProviderError> {
        let metadata = self.metadata.get(self.discover()).await?;
        self.keys(&metadata).await.map(drop)
    }

    /// Where every token is signed with our own secret.
    fn needs_no_keys(&self) -> bool {
        self.algorithms.iter().all(|algorithm| algorithm.family() == AlgorithmFamily::Hmac)
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Arc<KeySet>, ProviderError> {
        if self.needs_no_keys() {
            return Ok(Arc::default());
        }
        let found = self.keys.get(KeySet::fetch(&self.registration.outgoing, &metadata.jwks)).await;
        if found.is_err() {
            self.retry_in_background();
        }
        found
    }

    /// Validates an ID token; for an unknown key the set is fetched once more, within the cool-down.
    async fn validate(
        &self,
        metadata: &Metadata,
        keys: Arc<KeySet>,
        tokens: &Tokens,
        occasion: Occasion<'_>,
        now: Timestamp,
    ) -> Result<IdClaims, ProviderError> {
        let token = tokens
            .id_token
            .as_ref()
            .ok_or_else(|| ProviderError::Untrusted("the token answer has no ID token: is openid in scopes?".into()))?;
        let expected = Expectations { access_token: Some(&tokens.access_token), ..self.expectations(occasion) };
        let verdict =
            self.with_keys(metadata, keys, |keys| id_token::validate(token.expose(), keys, &expected, now)).await?;
        let claims = verdict.map_err(|refusal| ProviderError::Untrusted(format!("ID token: {refusal}")))?;
        self.flavour.admit(&self.registration, &claims.all)?;
        Ok(claims)
    }

    fn expectations<'a>(&'a self, occasion: Occasion<'a>) -> Expectations<'a> {
        let config = &self.registration.config;
        Expectations {
            issuer: &self.issuer,
            other_issuers: self.flavour.other_issuers(),
            client_id: &config.client_id,
            trusted_audiences: &config.trusted_audiences,
            algorithms: &self.algorithms,
            client_secret: self.registration.secret.as_ref(),
            access_token: None,
            occasion,
        }
    }

    /// Checks with the keys that are known and, when the one wanted is not among them, once more with newer ones.
    async fn with_keys<T>(
        &self,
        metadata: &Metadata,
        keys: Arc<KeySet>,
        check: impl Fn(&KeySet) -> Result<T, Refusal>,
    ) -> Result<Result<T, Refusal>, ProviderError> {
        match check(&keys) {
            Err(Refusal::UnknownKey) => {
                let fetch = KeySet::fetch(&self.registration.outgoing, &metadata.jwks);
                Ok(check(&*self.keys.newer(&keys, fetch).await?))
            }
            verdict => Ok(verdict),
        }
    }

    /// A back-channel logout token (OpenID Connect Back-Channel Logout 1.0, 2.6).
    async fn hear_in_time(&self, token: &str, now: Timestamp) -> Result<Farewell, ProviderError> {
        let metadata = self.metadata().await?;
        let keys = self.keys(&metadata).await?;
        let expected = self.expectations(Occasion::Logout);
        let verdict =
            self.with_keys(&metadata, keys, |keys| logout_token::validate(token, keys, &expected, now)).await?;
        let claims = verdict.map_err(|refusal| ProviderError::Untrusted(format!("logout token: {refusal}")))?;
        Ok(Farewell {
            issuer: Issuer::new(self.issuer.as_str()),
            subject: claims.subject.map(Subject::new),
            sid: claims.sid,
            id: claims.jti,
            // With leeway at both ends: no clock lets it in a second time.
            heard_until: now.plus(MAX_AGE_AT_LOGIN * 2),
        })
    }

    /// The userinfo claims, when the operator wants them or the ID token does not suffice.
    async fn userinfo(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
        id: &Claims,
    ) -> Result<Option<Claims>, ProviderError> {
        let wanted = self.registration.config.userinfo.unwrap_or_else(|| {
            self.registration.preset.thin_id_tokens
                && !id.contains_key("email")
                && self.scope().split(' ').any(|scope| scope == "email")
        });
        match &metadata.userinfo {
            Some(url) if wanted => {
                userinfo::fetch(&self.registration.outgoing, url, &tokens.access_token, subject).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Scopes; without `openid` there would be no ID token (OpenID Connect Core, 3.1.2.1).
    fn scope(&self) -> String {
        let scope = self.registration.scope(&[]);
        if scope.split(' ').any(|one| one == "openid") { scope } else { format!("openid {scope}") }
    }

    fn profile(&self, sources: &[&Claims]) -> Profile {
        let profile = profile::standard(sources, self.registration.preset, &self.registration.config);
        profile::bounded_by_domains(profile, &self.registration.config)
    }

    /// Renewal is by refresh token; when its access token's end is not told, at the recheck interval.
    fn renew_at(&self, tokens: &Tokens, now: Timestamp) -> Option<Timestamp> {
        tokens.refresh_token.as_ref()?;
        Some(tokens.expires_at.unwrap_or_else(|| now.plus(self.registration.config.recheck_every)))
    }

    /// RFC 9207, 2.4: `iss` is compared when it is there, and must be there when it was promised.
    fn check_answering_issuer(&self, metadata: &Metadata, iss: Option<&str>) -> Result<(), ProviderError> {
        match iss {
            Some(iss) if iss != self.issuer => {
                Err(ProviderError::Untrusted(format!("another issuer answered: \"{}\" (RFC 9207, 2.4)", escaped(iss))))
            }
            None if metadata.promises_iss => {
                Err(ProviderError::Untrusted("the answer lacks iss, which the issuer promises (RFC 9207, 2.4)".into()))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl<F: Flavour> Provider for Oidc<F> {
    fn name(&self) -> &ProviderName {
        &self.registration.name
    }

    fn label(&self) -> &str {
        self.registration.label()
    }

    fn kind(&self) -> &'static str {
        self.registration.kind()
    }

    fn supports_silent(&self) -> bool {
        self.registration.preset.silent
    }

    fn issuer(&self) -> Option<Issuer> {
        Some(Issuer::new(self.issuer.as_str()))
    }

    async fn authorize_url(&self, request: AuthorizationRequest<'_>) -> Result<Url, ProviderError> {
        let metadata = self.metadata().await?;
        let mut extra = vec![("nonce", request.nonce.to_owned())];
        extra.extend(self.flavour.authorize_params(&self.registration));
        Ok(self.registration.authorize_url(&metadata.authorize, &self.scope(), &request, &extra))
    }

    async fn redeem(&self, response: AuthorizationResponse<'_>, now: Timestamp) -> Result<Redeemed, ProviderError> {
        within(self.registration.config.timeout, self.redeem_in_time(response, now)).await
    }

    async fn renew(&self, tokens: &Tokens, origin: &Origin, now: Timestamp) -> Result<Renewed, ProviderError> {
        within(self.registration.config.timeout, self.renew_in_time(tokens, origin, now)).await
    }

    async fn revoke(&self, tokens: &Tokens) -> Result<(), ProviderError> {
        within(self.registration.config.timeout, self.revoke_in_time(tokens)).await
    }

    async fn end_session_url(&self, id_token: Option<&Secret>, return_to: &Url, state: &str) -> Option<Url> {
        if !self.registration.config.sign_out_at_provider {
            return None;
        }
        let metadata = self.metadata().await.ok()?;
        let client_id = &self.registration.config.client_id;
        self.flavour.end_session_url(&metadata, &Goodbye { client_id, id_token, return_to, state })
    }

    async fn hear(&self, message: Message<'_>, now: Timestamp) -> Result<Farewell, ProviderError> {
        let Message::LogoutToken(token) = message else { return Err(message.unheard()) };
        within(self.registration.config.timeout, self.hear_in_time(token, now)).await
    }

    fn health(&self) -> Health {
        match self.metadata.trouble().or_else(|| self.keys.trouble()) {
            Some(why) => Health::Unready(why),
            None => Health::Ready,
        }
    }

    async fn examine(&self) -> Examined {
        within(self.registration.config.timeout, self.examine_in_time()).await.map_err(|error| error.told())
    }
}

impl<F: Flavour> Oidc<F> {
    /// Past everything that is kept: what is true now is wanted.
    async fn examine_in_time(&self) -> Result<Sound, ProviderError> {
        let (metadata, _) = self.discover().await?;
        let outgoing = &self.registration.outgoing;
        let keys = async {
            if self.needs_no_keys() {
                return Ok(None);
            }
            let (_, headers) = KeySet::ask(outgoing, &metadata.jwks).await?;
            Ok::<_, ProviderError>(examine::clock_warning(&headers, self.registration.clock.now()))
        };
        let reached = examine::reach(outgoing, vec![&metadata.authorize, &metadata.token]);
        let (warning, reached) = tokio::try_join!(keys, reached)?;
        let detail = format!("issuer {}: endpoints and keys are known, {reached}", self.issuer);
        Ok(Sound { detail, warnings: warning.into_iter().collect() })
    }

    async fn redeem_in_time(
        &self,
        response: AuthorizationResponse<'_>,
        now: Timestamp,
    ) -> Result<Redeemed, ProviderError> {
        let metadata = self.metadata().await?;
        self.check_answering_issuer(&metadata, response.iss)?;
        // Before the code is spent, which works once only.
        let keys = self.keys(&metadata).await?;
        let auth = self.registration.client_auth(metadata.client_auth);
        let tokens = TokenEndpoint::new(&self.registration, &metadata.token, auth).redeem(&response, now).await?;
        let occasion = Occasion::Login { nonce: response.nonce };
        let claims = self.validate(&metadata, keys, &tokens, occasion, now).await?;
        let more = self.userinfo(&metadata, &tokens, &claims.subject, &claims.all).await?;
        let sources: Vec<&Claims> = std::iter::once(&claims.all).chain(more.as_ref()).collect();
        let profile = self.profile(&sources);
        let origin = Origin {
            provider: self.registration.name.clone(),
            key: IdentityKey {
                // The configured spelling, also where the token had another of the accepted ones: one account.
                issuer: Issuer::new(self.issuer.as_str()),
                subject: Subject::new(claims.subject.as_str()),
            },
            at: claims.auth_time.unwrap_or(now).min(now),
            acr: claims.acr,
            amr: claims.amr,
            connection: self.flavour.connection(&claims.all),
            sid: claims.sid,
        };
        let identity =
            VerifiedIdentity::vouched(origin, profile).map_err(|error| ProviderError::Untrusted(error.to_string()))?;
        let renew_at = self.renew_at(&tokens, now);
        Ok(Redeemed { identity, tokens, renew_at })
    }

    async fn revoke_in_time(&self, tokens: &Tokens) -> Result<(), ProviderError> {
        if !self.registration.revokes() {
            return Ok(());
        }
        let metadata = self.metadata().await?;
        let Some(url) = &metadata.revocation else { return Ok(()) };
        let auth = match self.flavour.authenticates_revocation() {
            true => self.registration.client_auth(metadata.client_auth),
            false => crate::config::provider::ClientAuth::None,
        };
        // The refresh token takes its access tokens with it (RFC 7009, 2.1).
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&tokens.access_token, "access_token"),
        };
        revoke(&self.registration, url, auth, token, hint).await
    }
}

/// The accepted algorithms. HS* needs a secret at least as long as its hash (RFC 7518, 3.2).
fn algorithms(registration: &Registration) -> Result<Vec<Algorithm>, OpenError> {
    let names = &registration.config.id_token_algorithms;
    if names.is_empty() {
        return Err(OpenError::NoAlgorithm);
    }
    names
        .iter()
        .map(|name| {
            let algorithm: Algorithm = name.parse().map_err(|_| OpenError::UnknownAlgorithm(name.clone()))?;
            let least = match algorithm {
                Algorithm::HS256 => 32,
                Algorithm::HS384 => 48,
                Algorithm::HS512 => 64,
                _ => return Ok(algorithm),
            };
            let length = registration.secret.as_ref().map_or(0, |secret| secret.expose().len());
            if length < least {
                return Err(OpenError::ShortHmacSecret { algorithm: name.clone(), least });
            }
            Ok(algorithm)
        })
        .collect()
}

#[cfg(test)]
mod tests;
