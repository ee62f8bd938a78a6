//! What comes from token endpoints, brought into the one form RFC 6749 gives it (5.1 and 5.2).
//!
//! Providers answer errors with status 200 (GitHub), forms instead of JSON (GitHub, old Facebook), errors as objects
//! (Facebook), numbers as text, their own words for a dead grant. [`normalise`] takes any bytes and gives either a
//! clean success or a clean error in standard words; nothing behind it knows vendors.

use http::{Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    config::provider::Kind,
    provider::{
        ProviderError,
        outgoing::{Answer, escaped},
    },
};

/// Members of a success that are kept; everything else is not ours to believe.
const TEXTS: &[&str] = &["access_token", "refresh_token", "id_token"];

/// The answer of a token endpoint as the `oauth2` crate wants it: 200 with a token, or 400 with an error.
pub(super) fn normalise(kind: Kind, answer: &Answer) -> Result<Response<Vec<u8>>, ProviderError> {
    let status = answer.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(ProviderError::Unavailable(format!("the token endpoint answers {status}")));
    }
    if status.is_redirection() {
        return Err(ProviderError::Misconfigured(format!(
            "the token endpoint answers {status}, and redirects are never followed there: correct token_url"
        )));
    }
    let Some(members) = members(&answer.body) else {
        return Err(shapeless(status));
    };
    // An error counts whatever the status is.
    if let Some(refusal) = refusal(kind, &members) {
        return Ok(response(StatusCode::BAD_REQUEST, &refusal));
    }
    if !status.is_success() {
        return Err(shapeless(status));
    }
    success(&members).map(|members| response(StatusCode::OK, &members))
}

fn shapeless(status: StatusCode) -> ProviderError {
    let what = format!("the token endpoint answers {status} with neither a token nor an error");
    if status.is_client_error() { ProviderError::Misconfigured(what) } else { ProviderError::Untrusted(what) }
}

fn response(status: StatusCode, members: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(members.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The members of a JSON object or of a form; nothing when the body is neither. The content type is not asked: those
/// who get the form wrong get it wrong as well.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => return Some(members),
        Ok(_) => return None,
        Err(_) => {}
    }
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(body.trim_ascii()) {
        // A member that stands twice could be read in two ways.
        if members.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
            return None;
        }
    }
    (members.contains_key("access_token") || members.contains_key("error")).then_some(members)
}

/// The error in standard words, when there is one.
fn refusal(kind: Kind, members: &Map<String, Value>) -> Option<Value> {
    let error = members.get("error").filter(|error| !error.is_null())?;
    if let Value::Object(graph) = error {
        let (word, said) = graph_refusal(graph);
        return Some(json!({"error": word, "error_description": said}));
    }
    let word = error.as_str().unwrap_or("unreadable_error");
    let said = members.get("error_description").and_then(Value::as_str).unwrap_or_default();
    let word = match (kind, word) {
        (_, "bad_verification_code" | "bad_refresh_token") => "invalid_grant",
        (_, "incorrect_client_credentials") => "invalid_client",
        (_, "redirect_uri_mismatch") => "invalid_request",
        (_, "unverified_user_email") => "access_denied",
        // X says that the request is invalid when the code or the refresh token is.
        (Kind::X, "invalid_request") if is_about_the_grant(said) => "invalid_grant",
        (_, word) => word,
    };
    Some(json!({"error": word, "error_description": said}))
}

fn is_about_the_grant(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("value passed for the token") || said.contains("value passed for the authorization code")
}

/// Facebook's error envelope in standard words.
fn graph_refusal(graph: &Map<String, Value>) -> (&'static str, String) {
    let code = graph.get("code").and_then(Value::as_i64).unwrap_or_default();
    let message = graph.get("message").and_then(Value::as_str).unwrap_or_default();
    let about = |word: &str| message.to_ascii_lowercase().contains(word);
    let word = match code {
        _ if about("client secret") || about("client_secret") => "invalid_client",
        190 | 102 => "invalid_grant",
        1 | 2 | 4 | 17 => "temporarily_unavailable",
        100 if about("redirect") => "invalid_request",
        100 => "invalid_grant",
        _ => "invalid_request",
    };
    let subcode = graph.get("error_subcode").and_then(Value::as_i64);
    (word, format!("code {code}, subcode {}: {message}", subcode.unwrap_or_default()))
}

/// The success with clean types.
fn success(members: &Map<String, Value>) -> Result<Value, ProviderError> {
    let mut clean = Map::new();
    for name in TEXTS {
        match members.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::String(text)) => {
                clean.insert((*name).to_owned(), Value::String(text.clone()));
            }
            Some(_) => return Err(ProviderError::Untrusted(format!("the token answer's {name} is not text"))),
        }
    }
    if !clean.contains_key("access_token") {
        return Err(ProviderError::Untrusted("the token answer has no access_token".into()));
    }
    let token_type = match members.get("token_type") {
        None => "bearer".to_owned(),
        Some(Value::String(word)) => word.to_ascii_lowercase(),
        Some(_) => return Err(ProviderError::Untrusted("the token answer's token_type is not text".into())),
    };
    if token_type != "bearer" {
        // RFC 6749, 7.1: a token of a type we do not understand must not be used.
        return Err(ProviderError::Untrusted(format!("the token type \"{}\" is not known", escaped(&token_type))));
    }
    clean.insert("token_type".into(), token_type.into());
    // Absent or unreadable means unknown, never zero; old Facebook says `expires`.
    if let Some(seconds) = members.get("expires_in").or_else(|| members.get("expires")).and_then(seconds) {
        clean.insert("expires_in".into(), seconds.into());
    }
    Ok(Value::Object(clean))
}

