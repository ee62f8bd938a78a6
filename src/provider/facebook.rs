//! Facebook Login: OAuth 2.0 with the Graph API's ways. No refresh tokens: the short token is exchanged for one of
//! about sixty days right at login, and renewal asks whether it still stands.
//!
//! Every call with a user token carries `appsecret_proof`. Addresses are taken as unverified unless the operator trusts
//! them: Facebook states nothing about them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use serde_json::Value;
use url::Url;

use super::{
    Message, OpenError, ProviderError, Tokens,
    oauth2::{Client, Endpoints, Flavour, OAuth2, Person, unsuccessful},
    outgoing::{Answer, escaped},
    profile::{self, Claims, boolean, display, id, object, text},
    registration::Registration,
    signed_request,
};
use crate::{
    clock::Timestamp,
    config::provider::Provider as Config,
    identity::{Profile, Subject},
    secret::Secret,
};

const ISSUER: &str = "https://www.facebook.com";
const FIELDS: &str = "id,name,first_name,last_name,middle_name,email,picture.width(256).height(256)";
/// A token with less life than this is exchanged again; Facebook extends one at most once a day.
const EXTEND_BELOW: Duration = Duration::from_secs(30 * 86_400);

#[derive(Debug)]
pub(super) struct Facebook {
    me: Url,
    permissions: Url,
    debug_token: Url,
}

impl Facebook {
    pub(super) fn open(registration: Registration) -> Result<Arc<OAuth2<Self>>, OpenError> {
        let config = &registration.config;
        let endpoints = Endpoints {
            issuer: ISSUER.into(),
            answers_as: vec![ISSUER.into()],
            authorize: match &config.authorize_url {
                Some(url) => url.clone(),
                None => address("https://www.facebook.com", config, "dialog/oauth")?,
            },
            token: match &config.token_url {
                Some(url) => url.clone(),
                None => graph(config, "oauth/access_token")?,
            },
            revocation: None,
        };
        let flavour = Self {
            me: match &config.userinfo_url {
                Some(url) => url.clone(),
                None => graph(config, "me")?,
            },
            permissions: match &config.revocation_url {
                Some(url) => url.clone(),
                None => graph(config, "me/permissions")?,
            },
            debug_token: graph(config, "debug_token")?,
        };
        Ok(OAuth2::new(registration, endpoints, flavour))
    }

    /// Exchanges for a long-lived token (by POST, so that the secret stands in no log of addresses).
    async fn extend(&self, client: &Client<'_>, token: &Secret, now: Timestamp) -> Result<Tokens, ProviderError> {
        let form = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", client.registration.config.client_id.as_str()),
            ("client_secret", client.registration.required_secret()?.expose()),
            ("fb_exchange_token", token.expose()),
        ];
        client.token_endpoint().exchange(&form, now).await
    }

    /// Asks Facebook about a token whose end it did not tell; with it, that the token is ours and this person's.
    async fn inspect(
        &self,
        registration: &Registration,
        mut tokens: Tokens,
        subject: &str,
    ) -> Result<Tokens, ProviderError> {
        let config = &registration.config;
        let app_token = format!("{}|{}", config.client_id, registration.required_secret()?.expose());
        let mut url = self.debug_token.clone();
        url.query_pairs_mut()
            .append_pair("input_token", tokens.access_token.expose())
            .append_pair("access_token", &app_token);
        let answer = graph_answer("debug_token", registration.outgoing.get(&url, None, "application/json").await?)?;
        let data = answer.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        if !boolean(&data, "is_valid") {
            return Err(ProviderError::GrantRefused("debug_token says that the token is not valid".into()));
        }
        if id(&data, "app_id").as_deref() != Some(config.client_id.as_str()) {
            return Err(ProviderError::Untrusted("the token was issued to another app".into()));
        }
        if id(&data, "user_id").as_deref() != Some(subject) {
            return Err(ProviderError::Untrusted("the token is another person's".into()));
        }
        // 0 means never.
        tokens.expires_at =
            data.get("expires_at").and_then(Value::as_i64).filter(|at| *at > 0).map(Timestamp::from_secs);
        Ok(tokens)
    }
}

/// An address of the Graph API, with its version.
fn graph(config: &Config, path: &str) -> Result<Url, OpenError> {
    let base = config.api_url.as_ref().map_or("https://graph.facebook.com", Url::as_str);
    address(base, config, path)
}

fn address(base: &str, config: &Config, path: &str) -> Result<Url, OpenError> {
    Url::parse(&format!("{}/{}/{path}", base.trim_end_matches('/'), config.graph_version))
        .map_err(|_| OpenError::NeedsKey { kind: "facebook", key: "graph_version such as v24.0" })
}

/// Lower-case hex of HMAC-SHA256 over the token, keyed by the app secret: proves that a call comes from the app's own
/// server.
fn appsecret_proof(secret: &Secret, token: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let proof = hmac::sign(&key, token.expose().as_bytes());
    proof.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members of a success; Graph errors in our words.
fn graph_answer(what: &str, answer: Answer) -> Result<Claims, ProviderError> {
    let Ok(members) = object(&answer.body, what) else {
        // Now and then the body is just `false`.
        return Err(match answer.status {
            status if status.is_success() => ProviderError::Unavailable(format!("{what} answers with no object")),
            status => unsuccessful(what, status, &answer.headers),
        });
    };
    let Some(error) = members.get("error").and_then(Value::as_object) else {
        return if answer.status.is_success() {
            Ok(members)
        } else {
            Err(unsuccessful(what, answer.status, &answer.headers))
        };
    };
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let subcode = error.get("error_subcode").and_then(Value::as_i64).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).map(escaped).unwrap_or_default();
    let text = format!("{what}: code {code}, subcode {subcode}: {message}");
    Err(match code {
        190 | 102 => ProviderError::GrantRefused(text),
        1 | 2 | 4 | 17 => ProviderError::Unavailable(text),
        _ if answer.status.is_server_error() => ProviderError::Unavailable(text),
        _ => ProviderError::Misconfigured(text),
    })
}

