//! The headers of our own answers, each with its reason.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

/// What a page may load and where its forms may lead, as far as all pages have it in common.
#[derive(Debug, Clone)]
pub(crate) struct ContentPolicy {
    common: String,
}

impl ContentPolicy {
    /// The policy of pages with this logo.
    pub(crate) fn new(logo: Option<&Url>) -> Self {
        let logo = logo.map_or_else(String::new, |url| format!(" {}", url.origin().ascii_serialization()));
        // Content Security Policy Level 3, https://www.w3.org/TR/CSP3/
        //   default-src 'none'      nothing is loaded unless it is named here: no script at all, no frames, no requests
        //   style-src 'self'        our one style sheet; an injected style attribute does nothing
        //   img-src                 our icons, pictures an operator writes into the style sheet, and the logo's origin
        //   font-src 'self'         fonts an operator puts beside the templates
        //   frame-ancestors 'none'  nobody frames our buttons (clickjacking); replaces X-Frame-Options
        //   base-uri 'none'         an injected <base> cannot bend our links
        let common = format!(
            "default-src 'none'; style-src 'self'; img-src 'self' data:{logo}; font-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'"
        );
        Self { common }
    }

    /// The header for a page whose forms may lead to us and, by redirect, to the origins of `leads_to`. Chromium
    /// applies form-action to every redirect that follows a form (https://github.com/w3c/webappsec-csp/issues/8), so
    /// a sign-out that goes on to the provider must name it.
    fn header(&self, leads_to: &[Url]) -> Option<HeaderValue> {
        let mut policy = format!("{}; form-action 'self'", self.common);
        for url in leads_to.iter().filter(|url| matches!(url.scheme(), "http" | "https")) {
            policy.push(' ');
            policy.push_str(&url.origin().ascii_serialization());
        }
        HeaderValue::from_str(&policy).ok()
    }
}

/// Headers of every page, whatever it says.
pub(crate) fn page(headers: &mut HeaderMap, policy: &ContentPolicy, leads_to: &[Url]) {
    set(headers, &PAGE);
    let fallback = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.header(leads_to).unwrap_or(fallback));
}

/// Headers of every JSON answer.
pub(crate) fn json(headers: &mut HeaderMap) {
    set(headers, &JSON);
}

/// Headers of every asset.
pub(crate) fn asset(headers: &mut HeaderMap) {
    set(headers, &ASSET);
}

fn set(headers: &mut HeaderMap, these: &[(HeaderName, &'static str)]) {
    for (name, value) in these {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
}

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const PAGE: [(HeaderName, &str); 9] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    // No guessing of types: https://fetch.spec.whatwg.org/#x-content-type-options-header
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Our addresses hold codes and return-to targets (threats, 12.7): https://www.w3.org/TR/referrer-policy/
    (header::REFERRER_POLICY, "no-referrer"),
    // Pages depend on who asks and hold form tokens (threats, 8.7): RFC 9111, 5.2.2.5
    (header::CACHE_CONTROL, "no-store"),
    // For caches that keep pages all the same: language and person choose the page. RFC 9110, 12.5.5
    (header::VARY, "Accept-Language, Cookie"),
    // A page that opened ours, or that ours opens, gets no hold of our window:
    // https://html.spec.whatwg.org/multipage/browsers.html#cross-origin-opener-policies
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    // No other site may load our pages into its process (Spectre): https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    // Our pages need none of these: https://www.w3.org/TR/permissions-policy/
    (PERMISSIONS_POLICY, "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    // Sign-in pages have no place in a search engine.
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

const JSON: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "application/json"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::VARY, "Accept-Language, Cookie"),
];

const ASSET: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // An SVG opened on its own is a document: it may style itself and nothing more.
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_the_logo_s_origin_and_nothing_else() {
        let logo = Url::parse("https://cdn.example.com:8443/logo.svg?x=1").unwrap();
        let policy = ContentPolicy::new(Some(&logo)).header(&[]).unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; style-src 'self'; img-src 'self' data: https://cdn.example.com:8443; \
             font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        );
        assert!(!ContentPolicy::new(None).header(&[]).unwrap().to_str().unwrap().contains("https"));
    }

    #[test]
    fn forms_lead_only_where_signing_out_leads() {
        let urls = ["https://idp.example/logout?a=1;b", "javascript:alert(1)"].map(|url| Url::parse(url).unwrap());
        let policy = ContentPolicy::new(None).header(&urls).unwrap();
        assert!(policy.to_str().unwrap().ends_with("; form-action 'self' https://idp.example"));
    }
}