/// Whole seconds, also as text or with a fraction; at most ten years, so that sums cannot wrap.
fn seconds(value: &Value) -> Option<u64> {
    const TEN_YEARS: f64 = 10.0 * 365.0 * 86_400.0;
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !seconds.is_finite() || seconds <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just above and here")]
    Some(seconds.min(TEN_YEARS) as u64)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.into() }
    }

    fn normal(kind: Kind, status: u16, body: &str) -> (u16, Value) {
        let response = normalise(kind, &answer(status, body.to_owned())).unwrap();
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    #[test]
    fn errors_come_in_standard_words() {
        let cases = [
            (Kind::GitHub, 200, r#"{"error":"bad_verification_code"}"#, "invalid_grant"),
            (Kind::GitHub, 200, "error=bad_verification_code&error_description=The+code", "invalid_grant"),
            (Kind::GitHub, 200, r#"{"error":"incorrect_client_credentials"}"#, "invalid_client"),
            (Kind::GitHub, 200, r#"{"error":"unverified_user_email"}"#, "access_denied"),
            (Kind::GitHub, 200, r#"{"error":"bad_refresh_token","access_token":"t"}"#, "invalid_grant"),
            (
                Kind::X,
                400,
                r#"{"error":"invalid_request","error_description":"Value passed for the token was invalid."}"#,
                "invalid_grant",
            ),
            (
                Kind::X,
                400,
                r#"{"error":"invalid_request","error_description":"Missing required parameter [client_id]."}"#,
                "invalid_request",
            ),
            (
                Kind::Oidc,
                400,
                r#"{"error":"invalid_request","error_description":"Value passed for the token was invalid."}"#,
                "invalid_request",
            ),
            (Kind::X, 401, r#"{"error":"unauthorized_client"}"#, "unauthorized_client"),
            (Kind::Facebook, 400, r#"{"error":{"message":"expired","code":190,"error_subcode":463}}"#, "invalid_grant"),
            (Kind::Facebook, 400, r#"{"error":{"message":"try later","code":2}}"#, "temporarily_unavailable"),
            (
                Kind::Facebook,
                400,
                r#"{"error":{"message":"Error validating client secret.","code":1}}"#,
                "invalid_client",
            ),
            (
                Kind::Facebook,
                400,
                r#"{"error":{"message":"redirect_uri isn't the same","code":100}}"#,
                "invalid_request",
            ),
            (Kind::Facebook, 400, r#"{"error":{"message":"This code has been used","code":100}}"#, "invalid_grant"),
        ];
        for (kind, status, body, word) in cases {
            let (status, members) = normal(kind, status, body);
            assert_eq!((status, members["error"].as_str()), (400, Some(word)), "{body}");
        }
    }

    #[test]
    fn successes_come_with_clean_types() {
        let (_, json) =
            normal(Kind::Oidc, 200, r#"{"access_token":"t","token_type":"BEARER","expires_in":"3600","x":1}"#);
        assert_eq!(json, json!({"access_token":"t","token_type":"bearer","expires_in":3600}));
        let (_, form) = normal(Kind::Facebook, 200, "access_token=t&expires=5184000\n");
        assert_eq!(form, json!({"access_token":"t","token_type":"bearer","expires_in":5_184_000}));
        let (_, unknown) = normal(Kind::Facebook, 200, r#"{"access_token":"t","expires_in":0}"#);
        assert_eq!(unknown, json!({"access_token":"t","token_type":"bearer"}), "unknown is not zero");
    }

    #[test]
    fn what_is_neither_is_not_believed() {
        for (status, body) in [
            (200, ""),
            (200, "false"),
            (200, "[]"),
            (200, "<html>"),
            (200, r#"{"access_token":7}"#),
            (200, r#"{"access_token":""}"#),
            (200, r#"{"access_token":"t","token_type":"mac"}"#),
            (200, r#"{"access_token":"t","id_token":{}}"#),
            (200, "access_token=a&access_token=b"),
        ] {
            let refused = normalise(Kind::OAuth2, &answer(status, body));
            assert!(matches!(refused, Err(ProviderError::Untrusted(_))), "{body}");
        }
        let busy = normalise(Kind::OAuth2, &answer(503, r#"{"error":"invalid_grant"}"#));
        assert!(matches!(busy, Err(ProviderError::Unavailable(_))), "an outage is never a refusal");
        let moved = normalise(Kind::OAuth2, &answer(302, ""));
        assert!(matches!(moved, Err(ProviderError::Misconfigured(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_token_or_an_error_and_never_both(
            status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            check(status, body)?;
        }

        #[test]
        fn any_members_give_a_token_or_an_error_and_never_both(
            status in 200_u16..500,
            members in proptest::collection::btree_map(
                "access_token|error|token_type|expires_in|id_token|refresh_token|error_description",
                prop_oneof![
                    "[a-z]{0,8}".prop_map(Value::from),
                    any::<i64>().prop_map(Value::from),
                    any::<f64>().prop_map(Value::from),
                    Just(Value::Null),
                    Just(json!({"code": 190})),
                ],
                0..7,
            )
        ) {
            check(status, serde_json::to_vec(&members).unwrap())?;
        }
    }

    fn check(status: u16, body: Vec<u8>) -> Result<(), TestCaseError> {
        for kind in [Kind::X, Kind::Facebook, Kind::GitHub, Kind::OAuth2] {
            if let Ok(response) = normalise(kind, &answer(status, body.clone())) {
                let members: Map<String, Value> = serde_json::from_slice(response.body()).unwrap();
                let granted = response.status() == StatusCode::OK;
                prop_assert_eq!(granted, members.contains_key("access_token"));
                prop_assert_eq!(!granted, members.contains_key("error"));
            }
        }
        Ok(())
    }
}
