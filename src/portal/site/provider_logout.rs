//! What providers send us unasked: logout tokens and Facebook's deauthorisations. Programs talk to programs here.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER},
};
use serde_json::json;

use super::{Asked, Site, json};
use crate::{body::Body, identity::ProviderName, login::provider_logout::Heard, portal::ErrorPage, provider::Message};

impl Site {
    /// `backchannel_logout/{provider}` (OpenID Connect Back-Channel Logout 1.0, 2.5 and 2.8).
    pub(super) async fn backchannel_logout(&self, asked: &Asked, named: &str) -> Response<Body> {
        match asked.only_field("logout_token") {
            Some(token) => self.hear(asked, named, Message::LogoutToken(&token)).await,
            None => refused("invalid_request", "one form field logout_token is expected"),
        }
    }

    /// `deauthorize/{provider}`: Facebook's deauthorise callback.
    pub(super) async fn deauthorize(&self, asked: &Asked, named: &str) -> Response<Body> {
        match asked.only_field("signed_request") {
            Some(request) => self.hear(asked, named, Message::SignedRequest(&request)).await,
            None => refused("invalid_request", "one form field signed_request is expected"),
        }
    }

    async fn hear(&self, asked: &Asked, named: &str, message: Message<'_>) -> Response<Body> {
        let provider = ProviderName::new(named);
        match self.login.hear(&provider, message, &asked.visitor()).await {
            Heard::Ended { sessions } => {
                tracing::debug!(%provider, sessions, request = asked.reference, "a provider ended sessions");
                let mut response = Response::new(Body::Empty);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Heard::UnknownProvider => self.error(asked, ErrorPage::NotFound),
            Heard::Refused(error) => {
                // Why is for our log: whoever sends forged ones learns nothing from us.
                tracing::info!(%provider, %error, request = asked.reference, "a provider's message was refused");
                refused("invalid_request", "the message failed a check")
            }
            Heard::Repeated => refused("invalid_request", "the message came before"),
            Heard::Unchecked(error) => {
                tracing::warn!(%provider, %error, request = asked.reference, "a provider's message cannot be checked");
                again_later()
            }
            Heard::StoreDown(error) => {
                tracing::error!(%error, request = asked.reference, "the session store did not answer");
                again_later()
            }
        }
    }
}

/// 400 with the members the standard names (2.8).
fn refused(error: &str, description: &str) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": description}))
}

/// The provider may try again: nothing has changed.
fn again_later() -> Response<Body> {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "temporarily_unavailable"}));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

#[cfg(test)]
mod tests;
