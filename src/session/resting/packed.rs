//! How facts are packed. Only this process reads it, so it may change with every release.
//!
//! Postcard writes no names and makes numbers as short as they are. What it cannot know is left out besides: what the
//! sessions of one provider have in common ([`Voucher`]), and a name that only repeats its parts.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Origin, Profile, Subject},
    session::{Session, voucher::Voucher},
};

/// A time, in milliseconds since the session began: four bytes rather than six.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Since(i64);

/// All that is packed of a session.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Packed<'a> {
    pub(super) version: u64,
    account: [u8; 16],
    created_at: i64,
    ends_at: Since,
    renew_at: Option<Since>,
    #[serde(borrow)]
    origin: PackedOrigin<'a>,
    #[serde(borrow)]
    profile: PackedProfile<'a>,
    /// The provider's tokens, sealed; empty when they are not kept here.
    pub(super) tokens: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedOrigin<'a> {
    subject: &'a str,
    at: Since,
    acr: Option<&'a str>,
    #[serde(borrow)]
    amr: Vec<&'a str>,
    connection: Option<&'a str>,
    sid: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedProfile<'a> {
    email: Option<&'a str>,
    email_verified: bool,
    #[serde(borrow)]
    name: Option<Name<'a>>,
    given_name: Option<&'a str>,
    family_name: Option<&'a str>,
    preferred_username: Option<&'a str>,
    #[serde(borrow)]
    picture: Option<Picture<'a>>,
    locale: Option<&'a str>,
    #[serde(borrow)]
    groups: Vec<&'a str>,
    /// JSON, for postcard cannot read values of any shape; empty when there are none.
    claims: &'a str,
}

/// A display name.
#[derive(Debug, Serialize, Deserialize)]
enum Name<'a> {
    Spelled(&'a str),
    /// Given name, a space, family name: most people's.
    OfParts,
}

/// The address of a picture.
#[derive(Debug, Serialize, Deserialize)]
enum Picture<'a> {
    Whole(&'a str),
    /// What comes after that which the pictures of its provider have in common.
    After(&'a str),
}

/// The facts in few bytes. Nothing in them can fail to be written.
pub(super) fn pack(session: &Session, tokens: &[u8], version: u64, voucher: &Voucher) -> Option<Vec<u8>> {
    let Session { account, origin, profile, created_at, ends_at, renew_at } = session;
    let claims = match profile.claims.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&profile.claims).ok()?,
    };
    let packed = Packed {
        version,
        account: account.as_uuid().into_bytes(),
        created_at: created_at.as_millis(),
        ends_at: Since::new(*ends_at, *created_at),
        renew_at: renew_at.map(|at| Since::new(at, *created_at)),
        origin: PackedOrigin {
            subject: origin.key.subject.as_str(),
            at: Since::new(origin.at, *created_at),
            acr: origin.acr.as_deref(),
            amr: borrowed(&origin.amr),
            connection: origin.connection.as_deref(),
            sid: origin.sid.as_deref(),
        },
        profile: PackedProfile {
            email: profile.email.as_deref(),
            email_verified: profile.email_verified,
            name: profile.name.as_deref().map(|name| Name::new(name, profile)),
            given_name: profile.given_name.as_deref(),
            family_name: profile.family_name.as_deref(),
            preferred_username: profile.preferred_username.as_deref(),
            picture: profile.picture.as_deref().map(|picture| Picture::new(picture, voucher)),
            locale: profile.locale.as_deref(),
            groups: borrowed(&profile.groups),
            claims: &claims,
        },
        tokens,
    };
    postcard::to_allocvec(&packed).ok()
}

impl Since {
    /// Wraps where it would not fit, and back again.
    fn new(at: Timestamp, began: Timestamp) -> Self {
        Self(at.as_millis().wrapping_sub(began.as_millis()))
    }

    fn after(self, began: Timestamp) -> Timestamp {
        Timestamp::from_millis(began.as_millis().wrapping_add(self.0))
    }
}

impl Packed<'_> {
    pub(super) fn into_session(self, voucher: &Voucher) -> Option<Session> {
        let Self { account, created_at, ends_at, renew_at, origin, profile, .. } = self;
        let created_at = Timestamp::from_millis(created_at);
        Some(Session {
            account: AccountId::from_uuid(Uuid::from_bytes(account)),
            origin: origin.into_origin(voucher, created_at),
            profile: profile.into_profile(voucher)?,
            created_at,
            ends_at: ends_at.after(created_at),
            renew_at: renew_at.map(|since| since.after(created_at)),
        })
    }
}

impl PackedOrigin<'_> {
    fn into_origin(self, voucher: &Voucher, created_at: Timestamp) -> Origin {
        Origin {
            provider: voucher.provider.clone(),
            key: IdentityKey { issuer: voucher.issuer.clone(), subject: Subject::new(self.subject) },
            at: self.at.after(created_at),
            acr: self.acr.map(Into::into),
            amr: owned(&self.amr),
            connection: self.connection.map(Into::into),
            sid: self.sid.map(Into::into),
        }
    }
}

impl PackedProfile<'_> {
    fn into_profile(self, voucher: &Voucher) -> Option<Profile> {
        Some(Profile {
            email: self.email.map(Into::into),
            email_verified: self.email_verified,
            name: self.name.map(|name| name.spelled(self.given_name, self.family_name)),
            given_name: self.given_name.map(Into::into),
            family_name: self.family_name.map(Into::into),
            preferred_username: self.preferred_username.map(Into::into),
            picture: self.picture.map(|picture| picture.whole(voucher)),
            locale: self.locale.map(Into::into),
            groups: owned(&self.groups),
            claims: match self.claims {
                "" => Default::default(),
                json => serde_json::from_str(json).ok()?,
            },
        })
    }
}

impl<'a> Name<'a> {
    fn new(name: &'a str, profile: &Profile) -> Self {
        match (&profile.given_name, &profile.family_name) {
            (Some(given), Some(family)) if joined(given, family) == name => Self::OfParts,
            _ => Self::Spelled(name),
        }
    }

    fn spelled(self, given: Option<&str>, family: Option<&str>) -> String {
        match self {
            Self::Spelled(name) => name.to_owned(),
            Self::OfParts => joined(given.unwrap_or_default(), family.unwrap_or_default()),
        }
    }
}

fn joined(given: &str, family: &str) -> String {
    [given, " ", family].concat()
}

impl<'a> Picture<'a> {
    fn new(picture: &'a str, voucher: &Voucher) -> Self {
        voucher.strip_from(picture).map_or(Self::Whole(picture), Self::After)
    }

    fn whole(self, voucher: &Voucher) -> String {
        match self {
            Self::Whole(picture) => picture.to_owned(),
            Self::After(rest) => [voucher.pictures_begin(), rest].concat(),
        }
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
