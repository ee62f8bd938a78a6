//! What programs ask: who is signed in, and by which keys assertions are signed.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::json;

use super::{Asked, Site, json};
use crate::{body::Body, portal::ErrorPage};

impl Site {
    /// `userinfo`: who is signed in, as JSON; 401 without a session.
    pub(super) async fn userinfo(&self, asked: &Asked) -> Response<Body> {
        match asked.visitor().session(&self.sessions).await {
            Ok(Some(live)) => {
                let session = live.session();
                let profile = &session.profile;
                json(
                    StatusCode::OK,
                    &json!({
                        "user": session.account,
                        "email": profile.email,
                        "email_verified": profile.email_verified,
                        "name": profile.name,
                        "preferredUsername": profile.preferred_username,
                        "groups": profile.groups,
                        "origin": {
                            "provider": session.origin.provider,
                            "issuer": session.origin.key.issuer,
                            "subject": session.origin.key.subject,
                            "connection": session.origin.connection,
                            "at": session.origin.at.to_string(),
                        },
                        "expires_at": session.ends_at.to_string(),
                    }),
                )
            }
            Ok(None) => {
                let error = super::page::Error {
                    sign_in_url: Some(format!("{}/sign_in", self.prefix)),
                    ..super::page::Error::new(ErrorPage::SignInNeeded, &asked.reference)
                };
                self.pages.error_json(&error, self.language_of(asked))
            }
            Err(error) => self.store_down(asked, &error),
        }
    }

    /// `jwks`: the public keys assertions are signed with (RFC 7517).
    pub(super) fn jwks(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.asserter.keys().jwks().to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        // Verifiers keep keys for five minutes: the next signing key is published longer than that before it signs.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        response
    }
}
