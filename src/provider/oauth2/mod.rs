//! The OAuth 2.0 client: services that say who somebody is by a JSON profile rather than an ID token.
//!
//! [`token`] speaks to the token endpoint through the `oauth2` crate, with [`dialect`] in front of it bringing every
//! vendor's answers into the standard's form. A kind is a [`Flavour`]: how its profile is read, and what else is odd.
//!
//! There is no signature here. What makes the identity trustworthy is that the access token came from the token
//! endpoint, over TLS, for a code bound to this login, and goes to the profile endpoint only.

mod dialect;
pub(super) mod token;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use url::Url;

use self::token::{TokenEndpoint, revoke};
use super::{
    AuthorizationRequest, AuthorizationResponse, Farewell, Health, Message, OpenError, Provider, ProviderError,
    Redeemed, Renewed, Tokens, examine,
    outgoing::{Answer, escaped, within},
    profile::{self, id, object},
    registration::Registration,
};
use crate::{
    clock::Timestamp,
    identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
    secret::Secret,
    told::{Examined, Sound},
};

/// Whose profile was read.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) subject: String,
    pub(super) profile: Profile,
}

/// Where everything is, and who is said to vouch.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// The fixed text accounts are keyed by: these services name no issuer of their own.
    pub(super) issuer: String,
    /// What `iss` may be in an answer (RFC 9207); empty when that is not known, and then it is not compared.
    pub(super) answers_as: Vec<String>,
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) revocation: Option<Url>,
}

/// What is odd about a kind of OAuth 2.0 service.
#[async_trait]
pub(super) trait Flavour: Send + Sync + fmt::Debug + 'static {
    /// Scopes on top of the preset's.
    fn more_scopes(&self, _registration: &Registration) -> &'static [&'static str] {
        &[]
    }

    /// Where it reads profiles.
    fn profile_address(&self) -> Option<&Url>;

    /// Reads the profile of whom the tokens are for.
    async fn person(&self, registration: &Registration, tokens: &Tokens) -> Result<Person, ProviderError>;

    /// What is done with tokens right after a code was redeemed for `person`.
    async fn settle(
        &self,
        _client: &Client<'_>,
        tokens: Tokens,
        _person: &Person,
        _now: Timestamp,
    ) -> Result<Tokens, ProviderError> {
        Ok(tokens)
    }

    /// Fresh tokens. Without a refresh token they stay, and reading the profile tells whether access still stands.
    async fn renew(&self, client: &Client<'_>, tokens: &Tokens, now: Timestamp) -> Result<Tokens, ProviderError> {
        match &tokens.refresh_token {
            Some(refresh_token) => client.token_endpoint().refresh(refresh_token, now).await,
            None => Ok(tokens.clone()),
        }
    }

    /// When to renew next.
    fn renew_at(&self, registration: &Registration, tokens: &Tokens, now: Timestamp) -> Option<Timestamp> {
        match (&tokens.refresh_token, tokens.expires_at) {
            (Some(_), Some(expires)) => Some(expires),
            (None, Some(_)) => None,
            (_, None) => Some(now.plus(registration.config.recheck_every)),
        }
    }

    /// Checks a message from the provider; gives whose sessions are over, the message's own id, and until when it would
    /// pass again.
    fn hear(
        &self,
        _registration: &Registration,
        message: Message<'_>,
        _now: Timestamp,
    ) -> Result<(Subject, String, Timestamp), ProviderError> {
        Err(message.unheard())
    }

    /// Revokes (RFC 7009): the refresh token first, it takes its access tokens with it.
    async fn revoke(&self, client: &Client<'_>, tokens: &Tokens) -> Result<(), ProviderError> {
        let Some(url) = &client.endpoints.revocation else { return Ok(()) };
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&tokens.access_token, "access_token"),
        };
        revoke(client.registration, url, client.registration.client_auth(None), token, hint).await
    }
}

/// What a flavour works with.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub(super) registration: &'a Registration,
    pub(super) endpoints: &'a Endpoints,
}

impl<'a> Client<'a> {
    pub(super) fn token_endpoint(&self) -> TokenEndpoint<'a> {
        TokenEndpoint::new(self.registration, &self.endpoints.token, self.registration.client_auth(None))
    }
}

