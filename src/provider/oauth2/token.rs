//! The token endpoint: codes and refresh tokens against tokens (RFC 6749, 4.1.3 and 6), and revocation (RFC 7009).

use std::{fmt, pin::Pin, time::Duration};

use ::oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ExtraTokenFields,
    HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken,
    StandardTokenResponse, TokenResponse as _, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::dialect::normalise;
use crate::{
    clock::Timestamp,
    config::provider::ClientAuth,
    provider::{
        AuthorizationResponse, ProviderError, Tokens,
        outgoing::{Answer, escaped},
        registration::Registration,
    },
    secret::Secret,
};

/// The member OpenID Connect adds to the token answer (Core, 3.1.3.3).
#[derive(Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl fmt::Debug for IdTokenField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ExtraTokenFields for IdTokenField {}

type TokenAnswer = StandardTokenResponse<IdTokenField, BasicTokenType>;
type TokenClient = Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// One provider's token endpoint.
pub(in crate::provider) struct TokenEndpoint<'a> {
    registration: &'a Registration,
    url: &'a Url,
    auth: ClientAuth,
}

impl<'a> TokenEndpoint<'a> {
    pub(in crate::provider) fn new(registration: &'a Registration, url: &'a Url, auth: ClientAuth) -> Self {
        Self { registration, url, auth }
    }

