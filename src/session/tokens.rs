//! The provider's tokens, sealed with a key that needs the session id: only the browser's cookie and the server's key
//! together open them.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SessionId;
use crate::{
    clock::Timestamp,
    provider::Tokens,
    secret::{KeyRing, Purpose, Secret},
};

/// Seals the tokens of the session of `id`.
pub(super) fn seal(keys: &KeyRing, id: &SessionId, tokens: &Tokens) -> Vec<u8> {
    let written = Zeroizing::new(serde_json::to_vec(&Written::from_tokens(tokens)).unwrap_or_default());
    keys.seal(Purpose::ProviderTokens, id.bytes(), id.key().bytes(), &written)
}

/// Opens what [`seal`] made for the same id.
pub(super) fn open(keys: &KeyRing, id: &SessionId, sealed: &[u8]) -> Option<Tokens> {
    let opened = keys.open(Purpose::ProviderTokens, id.bytes(), id.key().bytes(), sealed).ok()?;
    serde_json::from_slice::<Written>(&opened).ok().map(Written::into_tokens)
}

/// Tokens as they are sealed.
#[derive(Serialize, Deserialize)]
struct Written {
    access: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl Written {
    fn from_tokens(tokens: &Tokens) -> Self {
        let text = |secret: &Secret| secret.expose().to_owned();
        Self {
            access: text(&tokens.access_token),
            expires_at: tokens.expires_at,
            refresh: tokens.refresh_token.as_ref().map(text),
            id: tokens.id_token.as_ref().map(text),
        }
    }

    fn into_tokens(self) -> Tokens {
        Tokens {
            access_token: Secret::new(self.access),
            expires_at: self.expires_at,
            refresh_token: self.refresh.map(Secret::new),
            id_token: self.id.map(Secret::new),
        }
    }
}
