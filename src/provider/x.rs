//! X, formerly Twitter: OAuth 2.0 with single-use refresh tokens and the profile inside `data`.
//!
//! Its codes live 30 seconds. A refresh token is dead the moment it is used, and replaying one can end them all; the
//! caller sees to it that only one refresh runs at a time.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::{
    OpenError, ProviderError, Tokens,
    oauth2::{Endpoints, Flavour, OAuth2, Person, successful},
    outgoing::Answer,
    profile::{self, Claims, display, id, object, text},
    registration::Registration,
};
use crate::identity::Profile;

const ISSUER: &str = "https://x.com";
const FIELDS: &str = "id,name,username,profile_image_url,verified,created_at";

#[derive(Debug)]
pub(super) struct X {
    profile: Url,
}

impl X {
    pub(super) fn open(registration: Registration) -> Result<Arc<OAuth2<Self>>, OpenError> {
        let config = &registration.config;
        let api = config.api_url.as_ref().map_or("https://api.x.com", Url::as_str).trim_end_matches('/').to_owned();
        let or = |configured: &Option<Url>, default: &str| match configured {
            Some(url) => Ok(url.clone()),
            None => {
                Url::parse(default).map_err(|_| OpenError::NeedsKey { kind: "x", key: "api_url as a base address" })
            }
        };
        let endpoints = Endpoints {
            issuer: ISSUER.into(),
            answers_as: vec![ISSUER.into()],
            authorize: or(&config.authorize_url, "https://x.com/i/oauth2/authorize")?,
            token: or(&config.token_url, &format!("{api}/2/oauth2/token"))?,
            revocation: Some(or(&config.revocation_url, &format!("{api}/2/oauth2/revoke"))?),
        };
        let profile = or(&config.userinfo_url, &format!("{api}/2/users/me"))?;
        Ok(OAuth2::new(registration, endpoints, Self { profile }))
    }

    async fn ask(&self, registration: &Registration, tokens: &Tokens, fields: &str) -> Result<Answer, ProviderError> {
        let mut url = self.profile.clone();
        url.query_pairs_mut().append_pair("user.fields", fields);
        Ok(registration.outgoing.get(&url, Some(tokens.access_token.expose()), "application/json").await?)
    }
}

#[async_trait]
impl Flavour for X {
    fn profile_address(&self) -> Option<&Url> {
        Some(&self.profile)
    }

    async fn person(&self, registration: &Registration, tokens: &Tokens) -> Result<Person, ProviderError> {
        let mut answer = self.ask(registration, tokens, &format!("{FIELDS},confirmed_email")).await?;
        // Without the scope or the app's setting for addresses, asking for one can fail as a whole.
        if matches!(answer.status.as_u16(), 400 | 403) {
            answer = self.ask(registration, tokens, FIELDS).await?;
        }
        let body = object(&successful("users/me", answer)?, "the profile")?;
        // `errors` beside `data` means that some fields are missing, nothing worse.
        let Some(data) = body.get("data").and_then(|data| data.as_object()) else {
            return Err(ProviderError::Untrusted("the profile has no data".into()));
        };
        let subject = id(data, "id").ok_or_else(|| ProviderError::Untrusted("the profile has no id".into()))?;
        Ok(Person { subject, profile: profile(data) })
    }
}

/// The profile. `verified` is the blue tick and has nothing to do with the address; a `confirmed_email` is confirmed
/// by being there.
fn profile(data: &Claims) -> Profile {
    let email = text(data, "confirmed_email");
    Profile {
        email_verified: email.is_some(),
        email,
        name: display(data, "name"),
        preferred_username: display(data, "username"),
        picture: text(data, "profile_image_url").and_then(|raw| profile::picture(&raw)),
        claims: profile::others(&[data], &["id", "confirmed_email", "name", "username", "profile_image_url"]),
        ..Profile::default()
    }
}