/// An OAuth 2.0 service.
#[derive(Debug)]
pub(super) struct OAuth2<F> {
    registration: Registration,
    endpoints: Endpoints,
    flavour: F,
}

impl<F: Flavour> OAuth2<F> {
    pub(super) fn new(registration: Registration, endpoints: Endpoints, flavour: F) -> Arc<Self> {
        Arc::new(Self { registration, endpoints, flavour })
    }

    fn client(&self) -> Client<'_> {
        Client { registration: &self.registration, endpoints: &self.endpoints }
    }

    async fn person(&self, tokens: &Tokens) -> Result<Person, ProviderError> {
        let person = self.flavour.person(&self.registration, tokens).await?;
        let profile = profile::bounded_by_domains(person.profile, &self.registration.config);
        Ok(Person { profile, ..person })
    }
}

#[async_trait]
impl<F: Flavour> Provider for OAuth2<F> {
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
        match self.endpoints.answers_as.as_slice() {
            [one] => Some(Issuer::new(one.as_str())),
            _ => None,
        }
    }

    async fn authorize_url(&self, request: AuthorizationRequest<'_>) -> Result<Url, ProviderError> {
        let scope = self.registration.scope(self.flavour.more_scopes(&self.registration));
        Ok(self.registration.authorize_url(&self.endpoints.authorize, &scope, &request, &[]))
    }

    async fn redeem(&self, response: AuthorizationResponse<'_>, now: Timestamp) -> Result<Redeemed, ProviderError> {
        within(self.registration.config.timeout, self.redeem_in_time(response, now)).await
    }

    async fn renew(&self, tokens: &Tokens, origin: &Origin, now: Timestamp) -> Result<Renewed, ProviderError> {
        within(self.registration.config.timeout, self.renew_in_time(tokens, origin, now)).await
    }

    async fn revoke(&self, tokens: &Tokens) -> Result<(), ProviderError> {
        if !self.registration.revokes() {
            return Ok(());
        }
        within(self.registration.config.timeout, self.flavour.revoke(&self.client(), tokens)).await
    }

    async fn end_session_url(&self, _id_token: Option<&Secret>, _return_to: &Url, _state: &str) -> Option<Url> {
        None
    }

    async fn hear(&self, message: Message<'_>, now: Timestamp) -> Result<Farewell, ProviderError> {
        let (subject, id, heard_until) = self.flavour.hear(&self.registration, message, now)?;
        let issuer = Issuer::new(self.endpoints.issuer.as_str());
        Ok(Farewell { issuer, subject: Some(subject), sid: None, id, heard_until })
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    async fn examine(&self) -> Examined {
        let mut places = vec![&self.endpoints.authorize, &self.endpoints.token];
        places.extend(self.flavour.profile_address());
        let outgoing = &self.registration.outgoing;
        let reached = within(self.registration.config.timeout, examine::reach(outgoing, places)).await;
        reached.map(Sound::new).map_err(|error| error.told())
    }
}

impl<F: Flavour> OAuth2<F> {
    async fn redeem_in_time(
        &self,
        response: AuthorizationResponse<'_>,
        now: Timestamp,
    ) -> Result<Redeemed, ProviderError> {
        // RFC 9207, 2.4. Where no issuer is known, the callback address of this provider's own is what prevents
        // mix-up (RFC 9700, 4.4).
        let known = &self.endpoints.answers_as;
        if let Some(iss) = response.iss
            && !known.is_empty()
            && !known.iter().any(|one| one == iss)
        {
            return Err(ProviderError::Untrusted(format!(
                "another issuer answered: \"{}\" (RFC 9207, 2.4)",
                escaped(iss)
            )));
        }
        let client = self.client();
        let mut tokens = client.token_endpoint().redeem(&response, now).await?;
        // Nobody has checked an ID token here, so that none is kept.
        tokens.id_token = None;
        let person = self.person(&tokens).await?;
        let tokens = self.flavour.settle(&client, tokens, &person, now).await?;
        let origin = Origin {
            provider: self.registration.name.clone(),
            key: IdentityKey {
                issuer: Issuer::new(self.endpoints.issuer.as_str()),
                subject: Subject::new(person.subject),
            },
            at: now,
            acr: None,
            amr: Vec::new(),
            connection: None,
            sid: None,
        };
        let identity = VerifiedIdentity::vouched(origin, person.profile)
            .map_err(|error| ProviderError::Untrusted(error.to_string()))?;
        let renew_at = self.flavour.renew_at(&self.registration, &tokens, now);
        Ok(Redeemed { identity, tokens, renew_at })
    }

