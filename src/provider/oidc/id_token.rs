//! The ID token's checks, pure: a token, keys, what is expected and the time go in; claims or a [`Refusal`] come out.
//!
//! The order is header, signature, claims: nothing in the claims is looked at before the signature holds. Sections are
//! those of OpenID Connect Core 1.0 where none is named. A claim of the wrong type is an error, never an absence
//! (CVE-2026-25537 is what happens otherwise).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};

use super::jwks::KeySet;
use crate::{
    clock::Timestamp,
    identity::MAX_SUBJECT_LEN,
    secret::{Secret, constant_time_eq},
};

/// The longest token read, in bytes.
const MAX_TOKEN: usize = 64 * 1024;
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// How old a token may be when it answers a login or ends one.
pub(super) const MAX_AGE_AT_LOGIN: Duration = Duration::from_secs(600);

/// What the token must say.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Expectations<'a> {
    /// The issuer, exactly; `other_issuers` are further spellings of the same one (Google has one).
    pub(in crate::provider) issuer: &'a str,
    pub(in crate::provider) other_issuers: &'a [&'a str],
    pub(in crate::provider) client_id: &'a str,
    /// Further audiences it may name.
    pub(in crate::provider) trusted_audiences: &'a [String],
    /// Acceptable algorithms; HS* only when the operator named it.
    pub(in crate::provider) algorithms: &'a [Algorithm],
    /// The client secret, the only key HS* is ever checked with.
    pub(in crate::provider) client_secret: Option<&'a Secret>,
    /// The access token that came along, for `at_hash`.
    pub(in crate::provider) access_token: Option<&'a Secret>,
    pub(in crate::provider) occasion: Occasion<'a>,
}

