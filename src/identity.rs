//! Who a person is: the words everyone uses.
//!
//! An [`Issuer`] vouches for a [`Subject`]; together they are an [`IdentityKey`], the only thing accounts are keyed by
//! (threat model, 10). A [`VerifiedIdentity`] is what a provider's answer becomes once every check has passed: it can
//! be made nowhere else. The [`Origin`] is how a session's person came. E-mail addresses are attributes, never keys.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

macro_rules! text_id {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes the exact text.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(text.into())
            }
            /// The exact text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The name an operator gave a configured provider, such as `google` or `staff`: `[provider.NAME]`.
    ProviderName
}
text_id! {
    /// Who vouches: an issuer identifier in its exact spelling, compared byte for byte (OpenID Connect Core, 2).
    Issuer
}
text_id! {
    /// The issuer's identifier of one person; always text, never an e-mail address.
    Subject
}

/// The longest subject we take, in bytes (OpenID Connect Core, 2: at most 255 ASCII characters).
pub const MAX_SUBJECT_LEN: usize = 255;

/// Our record of a person: a UUID version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(uuid::Uuid);

impl AccountId {
    /// A new id, ordered by the time it was made.
    pub fn fresh(now: Timestamp) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &crate::secret::random::<10>()).into_uuid())
    }

    /// Takes the UUID as a database gives it back.
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID, for databases that have a type for it.
    pub fn as_uuid(&self) -> uuid::Uuid {
        self.0
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an identity is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityKey {
    /// Who vouches.
    pub issuer: Issuer,
    /// For whom.
    pub subject: Subject,
}

/// What a provider told of a person, in one form for all providers. Attributes only: nothing here is a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Address, without control characters, in its original spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// True only when the provider proved control of the address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub email_verified: bool,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Given name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// Family name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// A name for display such as a login; people can change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// Address of a picture (http or https); untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// BCP 47 language tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Groups, sorted, without duplicates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Every other claim, as the provider sent it, for rules and headers on request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// How a session's person came: by which provider, as whom, by what method, through which connection, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The configured provider.
    pub provider: ProviderName,
    /// Issuer and subject at that provider.
    #[serde(flatten)]
    pub key: IdentityKey,
    /// When the provider authenticated the person (`auth_time`, else the time of the login).
    pub at: Timestamp,
    /// Authentication context class, when told (OpenID Connect Core, 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Authentication methods, when told (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The upstream identity provider where a broker such as Cognito stands between, when told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The provider's session id, for its logout messages (OpenID Connect Back-Channel Logout, 2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// Claims that passed every check: proof that a provider vouched for this person in answer to our request.
///
/// Only the provider modules make one, through [`VerifiedIdentity::vouched`]; a test over the source tree holds that.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedIdentity {
    origin: Origin,
    profile: Profile,
}

/// Why a subject cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subject is empty, longer than {MAX_SUBJECT_LEN} bytes or holds control characters")]
pub struct BadSubject;

impl VerifiedIdentity {
    /// Made by a provider module after its last check. Sorts groups, drops addresses with control characters.
    ///
    /// # Errors
    /// [`BadSubject`] when the subject is empty, too long or holds control characters.
    pub(crate) fn vouched(origin: Origin, mut profile: Profile) -> Result<Self, BadSubject> {
        let subject = origin.key.subject.as_str();
        if subject.is_empty() || subject.len() > MAX_SUBJECT_LEN || subject.chars().any(char::is_control) {
            return Err(BadSubject);
        }
        profile.email = profile.email.and_then(|email| clean_email(&email));
        profile.email_verified &= profile.email.is_some();
        profile.groups.sort_unstable();
        profile.groups.dedup();
        Ok(Self { origin, profile })
    }

    /// How the person came.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the provider told of them.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// The address trimmed, or nothing when it is not one: exactly one `@`, no controls, no spaces (threats 10).
fn clean_email(raw: &str) -> Option<String> {
    let email = raw.trim();
    let (local, domain) = email.split_once('@')?;
    let fine = !local.is_empty()
        && !domain.is_empty()
        && !domain.contains('@')
        && !email.chars().any(|c| c.is_control() || c.is_whitespace());
    fine.then(|| email.to_owned())
}

/// The domain of an address in comparable form: lower case, after IDNA. Nothing when the address has not exactly one
/// `@` or the domain is not one (threats 10: `a@evil@good` must not pass as `good`).
pub fn email_domain(email: &str) -> Option<String> {
    let (local, domain) = email.split_once('@')?;
    if local.is_empty() || domain.contains('@') {
        return None;
    }
    match url::Host::parse(domain) {
        Ok(url::Host::Domain(domain)) => Some(domain.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_two_ats_has_no_domain() {
        assert_eq!(email_domain("a@EXAMPLE.com").as_deref(), Some("example.com"));
        assert_eq!(email_domain("a@bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(email_domain("a@evil.test@example.com"), None);
        assert_eq!(email_domain("@example.com"), None);
        assert_eq!(email_domain("nobody"), None);
    }

    #[test]
    fn an_address_with_controls_or_spaces_is_dropped() {
        for bad in ["a\r\n@b.c", "a b@c.d", "a@b@c", "", "@", "a@"] {
            assert_eq!(clean_email(bad), None, "{bad:?}");
        }
        assert_eq!(clean_email(" A@b.c ").as_deref(), Some("A@b.c"));
    }

    #[test]
    fn account_ids_sort_by_time() {
        let early = AccountId::fresh(Timestamp::from_millis(1_000));
        let late = AccountId::fresh(Timestamp::from_millis(2_000));
        assert!(early < late);
        assert_eq!(AccountId::parse(&early.to_string()), Some(early));
    }
}