    async fn renew_in_time(&self, tokens: &Tokens, origin: &Origin, now: Timestamp) -> Result<Renewed, ProviderError> {
        let mut renewed = self.flavour.renew(&self.client(), tokens, now).await?;
        renewed.id_token = None;
        let exchanged = renewed.access_token != tokens.access_token;
        let profile = match self.person(&renewed).await {
            Ok(person) if person.subject == origin.key.subject.as_str() => {
                Some(profile::renewed(origin, person.profile)?)
            }
            // Somebody else signed in there meanwhile; these tokens are not this session's.
            Ok(_) => return Err(ProviderError::Untrusted("the profile is now that of another person".into())),
            Err(error @ (ProviderError::GrantRefused(_) | ProviderError::NotAllowed(_))) => return Err(error),
            // New tokens, which may be the only valid ones, are not lost because the profile cannot be read.
            Err(error) if exchanged => {
                tracing::warn!(provider = %self.registration.name, %error, "the profile cannot be read after a renewal");
                None
            }
            Err(error) => return Err(error),
        };
        let renew_at = self.flavour.renew_at(&self.registration, &renewed, now);
        Ok(Renewed { tokens: renewed, profile, renew_at })
    }
}

/// What an API's status other than success means.
pub(super) fn unsuccessful(what: &str, status: StatusCode, headers: &HeaderMap) -> ProviderError {
    let text = format!("{what} answers {status}");
    let limited = headers.contains_key("retry-after")
        || headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    match status.as_u16() {
        401 => ProviderError::GrantRefused(text),
        429 | 500.. => ProviderError::Unavailable(text),
        403 if limited => ProviderError::Unavailable(text),
        _ => ProviderError::Misconfigured(text),
    }
}

/// The body of a success.
pub(super) fn successful(what: &str, answer: Answer) -> Result<bytes::Bytes, ProviderError> {
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(unsuccessful(what, status, &answer.headers)),
    }
}

/// Any plain OAuth 2.0 service: its profile has the claims of OpenID Connect, or at least the subject's.
#[derive(Debug)]
pub(super) struct Generic {
    userinfo: Url,
}

impl Generic {
    pub(super) fn open(registration: Registration) -> Result<Arc<OAuth2<Self>>, OpenError> {
        let config = &registration.config;
        let needed =
            |key: &'static str, url: &Option<Url>| url.clone().ok_or(OpenError::NeedsKey { kind: "oauth2", key });
        let authorize = needed("authorize_url", &config.authorize_url)?;
        let token = needed("token_url", &config.token_url)?;
        let userinfo = needed("userinfo_url", &config.userinfo_url)?;
        let endpoints = Endpoints {
            // The whole endpoint, not its host: tenants of one host must not share subjects.
            issuer: config.issuer.clone().unwrap_or_else(|| super::outgoing::place(&token)),
            answers_as: config.issuer.iter().cloned().collect(),
            authorize,
            token,
            revocation: config.revocation_url.clone(),
        };
        Ok(OAuth2::new(registration, endpoints, Self { userinfo }))
    }
}

#[async_trait]
impl Flavour for Generic {
    fn profile_address(&self) -> Option<&Url> {
        Some(&self.userinfo)
    }

    async fn person(&self, registration: &Registration, tokens: &Tokens) -> Result<Person, ProviderError> {
        let token = tokens.access_token.expose();
        let answer = registration.outgoing.get(&self.userinfo, Some(token), "application/json").await?;
        let claims = object(&successful("the profile endpoint", answer)?, "the profile")?;
        let subject_claim = &registration.config.subject_claim;
        let subject = id(&claims, subject_claim).ok_or_else(|| {
            ProviderError::Misconfigured(format!("the profile has no \"{subject_claim}\": correct subject_claim"))
        })?;
        let mut profile = profile::standard(&[&claims], registration.preset, &registration.config);
        profile.claims.remove(subject_claim);
        Ok(Person { subject, profile })
    }
}

#[cfg(test)]
mod tests;