/// What the token came for.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) enum Occasion<'a> {
    /// It answers a login (3.1.3.7) that sent this nonce.
    Login { nonce: &'a str },
    /// It came with refreshed tokens (12.2): for the same subject; a nonce, if any, is that of the login, if known.
    Refresh { subject: &'a str, nonce: Option<&'a str> },
    /// It is no ID token but a logout token (`logout_token`).
    Logout,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::provider) enum Refusal {
    #[error("it is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("it is not a signed JWT (RFC 7515, 3.1)")]
    Shape,
    #[error("it is encrypted, which was not agreed on (3.1.3.7, 1)")]
    Encrypted,
    #[error("its header cannot be read")]
    Header,
    #[error("its algorithm is not one of id_token_algorithms (3.1.3.7, 7)")]
    Algorithm,
    #[error("its header names critical extensions, and none is known (RFC 7515, 4.1.11)")]
    Critical,
    #[error("no key of the key set fits it")]
    UnknownKey,
    #[error("its signature does not hold (3.1.3.7, 6)")]
    Signature,
    #[error("its claims cannot be read")]
    Claims,
    #[error("its claim {0} is missing")]
    Missing(&'static str),
    #[error("its claim {0} has the wrong type")]
    WrongType(&'static str),
    #[error("it is from another issuer (3.1.3.7, 2)")]
    Issuer,
    #[error("it is not for this client (3.1.3.7, 3)")]
    Audience,
    #[error("it is also for audiences that trusted_audiences does not name (3.1.3.7, 3)")]
    UntrustedAudience,
    #[error("its authorized party is another client (3.1.3.7, 5)")]
    AuthorizedParty,
    #[error("it has expired (3.1.3.7, 9)")]
    Expired,
    #[error("it is not valid yet (RFC 7519, 4.1.5)")]
    NotYet,
    #[error("it was issued in the future: compare this machine's clock")]
    IssuedInFuture,
    #[error("it was issued too long ago (3.1.3.7, 10)")]
    TooOld,
    #[error("its nonce is not the one sent (3.1.3.7, 11)")]
    Nonce,
    #[error("its at_hash is not that of the access token (3.1.3.8)")]
    AccessTokenHash,
    #[error("its subject is empty, too long or not ASCII (2)")]
    Subject,
    #[error("it is for another person than the session (12.2)")]
    OtherSubject,
    #[error("its type is that of another kind of token (RFC 8725, 3.11)")]
    Type,
    #[error("it tells of another event than a logout (Back-Channel Logout 1.0, 2.4)")]
    Event,
}

/// Claims of a token that passed every check.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::provider) struct IdClaims {
    pub(in crate::provider) subject: String,
    pub(in crate::provider) auth_time: Option<Timestamp>,
    pub(in crate::provider) acr: Option<String>,
    pub(in crate::provider) amr: Vec<String>,
    pub(in crate::provider) sid: Option<String>,
    /// All of them.
    pub(in crate::provider) all: Map<String, Value>,
}

/// Checks `token` point by point.
pub(in crate::provider) fn validate(
    token: &str,
    keys: &KeySet,
    expected: &Expectations<'_>,
    now: Timestamp,
) -> Result<IdClaims, Refusal> {
    let Signed { claims, algorithm, .. } = Signed::verify(token, keys, expected)?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    check_times(&claims, &expected.occasion, now)?;
    check_nonce(&claims, &expected.occasion)?;
    check_access_token(&claims, algorithm, expected.access_token)?;
    let subject = check_subject(&claims, &expected.occasion)?;
    Ok(IdClaims {
        subject,
        auth_time: claims.time("auth_time")?,
        acr: claims.text("acr")?.map(str::to_owned),
        amr: claims.words("amr")?.into_iter().map(str::to_owned).collect(),
        sid: claims.text("sid")?.map(str::to_owned),
        all: claims.0,
    })
}

/// A token whose signature holds; its claims are yet to be checked.
pub(super) struct Signed {
    pub(super) claims: ClaimSet,
    pub(super) algorithm: Algorithm,
    /// Its explicit type, as it stands in the header.
    pub(super) kind: Option<String>,
}

impl Signed {
    /// Reads the header and checks the signature, in that order and before anything else.
    pub(super) fn verify(token: &str, keys: &KeySet, expected: &Expectations<'_>) -> Result<Self, Refusal> {
        let parts = split(token)?;
        let header = Header::read(parts.header)?;
        if !expected.algorithms.contains(&header.algorithm) {
            return Err(Refusal::Algorithm);
        }
        verify_signature(&parts, &header, keys, expected)?;
        let claims = ClaimSet(object(parts.claims).ok_or(Refusal::Claims)?);
        Ok(Self { claims, algorithm: header.algorithm, kind: header.typ })
    }
}

/// Claims of a token that was checked when it came and has been kept sealed since. Never for a token from outside.
pub(in crate::provider) fn claims_of_kept(token: &Secret) -> Option<Map<String, Value>> {
    object(split(token.expose()).ok()?.claims)
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// Header and claims as they were signed.
    signed: &'a str,
}

fn split(token: &str) -> Result<Parts<'_>, Refusal> {
    if token.len() > MAX_TOKEN {
        return Err(Refusal::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Shape)?;
    let (header, claims) = signed.split_once('.').ok_or(Refusal::Shape)?;
    match claims.matches('.').count() {
        0 => Ok(Parts { header, claims, signature, signed }),
        2 => Err(Refusal::Encrypted), // five parts: RFC 7516, 3.1
        _ => Err(Refusal::Shape),
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// What the header says; `jku`, `jwk`, `x5u` and `x5c` are not even read: a token does not choose its key.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

impl Header {
    fn read(part: &str) -> Result<Self, Refusal> {
        let members = object(part).ok_or(Refusal::Header)?;
        if members.contains_key("enc") {
            return Err(Refusal::Encrypted);
        }
        if members.contains_key("crit") {
            return Err(Refusal::Critical);
        }
        let word = members.get("alg").and_then(Value::as_str).ok_or(Refusal::Header)?;
        let algorithm = word.parse().map_err(|_| Refusal::Algorithm)?;
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::Header),
        };
        Ok(Self { algorithm, kid: text("kid")?, typ: text("typ")? })
    }
}

fn verify_signature(
    parts: &Parts<'_>,
    header: &Header,
    keys: &KeySet,
    expected: &Expectations<'_>,
) -> Result<(), Refusal> {
    let holds = |key: &DecodingKey| {
        jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), key, header.algorithm) == Ok(true)
    };
    if header.algorithm.family() == AlgorithmFamily::Hmac {
        // Never a key of the key set: a public RSA key used as an HMAC secret is the classic forgery.
        let secret = expected.client_secret.ok_or(Refusal::UnknownKey)?;
        let key = DecodingKey::from_secret(secret.expose().as_bytes());
        return if holds(&key) { Ok(()) } else { Err(Refusal::Signature) };
    }
    let mut fitting = keys.fitting(header.kid.as_deref(), header.algorithm).peekable();
    if fitting.peek().is_none() {
        return Err(Refusal::UnknownKey);
    }
    if fitting.any(holds) { Ok(()) } else { Err(Refusal::Signature) }
}

/// Claims with typed access: absent is `None`, a wrong type is an error. `null` is a wrong type.
pub(super) struct ClaimSet(Map<String, Value>);

impl ClaimSet {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::WrongType(name)),
        }
    }

    /// A text or a list of texts.
    fn words(&self, name: &'static str) -> Result<Vec<&str>, Refusal> {
        match self.0.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(list)) => list.iter().map(|one| one.as_str().ok_or(Refusal::WrongType(name))).collect(),
            Some(_) => Err(Refusal::WrongType(name)),
        }
    }

    /// A NumericDate (RFC 7519, 2), which may have a fraction.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let seconds = number.as_f64().filter(|n| n.is_finite()).ok_or(Refusal::WrongType(name))?;
                #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
                Ok(Some(Timestamp::from_millis((seconds * 1000.0) as i64)))
            }
            Some(_) => Err(Refusal::WrongType(name)),
        }
    }
}

