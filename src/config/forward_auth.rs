//! `[forward_auth]`: deciding for another proxy.

use super::problem::Problems;
use super::value::{At, Check, choice, section};

choice! {
    /// Where the proxy in front tells which request it asks about. Exactly one place: a proxy that sets one field often
    /// passes the others on as the client wrote them.
    pub enum Source {
        /// It does not tell: routes and rules have no say, the query parameters alone do.
        None = "none",
        /// X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Uri (Traefik, Caddy).
        XForwarded = "x-forwarded",
        /// X-Original-Method and X-Original-URL, an absolute address (nginx).
        XOriginal = "x-original",
        /// The request itself: its method, its Host, and its path after PREFIX/auth (Envoy).
        Path = "path",
    }
}

choice! {
    /// What is asked of a request that no route takes.
    pub enum Unrouted {
        /// It is refused.
        Deny = "deny",
        /// Somebody must be signed in.
        SignedIn = "signed_in",
    }
}

section! {
    /// Deciding for another proxy (nginx auth_request, Traefik ForwardAuth, Caddy forward_auth, HAProxy, Envoy ext_authz
    /// over HTTP), at PREFIX/auth. It is answered with 202 and the identity headers, 401, 403, or 503 while the session
    /// store is down. The query parameters allowed_groups, allowed_emails and allowed_email_domains, lists with commas,
    /// narrow who passes; one that is there but empty lets nobody pass.
    pub struct ForwardAuth {
        /// Where the proxy in front tells which request it asks about: "none", "x-forwarded", "x-original" or "path". It is
        /// believed from forwarded.trusted_proxies only; what is missing, there twice or malformed is refused. Routes and
        /// their rules then decide as if the request had come here itself.
        source: Source = Source::None,
        /// What is asked of a request that no route takes: "deny" refuses it, "signed_in" asks for a session.
        unrouted: Unrouted = Unrouted::Deny,
        /// Answer a page load without a session with 302 to sign-in, for proxies that hand such an answer on (Traefik, Caddy, Envoy). nginx turns it into an error: leave it off there. The 401 names sign-in in its Location field.
        redirect: bool = false,
        /// Set of identity headers in the answer: a built-in one or [headers.set.NAME]. All of its names are there, those without a value empty: the proxy in front must copy every one, so that nothing a client wrote is left.
        headers: String = "x-auth-request".into(),
        /// Also answer with a signed assertion of who it is, under headers.assertion_header; to trusted proxies only.
        assertion: bool = false,
        /// Audience of the assertion; absent: the host of the request that is asked about, else that of portal.public_url.
        assertion_audience: Option<String> = None,
        /// Status of a yes: 202, or 200 for proxies that take nothing else.
        status: u16 = 202,
    }
}

impl Check for ForwardAuth {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if !matches!(self.status, 200 | 202) {
            at.problem_at("status", problems, format!("{} is not a yes", self.status), "write 200 or 202");
        }
    }
}
