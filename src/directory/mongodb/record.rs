//! An account as one document.
//!
//! What a provider told (profile, origin) is kept as JSON text, whole, as in the other engines: names of claims may
//! hold dots and dollars (`https://example.com/roles`), which MongoDB would read as paths and operators, and its
//! numbers are not JSON's. What is searched by stands beside the text.

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError, Identity},
    identity::{AccountId, IdentityKey, Profile, VerifiedIdentity},
};

/// The document. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The account's id in its hyphenated form; sorts by the time it was made.
    #[serde(rename = "_id")]
    pub(super) id: String,
    created_at: i64,
    signed_in_at: i64,
    disabled: bool,
    profile: String,
    /// The profile's address in lower case (ASCII), or null.
    email: Option<String>,
    identities: Vec<Tie>,
    /// `created_at` while the account's making has not been announced; then gone, and with it the index entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unannounced: Option<i64>,
}

/// An identity inside the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tie {
    /// What the unique index is over: issuer and subject as one value.
    key: Key,
    origin: String,
    profile: String,
    linked_at: i64,
    used_at: i64,
}

/// MongoDB compares documents byte by byte, names and order included: exactly what identities are told apart by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    issuer: String,
    subject: String,
}

impl Record {
    /// A new account for this identity, not announced yet.
    pub(super) fn new(identity: &VerifiedIdentity, now: Timestamp) -> Result<Self, DirectoryError> {
        Ok(Self {
            id: AccountId::fresh(now).to_string(),
            created_at: now.as_millis(),
            signed_in_at: now.as_millis(),
            disabled: false,
            profile: written(identity.profile())?,
            email: folded(identity.profile()),
            identities: vec![Tie::new(identity, now)?],
            unannounced: Some(now.as_millis()),
        })
    }

    /// An account made elsewhere; it counts as announced.
    pub(super) fn of(account: &Account) -> Result<Self, DirectoryError> {
        Ok(Self {
            id: account.id.to_string(),
            created_at: account.created_at.as_millis(),
            signed_in_at: account.signed_in_at.as_millis(),
            disabled: account.disabled,
            profile: written(&account.profile)?,
            email: folded(&account.profile),
            identities: account.identities.iter().map(Tie::of).collect::<Result<_, _>>()?,
            unannounced: None,
        })
    }

    /// Whether its making is still to be announced.
    pub(super) fn is_unannounced(&self) -> bool {
        self.unannounced.is_some()
    }

    /// Whether it is shut.
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Whether the identity is its.
    pub(super) fn has(&self, key: &IdentityKey) -> bool {
        self.identities.iter().any(|tie| tie.key.is(key))
    }

    /// Whether another identity would stay if one went.
    pub(super) fn has_several(&self) -> bool {
        self.identities.len() > 1
    }

    /// The account it tells of, its identities oldest first.
    pub(super) fn account(self) -> Result<Account, DirectoryError> {
        let mut ties = self.identities;
        ties.sort_by(|a, b| {
            (a.linked_at, &a.key.issuer, &a.key.subject).cmp(&(b.linked_at, &b.key.issuer, &b.key.subject))
        });
        Ok(Account {
            id: AccountId::parse(&self.id).ok_or_else(|| unreadable("_id"))?,
            created_at: Timestamp::from_millis(self.created_at),
            signed_in_at: Timestamp::from_millis(self.signed_in_at),
            disabled: self.disabled,
            profile: read(&self.profile, "profile")?,
            identities: ties.into_iter().map(Tie::identity).collect::<Result<_, _>>()?,
        })
    }
}

impl Tie {
    fn new(identity: &VerifiedIdentity, now: Timestamp) -> Result<Self, DirectoryError> {
        Ok(Self {
            key: Key::of(&identity.origin().key),
            origin: written(identity.origin())?,
            profile: written(identity.profile())?,
            linked_at: now.as_millis(),
            used_at: now.as_millis(),
        })
    }

    fn of(identity: &Identity) -> Result<Self, DirectoryError> {
        Ok(Self {
            key: Key::of(&identity.origin.key),
            origin: written(&identity.origin)?,
            profile: written(&identity.profile)?,
            linked_at: identity.linked_at.as_millis(),
            used_at: identity.used_at.as_millis(),
        })
    }

    fn identity(self) -> Result<Identity, DirectoryError> {
        Ok(Identity {
            origin: read(&self.origin, "identities.origin")?,
            profile: read(&self.profile, "identities.profile")?,
            linked_at: Timestamp::from_millis(self.linked_at),
            used_at: Timestamp::from_millis(self.used_at),
        })
    }
}