fn profile(me: &Claims, config: &Config) -> Profile {
    let email = text(me, "email");
    let picture = me.get("picture").and_then(|picture| picture.get("data")).and_then(Value::as_object);
    Profile {
        email_verified: config.trust_email && email.is_some(),
        email,
        name: display(me, "name"),
        given_name: display(me, "first_name"),
        family_name: display(me, "last_name"),
        picture: picture
            .filter(|data| !boolean(data, "is_silhouette"))
            .and_then(|data| profile::picture(&text(data, "url")?)),
        claims: profile::others(&[me], &["id", "email", "first_name", "last_name", "picture"]),
        ..Profile::default()
    }
}

#[async_trait]
impl Flavour for Facebook {
    fn profile_address(&self) -> Option<&Url> {
        Some(&self.me)
    }

    async fn person(&self, registration: &Registration, tokens: &Tokens) -> Result<Person, ProviderError> {
        let proof = appsecret_proof(registration.required_secret()?, &tokens.access_token);
        let mut url = self.me.clone();
        url.query_pairs_mut().append_pair("fields", FIELDS).append_pair("appsecret_proof", &proof);
        let token = tokens.access_token.expose();
        let me = graph_answer("me", registration.outgoing.get(&url, Some(token), "application/json").await?)?;
        let subject = id(&me, "id").ok_or_else(|| ProviderError::Untrusted("the profile has no id".into()))?;
        Ok(Person { subject, profile: profile(&me, &registration.config) })
    }

    async fn settle(
        &self,
        client: &Client<'_>,
        tokens: Tokens,
        person: &Person,
        now: Timestamp,
    ) -> Result<Tokens, ProviderError> {
        let tokens = match self.extend(client, &tokens.access_token, now).await {
            Ok(long) => long,
            Err(error) => {
                // The short token serves for now; the next renewal tries again.
                tracing::warn!(provider = %client.registration.name, %error, "no long-lived token");
                tokens
            }
        };
        if tokens.expires_at.is_some() {
            return Ok(tokens);
        }
        self.inspect(client.registration, tokens, &person.subject).await
    }

    async fn renew(&self, client: &Client<'_>, tokens: &Tokens, now: Timestamp) -> Result<Tokens, ProviderError> {
        let long_enough = tokens.expires_at.is_none_or(|expires| expires.since(now) > EXTEND_BELOW);
        if long_enough {
            return Ok(tokens.clone());
        }
        match self.extend(client, &tokens.access_token, now).await {
            Ok(mut extended) => {
                extended.expires_at = extended.expires_at.or(tokens.expires_at);
                Ok(extended)
            }
            Err(error @ ProviderError::GrantRefused(_)) => Err(error),
            // The old one still stands; reading the profile will tell.
            Err(error) => {
                tracing::warn!(provider = %client.registration.name, %error, "the token cannot be extended");
                Ok(tokens.clone())
            }
        }
    }

    fn renew_at(&self, registration: &Registration, tokens: &Tokens, now: Timestamp) -> Option<Timestamp> {
        let recheck = now.plus(registration.config.recheck_every);
        Some(tokens.expires_at.map_or(recheck, |expires| expires.min(recheck)))
    }

    /// The deauthorise callback: the person has removed the app from their account.
    fn hear(
        &self,
        registration: &Registration,
        message: Message<'_>,
        now: Timestamp,
    ) -> Result<(Subject, String, Timestamp), ProviderError> {
        let Message::SignedRequest(request) = message else { return Err(message.unheard()) };
        let heard = signed_request::validate(request, registration.required_secret()?, now)
            .map_err(|refusal| ProviderError::Untrusted(format!("signed request: {refusal}")))?;
        Ok((Subject::new(heard.user), heard.id, now.plus(signed_request::MAX_AGE * 2)))
    }

    /// Removes the app from the person's account; only when the operator asks for that.
    async fn revoke(&self, client: &Client<'_>, tokens: &Tokens) -> Result<(), ProviderError> {
        let registration = client.registration;
        let mut url = self.permissions.clone();
        let proof = appsecret_proof(registration.required_secret()?, &tokens.access_token);
        url.query_pairs_mut().append_pair("appsecret_proof", &proof);
        let bearer = super::outgoing::sensitive(&format!("Bearer {}", tokens.access_token.expose()), &url)?;
        let request = http::Request::delete(url.as_str())
            .header(http::header::AUTHORIZATION, bearer)
            .body(Vec::new())
            .map_err(|_| ProviderError::Misconfigured("the revocation address cannot be called".into()))?;
        super::oauth2::token::revoked(&registration.outgoing.send(&url, request).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_a_known_vector() {
        // HMAC-SHA256("Jefe", "what do ya want for nothing?"), RFC 4231, 4.3.
        let proof = appsecret_proof(&Secret::new("Jefe"), &Secret::new("what do ya want for nothing?"));
        assert_eq!(proof, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
