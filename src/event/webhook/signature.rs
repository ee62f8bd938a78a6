//! Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over `id.timestamp.body`, in three headers.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::{clock::Timestamp, secret::hmac_sha256};

/// Signs.
pub(super) struct Signer(Zeroizing<Vec<u8>>);

impl Signer {
    pub(super) fn new(key: Zeroizing<Vec<u8>>) -> Self {
        Self(key)
    }

    /// The headers of a call with this body. The time is that of the call, so that receivers can refuse old ones.
    pub(super) fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> HeaderMap {
        let timestamp = now.as_secs().to_string();
        let signature = self.sign(id, &timestamp, body);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8"));
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
        {
            // Ids, numbers and base64 are always fit for a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        format!("v1,{}", STANDARD.encode(hmac_sha256(&self.0, &signed)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::event::webhook::signing_key, secret::Secret};

    /// The example of the Standard Webhooks specification and its libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = signing_key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signature = Signer::new(key).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_short", "whsec_!!!!"] {
            assert!(signing_key(&Secret::new(bad)).is_none(), "{bad}");
        }
    }
}