pub(super) fn check_issuer(claims: &ClaimSet, expected: &Expectations<'_>) -> Result<(), Refusal> {
    let issuer = claims.text("iss")?.ok_or(Refusal::Missing("iss"))?;
    if issuer == expected.issuer || expected.other_issuers.contains(&issuer) { Ok(()) } else { Err(Refusal::Issuer) }
}

pub(super) fn check_audience(claims: &ClaimSet, expected: &Expectations<'_>) -> Result<(), Refusal> {
    let audience = claims.words("aud")?;
    if audience.is_empty() {
        return Err(Refusal::Missing("aud"));
    }
    if !audience.contains(&expected.client_id) {
        return Err(Refusal::Audience);
    }
    let trusted = |one: &&str| *one == expected.client_id || expected.trusted_audiences.iter().any(|t| t == one);
    if !audience.iter().all(trusted) {
        return Err(Refusal::UntrustedAudience);
    }
    match claims.text("azp")? {
        Some(party) if party != expected.client_id => Err(Refusal::AuthorizedParty),
        _ => Ok(()),
    }
}

pub(super) fn check_times(claims: &ClaimSet, occasion: &Occasion<'_>, now: Timestamp) -> Result<(), Refusal> {
    match claims.time("exp")? {
        Some(expires) if now >= expires.plus(LEEWAY) => return Err(Refusal::Expired),
        // Logout tokens had none before the final text; their age is bounded below.
        None if !matches!(occasion, Occasion::Logout) => return Err(Refusal::Missing("exp")),
        _ => {}
    }
    if claims.time("nbf")?.is_some_and(|from| now.plus(LEEWAY) < from) {
        return Err(Refusal::NotYet);
    }
    let issued = claims.time("iat")?.ok_or(Refusal::Missing("iat"))?;
    if issued > now.plus(LEEWAY) {
        return Err(Refusal::IssuedInFuture);
    }
    // A refreshed token is new as well, but some issuers repeat one that is still valid.
    let must_be_new = matches!(occasion, Occasion::Login { .. } | Occasion::Logout);
    if must_be_new && now.since(issued) > MAX_AGE_AT_LOGIN + LEEWAY {
        return Err(Refusal::TooOld);
    }
    Ok(())
}

fn check_nonce(claims: &ClaimSet, occasion: &Occasion<'_>) -> Result<(), Refusal> {
    let told = claims.text("nonce")?;
    let same = |told: &str, sent: &str| constant_time_eq(told.as_bytes(), sent.as_bytes());
    match (occasion, told) {
        (Occasion::Login { .. }, None) => Err(Refusal::Missing("nonce")),
        (Occasion::Login { nonce }, Some(told)) if !nonce.is_empty() && same(told, nonce) => Ok(()),
        (Occasion::Login { .. }, Some(_)) => Err(Refusal::Nonce),
        (Occasion::Refresh { nonce: Some(sent), .. }, Some(told)) if !same(told, sent) => Err(Refusal::Nonce),
        (Occasion::Refresh { .. } | Occasion::Logout, _) => Ok(()),
    }
}

/// `at_hash`: the left half of the access token's hash, by the hash of the signature algorithm (3.1.3.6).
fn check_access_token(claims: &ClaimSet, algorithm: Algorithm, access_token: Option<&Secret>) -> Result<(), Refusal> {
    let (Some(told), Some(token)) = (claims.text("at_hash")?, access_token) else {
        return Ok(()); // optional in the code flow
    };
    let hash = digest::digest(hash_of(algorithm), token.expose().as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    let actual = URL_SAFE_NO_PAD.encode(left);
    if constant_time_eq(told.trim_end_matches('=').as_bytes(), actual.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::AccessTokenHash)
    }
}

fn hash_of(algorithm: Algorithm) -> &'static digest::Algorithm {
    match algorithm {
        Algorithm::HS384 | Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::HS512 | Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => &digest::SHA256,
    }
}

fn check_subject(claims: &ClaimSet, occasion: &Occasion<'_>) -> Result<String, Refusal> {
    let subject = subject(claims)?.ok_or(Refusal::Missing("sub"))?;
    match occasion {
        Occasion::Refresh { subject: known, .. } if *known != subject => Err(Refusal::OtherSubject),
        _ => Ok(subject),
    }
}

/// The subject, if there is one: never empty, never one that cannot be a key.
pub(super) fn subject(claims: &ClaimSet) -> Result<Option<String>, Refusal> {
    match claims.text("sub")? {
        Some(subject) if subject.is_empty() || subject.len() > MAX_SUBJECT_LEN || !subject.is_ascii() => {
            Err(Refusal::Subject)
        }
        subject => Ok(subject.map(str::to_owned)),
    }
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
