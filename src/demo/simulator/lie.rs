//! Lies a simulator tells on request, one at a time, so that a test can see each of them refused.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{endpoint::Endpoint, message::Reply};

/// What a simulator does wrong from now on. In JSON a lie is its name in snake case, such as `"wrong_iss"`, or for the
/// one with settings `{"slow": {"endpoint": "token", "millis": 3000}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// ID token: another issuer.
    WrongIss,
    /// ID token: another audience.
    WrongAud,
    /// ID token: our audience and an untrusted one.
    ExtraAud,
    /// ID token: another authorized party.
    WrongAzp,
    /// ID token: a nonce nobody sent.
    WrongNonce,
    /// ID token: no nonce.
    MissingNonce,
    /// ID token: unsigned, `alg` is `none`.
    AlgNone,
    /// ID token: HS256 keyed with the client secret.
    AlgHs256Secret,
    /// ID token: HS256 keyed with the PEM text of the public key.
    AlgHs256PublicKey,
    /// ID token: signed by a key under an id the key set does not hold.
    UnknownKid,
    /// ID token: signed by another key under a known id.
    WrongKey,
    /// ID token: expired five minutes ago.
    Expired,
    /// ID token: issued an hour from now.
    FutureIat,
    /// ID token: valid an hour from now (`nbf`).
    FutureNbf,
    /// ID token: issued a day ago.
    OldIat,
    /// ID token: hash of another access token.
    WrongAtHash,
    /// Subject is a number (in the ID token, or in the profile of a provider without one).
    SubNumber,
    /// Subject is the empty text.
    SubEmpty,
    /// ID token: a claim stands there twice.
    DuplicateClaims,
    /// The profile is of somebody else.
    UserinfoOtherSub,
    /// The profile is the JSON literal `false`.
    ProfileFalse,
    /// The access token is dead at the profile.
    DeadAccessToken,
    /// The token endpoint answers 500.
    Token500,
    /// The token endpoint and the profile answer 429.
    TooManyRequests,
    /// The token endpoint redirects (307) to another address of the simulator, counted as `elsewhere`.
    TokenRedirect,
    /// The token endpoint knows no such client.
    InvalidClient,
    /// The refresh token is dead.
    InvalidGrantOnRefresh,
    /// Refreshed tokens belong to somebody else.
    RefreshChangesSub,
    /// The token answer breaks off in the middle.
    TruncatedBody,
    /// The token answer is 2 MiB long.
    GiantBody,
    /// Members of the token answer and of the profile stand there twice.
    DuplicateKeys,
    /// `expires_in` is a text.
    ExpiresInText,
    /// The key set answers 500.
    Jwks500,
    /// The key set redirects (307) to another address of the simulator, counted as `elsewhere`.
    JwksRedirect,
    /// Discovery names another issuer.
    DiscoveryOtherIssuer,
    /// The callback names another issuer (RFC 9207).
    CallbackWrongIss,
    /// The callback names no issuer although discovery promised it.
    CallbackMissingIss,
    /// The callback carries `code` twice.
    CallbackDuplicateCode,
    /// The callback carries a state nobody sent.
    CallbackWrongState,
    /// The callback tells a platform failure in the provider's own way (Facebook: `error_code` and `error_message` only).
    PlatformError,
    /// An endpoint waits before it answers.
    Slow {
        /// Which one, by the names of [`Simulator::calls`](super::Simulator::calls); `token` also means `refresh`.
        #[serde(default = "token")]
        endpoint: String,
        /// How long, in milliseconds.
        millis: u64,
    },
}

fn token() -> String {
    "token".to_owned()
}

impl Lie {
    /// A slow token endpoint.
    pub fn slow_token(delay: Duration) -> Self {
        Self::Slow { endpoint: token(), millis: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) }
    }

    /// How long this lie makes an endpoint wait.
    pub(super) fn delay(&self, endpoint: Endpoint) -> Duration {
        match self {
            Self::Slow { endpoint: name, millis }
                if name == endpoint.name() || name == "token" && endpoint.is_token() =>
            {
                Duration::from_millis(*millis)
            }
            _ => Duration::ZERO,
        }
    }

    /// Lies inside ID tokens that a relying party must refuse; for tests over all of them.
    pub const ID_TOKEN: [Self; 19] = [
        Self::WrongIss,
        Self::WrongAud,
        Self::ExtraAud,
        Self::WrongAzp,
        Self::WrongNonce,
        Self::MissingNonce,
        Self::AlgNone,
        Self::AlgHs256Secret,
        Self::AlgHs256PublicKey,
        Self::UnknownKid,
        Self::WrongKey,
        Self::Expired,
        Self::FutureIat,
        Self::FutureNbf,
        Self::OldIat,
        Self::WrongAtHash,
        Self::SubNumber,
        Self::SubEmpty,
        Self::DuplicateClaims,
    ];
}