    /// Redeems a code. The redirect URI is repeated byte for byte (RFC 6749, 4.1.3); never retried.
    pub(in crate::provider) async fn redeem(
        &self,
        response: &AuthorizationResponse<'_>,
        now: Timestamp,
    ) -> Result<Tokens, ProviderError> {
        let client = self.client().set_redirect_uri(RedirectUrl::from_url(response.redirect_uri.clone()));
        let mut request = client.exchange_code(AuthorizationCode::new(response.code.expose().to_owned()));
        if self.registration.sends_pkce() {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(response.pkce_verifier.expose().to_owned()));
        }
        let http = self.way_out();
        let answer = request.request_async(&http).await.map_err(refused)?;
        Ok(tokens(&answer, None, now))
    }

    /// Refreshes. An answer without a refresh token means that the old one stays (RFC 6749, 6).
    pub(in crate::provider) async fn refresh(
        &self,
        refresh_token: &Secret,
        now: Timestamp,
    ) -> Result<Tokens, ProviderError> {
        let client = self.client();
        let old = RefreshToken::new(refresh_token.expose().to_owned());
        let http = self.way_out();
        let answer = client.exchange_refresh_token(&old).request_async(&http).await.map_err(refused)?;
        Ok(tokens(&answer, Some(refresh_token), now))
    }

    /// Posts a grant of the vendor's own; `form` holds everything, the client's credentials too.
    pub(in crate::provider) async fn exchange(
        &self,
        form: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Tokens, ProviderError> {
        let answer = self.registration.outgoing.post_form(self.url, form, None).await?;
        let response = normalise(self.registration.config.kind, &answer)?;
        let unreadable = |_| ProviderError::Untrusted("the token answer cannot be read".into());
        if response.status().is_success() {
            return Ok(tokens(&serde_json::from_slice(response.body()).map_err(unreadable)?, None, now));
        }
        let refusal: BasicErrorResponse = serde_json::from_slice(response.body()).map_err(unreadable)?;
        Err(refused(RequestTokenError::ServerResponse(refusal)))
    }

    fn client(&self) -> TokenClient {
        let config = &self.registration.config;
        let client = Client::new(ClientId::new(config.client_id.clone()))
            .set_token_uri(TokenUrl::from_url(self.url.clone()))
            .set_auth_type(match self.auth {
                ClientAuth::Basic => AuthType::BasicAuth,
                ClientAuth::Post | ClientAuth::None => AuthType::RequestBody,
            });
        match (&self.registration.secret, self.auth) {
            (Some(secret), ClientAuth::Basic | ClientAuth::Post) => {
                client.set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            }
            _ => client,
        }
    }

    /// The way out as the `oauth2` crate wants it. It owns what it needs: a closure that borrows is not `Send` enough.
    fn way_out(&self) -> impl Fn(HttpRequest) -> Call + use<> {
        let (outgoing, url, kind) =
            (self.registration.outgoing.clone(), self.url.clone(), self.registration.config.kind);
        move |request| {
            let (outgoing, url) = (outgoing.clone(), url.clone());
            Box::pin(async move { normalise(kind, &outgoing.send(&url, request).await?) })
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Result<HttpResponse, ProviderError>> + Send>>;

fn tokens(answer: &TokenAnswer, refresh_token: Option<&Secret>, now: Timestamp) -> Tokens {
    Tokens {
        access_token: Secret::new(answer.access_token().secret().clone()),
        expires_at: answer.expires_in().map(|lifetime: Duration| now.plus(lifetime)),
        refresh_token: answer
            .refresh_token()
            .map(|token| Secret::new(token.secret().clone()))
            .or_else(|| refresh_token.cloned()),
        id_token: answer.extra_fields().id_token.clone().map(Secret::new),
    }
}

/// What the endpoint's no means. `Parse` holds the body, which may hold a token: only its path is told.
fn refused(error: RequestTokenError<ProviderError, BasicErrorResponse>) -> ProviderError {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(refusal) => {
            verdict(refusal.error().as_ref(), refusal.error_description().map_or("", String::as_str))
        }
        RequestTokenError::Parse(error, _) => ProviderError::Untrusted(format!(
            "the token answer cannot be read at {}",
            escaped(&error.path().to_string())
        )),
        RequestTokenError::Other(what) => ProviderError::Untrusted(format!("the token answer: {}", escaped(&what))),
    }
}

/// What a standard error word (RFC 6749, 5.2; OpenID Connect Core, 3.1.2.6) means for us.
fn verdict(word: &str, said: &str) -> ProviderError {
    let text = match said {
        "" => escaped(word),
        said => format!("{} ({})", escaped(word), escaped(said)),
    };
    match word {
        "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
            ProviderError::GrantRefused(text)
        }
        "access_denied" => ProviderError::NotAllowed(text),
        "server_error" | "temporarily_unavailable" | "slow_down" => ProviderError::Unavailable(text),
        // invalid_client, unauthorized_client, invalid_scope …: our own registration is wrong. Sessions stay.
        _ => ProviderError::Misconfigured(text),
    }
}

/// Revokes at an RFC 7009 endpoint. 200 also for unknown tokens; 400 is a token that is dead or of a kind that cannot
/// be revoked, which is as good.
pub(in crate::provider) async fn revoke(
    registration: &Registration,
    url: &Url,
    auth: ClientAuth,
    token: &Secret,
    hint: &str,
) -> Result<(), ProviderError> {
    let client_id = registration.config.client_id.as_str();
    let mut form = vec![("token", token.expose()), ("token_type_hint", hint)];
    let mut authorization = None;
    match (auth, &registration.secret) {
        (ClientAuth::Basic, Some(_)) => authorization = Some(registration.basic(url)?),
        (ClientAuth::Post, Some(secret)) => {
            form.extend([("client_id", client_id), ("client_secret", secret.expose())]);
        }
        _ => form.push(("client_id", client_id)),
    }
    revoked(&registration.outgoing.post_form(url, &form, authorization).await?)
}

/// What a revocation endpoint's answer means.
pub(in crate::provider) fn revoked(answer: &Answer) -> Result<(), ProviderError> {
    let status = answer.status;
    match status.as_u16() {
        200..=299 | 400 | 404 => Ok(()),
        429 | 500.. => Err(ProviderError::Unavailable(format!("the revocation endpoint answers {status}"))),
        _ => Err(ProviderError::Misconfigured(format!("the revocation endpoint answers {status}"))),
    }
}