impl Key {
    fn of(key: &IdentityKey) -> Self {
        Self { issuer: key.issuer.as_str().into(), subject: key.subject.as_str().into() }
    }

    fn is(&self, key: &IdentityKey) -> bool {
        self.issuer == key.issuer.as_str() && self.subject == key.subject.as_str()
    }
}

/// An identity's key as it stands in a document; the order of its names is that of [`Key`].
pub(super) fn key(key: &IdentityKey) -> Document {
    doc! { "issuer": key.issuer.as_str(), "subject": key.subject.as_str() }
}

/// What a sign-in changes in the account found by `identities.key`: `$` is the identity that was found.
pub(super) fn signed_in(identity: &VerifiedIdentity, now: Timestamp) -> Result<Document, DirectoryError> {
    let profile = written(identity.profile())?;
    Ok(doc! { "$set": {
        "signed_in_at": now.as_millis(),
        "profile": &profile,
        "email": folded(identity.profile()),
        "identities.$.origin": written(identity.origin())?,
        "identities.$.profile": profile,
        "identities.$.used_at": now.as_millis(),
    } })
}

/// What linking adds.
pub(super) fn linked(identity: &VerifiedIdentity, now: Timestamp) -> Result<Document, DirectoryError> {
    let Tie { origin, profile, linked_at, used_at, .. } = Tie::new(identity, now)?;
    Ok(doc! { "$push": { "identities": {
        "key": Bson::Document(key(&identity.origin().key)),
        "origin": origin,
        "profile": profile,
        "linked_at": linked_at,
        "used_at": used_at,
    } } })
}

/// An address as it is searched by.
pub(super) fn folded_address(address: &str) -> String {
    address.to_ascii_lowercase()
}

fn folded(profile: &Profile) -> Option<String> {
    profile.email.as_deref().map(folded_address)
}

fn written(value: &impl Serialize) -> Result<String, DirectoryError> {
    serde_json::to_string(value).map_err(|error| DirectoryError::Corrupt(error.to_string()))
}

fn read<T: DeserializeOwned>(text: &str, field: &str) -> Result<T, DirectoryError> {
    // serde's own message could quote a person's data: the field says enough.
    serde_json::from_str(text).map_err(|_| unreadable(field))
}

fn unreadable(field: &str) -> DirectoryError {
    DirectoryError::Corrupt(format!("the field {field} of a document in \"account\" does not hold what we write"))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{deserialize_from_document, serialize_to_document};

    use super::*;
    use crate::identity::{Issuer, Origin, ProviderName, Subject};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn someone() -> VerifiedIdentity {
        let origin = Origin {
            provider: ProviderName::new("google"),
            key: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("1") },
            at: NOW,
            acr: None,
            amr: vec![],
            connection: None,
            sid: None,
        };
        let profile = Profile {
            email: Some("Some.One@Example.test".into()),
            claims: [("https://example.test/$roles".to_owned(), serde_json::json!({"a.b": u64::MAX, "$set": [null]}))]
                .into(),
            ..Profile::default()
        };
        VerifiedIdentity::vouched(origin, profile).unwrap()
    }

    #[test]
    fn a_document_holds_all_of_an_account_whatever_its_claims_are_named() {
        let record = Record::new(&someone(), NOW).unwrap();
        let document = serialize_to_document(&record).unwrap();
        assert_eq!(document.get_str("email").unwrap(), "some.one@example.test");
        assert_eq!(document.get_i64("unannounced").unwrap(), NOW.as_millis());
        let back: Record = deserialize_from_document(document).unwrap();
        assert_eq!(back, record);
        let account = back.account().unwrap();
        assert_eq!(&account.profile, someone().profile());
        assert_eq!(Record::of(&account).unwrap(), Record { unannounced: None, ..record });
    }

    #[test]
    fn what_the_index_is_over_is_spelled_alike_wherever_it_is_made() {
        let record = serialize_to_document(&Record::new(&someone(), NOW).unwrap()).unwrap();
        let pushed = linked(&someone(), NOW).unwrap();
        let made = record.get_array("identities").unwrap()[0].as_document().unwrap();
        let pushed = pushed.get_document("$push").unwrap().get_document("identities").unwrap();
        assert_eq!(made, pushed);
        assert_eq!(made.get_document("key").unwrap(), &key(&someone().origin().key));
    }

    #[test]
    fn an_unreadable_field_is_named_and_not_quoted() {
        let record =
            Record { profile: "{\"email\": someone@example.test".into(), ..Record::new(&someone(), NOW).unwrap() };
        let error = record.account().unwrap_err().to_string();
        assert!(error.contains("profile") && !error.contains("someone"), "{error}");
    }
}