/// Where a redirecting endpoint leads.
pub(super) const ELSEWHERE: &str = "/_elsewhere";
/// Somebody who is not there.
pub(super) const STRANGER: &str = "somebody-else";
const GIANT: usize = 2 * 1024 * 1024;

/// The answer a lie gives before the endpoint sees the request, so that the request changes nothing.
pub(super) fn before(lie: &Lie, endpoint: Endpoint, base: &str) -> Option<Reply> {
    let failed = || Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "simulated failure");
    let elsewhere = || {
        Reply::empty(StatusCode::TEMPORARY_REDIRECT)
            .with(header::LOCATION, &format!("{base}{ELSEWHERE}?from={endpoint}"))
    };
    match lie {
        Lie::Token500 if endpoint.is_token() => Some(failed()),
        Lie::TokenRedirect if endpoint.is_token() => Some(elsewhere()),
        Lie::Jwks500 if endpoint == Endpoint::Keys => Some(failed()),
        Lie::JwksRedirect if endpoint == Endpoint::Keys => Some(elsewhere()),
        Lie::ProfileFalse if endpoint == Endpoint::Profile => Some(Reply::ok(&json!(false))),
        _ => None,
    }
}

/// Spoils an endpoint's answer. `subject` points at the subject in a profile (RFC 6901).
pub(super) fn after(lie: &Lie, endpoint: Endpoint, mut reply: Reply, subject: &str, has_id_token: bool) -> Reply {
    reply.delay = lie.delay(endpoint);
    if reply.status != StatusCode::OK {
        return reply;
    }
    match lie {
        Lie::TruncatedBody if endpoint.is_token() => reply.cut = true,
        Lie::GiantBody if endpoint.is_token() => change(&mut reply, |object| {
            object.insert("padding".into(), "x".repeat(GIANT).into());
        }),
        Lie::ExpiresInText if endpoint.is_token() => change(&mut reply, |object| {
            let text = object.get("expires_in").map(ToString::to_string);
            text.map(|text| object.insert("expires_in".into(), text.into()));
        }),
        Lie::DuplicateKeys if endpoint.is_token() || endpoint == Endpoint::Profile => double_members(&mut reply),
        Lie::DiscoveryOtherIssuer if endpoint == Endpoint::Discovery => change(&mut reply, |object| {
            object.insert("issuer".into(), "https://issuer.invalid".into());
        }),
        Lie::UserinfoOtherSub if endpoint == Endpoint::Profile => set(&mut reply, subject, json!(STRANGER)),
        Lie::SubNumber if endpoint == Endpoint::Profile && !has_id_token => set(&mut reply, subject, json!(7)),
        Lie::SubEmpty if endpoint == Endpoint::Profile && !has_id_token => set(&mut reply, subject, json!("")),
        _ => {}
    }
    reply
}

fn change(reply: &mut Reply, how: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(Value::Object(mut object)) = reply.value() {
        how(&mut object);
        reply.body = Value::Object(object).to_string().into();
    }
}

fn set(reply: &mut Reply, pointer: &str, to: Value) {
    if let Some(mut value) = reply.value()
        && let Some(place) = value.pointer_mut(pointer)
    {
        *place = to;
        reply.body = value.to_string().into();
    }
}

/// Every member twice: first spoilt, then as it was, so that a reader which takes the last one would not notice.
fn double_members(reply: &mut Reply) {
    if let Some(Value::Object(object)) = reply.value() {
        reply.body = Bytes::from(doubled(&object));
    }
}

/// JSON text of `object` with every member twice.
pub(super) fn doubled(object: &Map<String, Value>) -> String {
    let member = |name: &String, value: &Value| format!("{}:{value}", json!(name));
    let spoilt = object.keys().map(|name| member(name, &json!(STRANGER)));
    let honest = object.iter().map(|(name, value)| member(name, value));
    format!("{{{}}}", spoilt.chain(honest).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_have_names_in_json() {
        assert_eq!(serde_json::from_value::<Lie>(json!("wrong_iss")).unwrap(), Lie::WrongIss);
        assert_eq!(serde_json::from_value::<Lie>(json!("alg_hs256_public_key")).unwrap(), Lie::AlgHs256PublicKey);
        assert_eq!(
            serde_json::from_value::<Lie>(json!({"slow": {"millis": 20}})).unwrap(),
            Lie::slow_token(Duration::from_millis(20))
        );
        assert!(serde_json::from_value::<Lie>(json!("white_lie")).is_err());
    }

    #[test]
    fn doubled_members_are_doubled() {
        let Value::Object(object) = json!({"a": 1}) else { panic!("an object") };
        assert_eq!(doubled(&object), r#"{"a":"somebody-else","a":1}"#);
    }
}
