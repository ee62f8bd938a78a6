//! `[event.sink.NAME.webhook]`: an HTTP address, with signed requests.

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::{Host, Url};

use crate::{
    config::{
        problem::Problems,
        secrets,
        value::{At, Check, section},
    },
    secret::Secret,
};

section! {
    /// An HTTP address. Each event is a POST of its own, signed as Standard Webhooks have it (https://www.standardwebhooks.com).
    pub struct Webhook {
        /// Address to post to.
        url: Url,
        /// Signing secret, "whsec_" and base64 of 24 to 64 bytes; better given as secret_file or "${NAME}".
        secret: Option<Secret> = None,
        /// File that holds the signing secret; a trailing newline is ignored.
        secret_file: Option<PathBuf> = None,
        /// File with extra certificate authorities of the server (PEM).
        ca_file: Option<PathBuf> = None,
        /// Longest a call may take.
        timeout: Duration = Duration::from_secs(10),
        /// Allow http:// to other hosts than loopback. Everybody on the way can then read the events.
        dangerous_allow_http: bool = false,
    }
}

/// What a signing secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// The key inside a signing secret: what follows `whsec_`, from base64. `None` when it is not one.
pub fn signing_key(secret: &Secret) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let encoded = secret.expose().trim().strip_prefix(SECRET_PREFIX)?;
    let key = zeroize::Zeroizing::new(STANDARD.decode(encoded).ok()?);
    (24..=64).contains(&key.len()).then_some(key)
}

impl Check for Webhook {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let plain = self.url.scheme() == "http" && (self.dangerous_allow_http || is_loopback(&self.url));
        if self.url.scheme() != "https" && !plain {
            at.problem_at(
                "url",
                problems,
                "it is not https, so everybody on the way could read the events",
                "use https, or set dangerous_allow_http = true if you accept that",
            );
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            at.problem_at(
                "url",
                problems,
                "it holds a user or password, which would show in logs",
                "leave them out: the signature proves who calls",
            );
        }
        super::check_given_once("secret", self.secret.is_some(), self.secret_file.is_some(), at, problems);
        if self.secret.is_none() && self.secret_file.is_none() {
            at.problem_at(
                "secret_file",
                problems,
                "without a signing secret the receiver could not tell our events from forged ones",
                "make one with: echo whsec_$(openssl rand -base64 32)",
            );
            return;
        }
        secrets::check(at, "secret", &self.secret, &self.secret_file, problems);
        if self.secret.as_ref().is_some_and(|secret| signing_key(secret).is_none()) {
            at.problem_at(
                "secret",
                problems,
                "it is not whsec_ and base64 of 24 to 64 bytes",
                "make one with: echo whsec_$(openssl rand -base64 32)",
            );
        }
    }
}

/// True when the address leads nowhere but to this host.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
