//! The origin remembered in the browser, so that the next sign-in goes straight back to the provider of last time.
//!
//! A small sealed cookie that outlives the session. It proves nothing: it only chooses which provider is asked.

use serde::{Deserialize, Serialize};

use crate::{
    identity::{Origin, Profile, ProviderName},
    secret::{KeyRing, Purpose},
};

/// What a browser remembers of its last sign-in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// By which provider the person came.
    #[serde(rename = "p")]
    pub provider: ProviderName,
    /// How that provider wants to be told whom to expect: an address, or its subject.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// True after an explicit sign-out: the person is shown the choice instead of being signed straight in again.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub signed_out: bool,
}

impl Remembered {
    /// What to remember of a sign-in.
    pub fn of(origin: &Origin, profile: &Profile) -> Self {
        Self { provider: origin.provider.clone(), login_hint: Some(hint(origin, profile)), signed_out: false }
    }

    /// Seals it for its cookie.
    pub fn seal(&self, keys: &KeyRing) -> String {
        keys.seal_text(Purpose::RememberedOrigin, b"", &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens what [`seal`](Self::seal) made; anything else is nothing remembered.
    pub fn open(keys: &KeyRing, sealed: &[u8]) -> Option<Self> {
        let bytes = keys.open_text(Purpose::RememberedOrigin, b"", std::str::from_utf8(sealed).ok()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// An address where there is one (every provider with a hint takes it), else the subject.
fn hint(origin: &Origin, profile: &Profile) -> String {
    profile.email.clone().unwrap_or_else(|| origin.key.subject.as_str().to_owned())
}
