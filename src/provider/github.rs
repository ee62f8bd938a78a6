//! GitHub and GitHub Enterprise Server: OAuth Apps (tokens that do not end) and GitHub Apps (eight hours, single-use
//! refresh tokens) alike; the profile, addresses and groups come from the REST API.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;

use super::{
    OpenError, ProviderError, Tokens,
    oauth2::{Client, Endpoints, Flavour, OAuth2, Person, successful, token::revoked, unsuccessful},
    outgoing::{Answer, CallError, place, sensitive},
    profile::{self, Claims, display, id, object, text},
    registration::Registration,
};
use crate::{config::provider::Provider as Config, identity::Profile, secret::Secret};

const ISSUER: &str = "https://github.com";
const API: &str = "https://api.github.com";
const MEDIA_TYPE: &str = "application/vnd.github+json";
const API_VERSION: &str = "2022-11-28";
/// Pages of 100 read of organisations and of teams each; more are left out with a warning.
const MAX_PAGES: usize = 10;

#[derive(Debug)]
pub(super) struct GitHub {
    api: String,
    user: Url,
}

impl GitHub {
    pub(super) fn open(registration: Registration) -> Result<Arc<OAuth2<Self>>, OpenError> {
        let config = &registration.config;
        let base = host(config);
        let below = |path: &str| {
            Url::parse(&format!("{base}{path}"))
                .map_err(|_| OpenError::NeedsKey { kind: "github", key: "issuer as the address of the server" })
        };
        let endpoints = Endpoints {
            issuer: base.clone(),
            // Its own metadata names the issuer below the host.
            answers_as: vec![base.clone(), format!("{base}/login/oauth")],
            authorize: config.authorize_url.clone().map_or_else(|| below("/login/oauth/authorize"), Ok)?,
            token: config.token_url.clone().map_or_else(|| below("/login/oauth/access_token"), Ok)?,
            revocation: None,
        };
        let api = match &config.api_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None if base == ISSUER => API.to_owned(),
            None => format!("{base}/api/v3"),
        };
        let user = match &config.userinfo_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("{api}/user"))
                .map_err(|_| OpenError::NeedsKey { kind: "github", key: "api_url as a base address" })?,
        };
        Ok(OAuth2::new(registration, endpoints, Self { api, user }))
    }

    async fn get(&self, registration: &Registration, url: &Url, token: &Secret) -> Result<Answer, ProviderError> {
        let bearer = sensitive(&format!("Bearer {}", token.expose()), url)?;
        let request = http::Request::get(url.as_str())
            .header(http::header::AUTHORIZATION, bearer)
            .header(http::header::ACCEPT, MEDIA_TYPE)
            .header("X-GitHub-Api-Version", API_VERSION)
            .body(Vec::new())
            .map_err(|_| CallError::Unbuildable { place: place(url) })?;
        Ok(registration.outgoing.send(url, request).await?)
    }

    fn below(&self, path: &str) -> Result<Url, ProviderError> {
        Url::parse(&format!("{}{path}", self.api))
            .map_err(|_| ProviderError::Misconfigured("api_url is not a base address".into()))
    }

    /// The primary address if it is verified; never any other.
    async fn email(&self, registration: &Registration, token: &Secret) -> Result<Option<String>, ProviderError> {
        let answer = self.get(registration, &self.below("/user/emails?per_page=100")?, token).await?;
        // Without the scope or permission for addresses there is none.
        if matches!(unsuccessful("user/emails", answer.status, &answer.headers), ProviderError::Misconfigured(_))
            && answer.status.is_client_error()
        {
            return Ok(None);
        }
        let body = successful("user/emails", answer)?;
        let list: Vec<Claims> = serde_json::from_slice(&body)
            .map_err(|_| ProviderError::Untrusted("user/emails is not a list of objects".into()))?;
        let is = |entry: &Claims, name: &str| entry.get(name) == Some(&Value::Bool(true));
        Ok(list.iter().find(|entry| is(entry, "primary") && is(entry, "verified")).and_then(|one| text(one, "email")))
    }

    /// Every page of a list, up to the bound. The next page is counted, never taken from the answer.
    async fn pages(
        &self,
        registration: &Registration,
        path: &str,
        token: &Secret,
    ) -> Result<Vec<Claims>, ProviderError> {
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let url = self.below(&format!("{path}?per_page=100&page={page}"))?;
            let answer = self.get(registration, &url, token).await?;
            let more = answer
                .headers
                .get_all(http::header::LINK)
                .iter()
                .filter_map(|link| link.to_str().ok())
                .any(|link| link.contains("rel=\"next\""));
            let list: Vec<Claims> = serde_json::from_slice(&successful(path, answer)?)
                .map_err(|_| ProviderError::Untrusted(format!("{path} is not a list of objects")))?;
            all.extend(list);
            if !more {
                return Ok(all);
            }
        }
        tracing::warn!(provider = %registration.name, path, "more pages of groups than are read");
        Ok(all)
    }

    /// `org` and `org:team`, as oauth2-proxy and Dex spell them.
    async fn groups(&self, registration: &Registration, token: &Secret) -> Result<Vec<String>, ProviderError> {
        let organisations = self.pages(registration, "/user/orgs", token).await?;
        let teams = self.pages(registration, "/user/teams", token).await?;
        let team = |team: &Claims| {
            let organisation = team.get("organization").and_then(Value::as_object)?;
            Some(format!("{}:{}", text(organisation, "login")?, text(team, "slug")?))
        };
        let mut groups: Vec<String> =
            organisations.iter().filter_map(|one| text(one, "login")).chain(teams.iter().filter_map(team)).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

/// The server: the configured issuer or that of the authorization endpoint, else github.com.
fn host(config: &Config) -> String {
    match (&config.issuer, &config.authorize_url) {
        (Some(issuer), _) => issuer.trim_end_matches('/').to_owned(),
        (None, Some(url)) => url.origin().ascii_serialization(),
        (None, None) => ISSUER.to_owned(),
    }
}

fn profile(user: &Claims) -> Profile {
    const FIELDS: [&str; 5] = ["id", "login", "name", "email", "avatar_url"];
    // Two dozen addresses of the API say nothing about the person.
    let own: Claims = user
        .iter()
        .filter(|(name, _)| *name == "html_url" || !name.ends_with("url"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Profile {
        name: display(user, "name").or_else(|| display(user, "login")),
        preferred_username: display(user, "login"),
        picture: text(user, "avatar_url").and_then(|raw| profile::picture(&raw)),
        claims: profile::others(&[&own], &FIELDS),
        ..Profile::default()
    }
}

#[async_trait]
impl Flavour for GitHub {
    fn profile_address(&self) -> Option<&Url> {
        Some(&self.user)
    }

    fn more_scopes(&self, registration: &Registration) -> &'static [&'static str] {
        if registration.config.read_groups { &["read:org"] } else { &[] }
    }

    async fn person(&self, registration: &Registration, tokens: &Tokens) -> Result<Person, ProviderError> {
        let token = &tokens.access_token;
        let user = object(&successful("user", self.get(registration, &self.user, token).await?)?, "the profile")?;
        // The number: a login can be renamed, and then taken by somebody else.
        let subject = id(&user, "id").ok_or_else(|| ProviderError::Untrusted("the profile has no id".into()))?;
        let mut profile = profile(&user);
        profile.email = self.email(registration, token).await?;
        profile.email_verified = profile.email.is_some();
        if registration.config.read_groups {
            profile.groups = self.groups(registration, token).await?;
        }
        Ok(Person { subject, profile })
    }

    /// Ends this one token, not the whole authorisation.
    async fn revoke(&self, client: &Client<'_>, tokens: &Tokens) -> Result<(), ProviderError> {
        let registration = client.registration;
        let url = match &registration.config.revocation_url {
            Some(url) => url.clone(),
            None => self.below(&format!("/applications/{}/token", registration.config.client_id))?,
        };
        let body = json!({"access_token": tokens.access_token.expose()}).to_string();
        let request = http::Request::delete(url.as_str())
            .header(http::header::AUTHORIZATION, registration.basic(&url)?)
            .header(http::header::ACCEPT, MEDIA_TYPE)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("X-GitHub-Api-Version", API_VERSION)
            .body(body.into_bytes())
            .map_err(|_| CallError::Unbuildable { place: place(&url) })?;
        revoked(&registration.outgoing.send(&url, request).await?)
    }
}
