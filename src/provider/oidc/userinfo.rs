//! The userinfo endpoint (OpenID Connect Core, 5.3).

use http::{StatusCode, header};
use url::Url;

use crate::{
    provider::{
        ProviderError,
        outgoing::Outgoing,
        profile::{Claims, id, object},
    },
    secret::Secret,
};

/// Asks for the claims of `subject`. An answer about anyone else is thrown away (5.3.2: token substitution).
pub(super) async fn fetch(
    outgoing: &Outgoing,
    url: &Url,
    access_token: &Secret,
    subject: &str,
) -> Result<Claims, ProviderError> {
    let answer = outgoing.get(url, Some(access_token.expose()), "application/json").await?;
    match answer.status {
        StatusCode::OK => {}
        // The token is dead: revoked, or its person disabled (RFC 6750, 3.1).
        StatusCode::UNAUTHORIZED => return Err(ProviderError::GrantRefused("userinfo answers 401".into())),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(ProviderError::Unavailable(format!("userinfo answers {status}")));
        }
        status => return Err(ProviderError::Misconfigured(format!("userinfo answers {status}"))),
    }
    let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if content_type.to_ascii_lowercase().starts_with("application/jwt") {
        return Err(ProviderError::Misconfigured(
            "userinfo answers with a signed token: turn that off for this client, or set userinfo = false".into(),
        ));
    }
    let claims = object(&answer.body, "the userinfo answer")?;
    if id(&claims, "sub").as_deref() != Some(subject) {
        return Err(ProviderError::Untrusted("the userinfo answer is about another subject".into()));
    }
    Ok(claims)
}
