//! Style sheet, icons and whatever an operator adds: the files under `{prefix}/static/`.
//!
//! A page links an asset with a hash of its content in the query, so a browser may keep it for a year and still sees
//! a change at once. Without that hash, or with an old one, the browser must ask again.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{body::Body, secret};

/// The built-in files.
const BUILT_IN: [(&str, &str); 9] = [
    ("brama.css", include_str!("assets/brama.css")),
    ("favicon.svg", include_str!("assets/favicon.svg")),
    ("google.svg", include_str!("assets/google.svg")),
    ("facebook.svg", include_str!("assets/facebook.svg")),
    ("x.svg", include_str!("assets/x.svg")),
    ("cognito.svg", include_str!("assets/cognito.svg")),
    ("github.svg", include_str!("assets/github.svg")),
    ("oidc.svg", include_str!("assets/oidc.svg")),
    ("oauth2.svg", include_str!("assets/oauth2.svg")),
];

/// The style sheet: the operator's accent is written above it.
const STYLE_SHEET: &str = "brama.css";
/// The icon whose accent is replaced by the operator's.
const FAVICON: &str = "favicon.svg";
/// The accent that the built-in icon is drawn in.
const FAVICON_ACCENT: &str = "#2f6feb";
/// The icon of a provider that has none.
const NO_ICON: &str = "oidc.svg";

/// The accent in the forms the files need it in.
#[derive(Debug, Clone)]
pub(crate) struct Paint {
    /// `#rrggbb`.
    pub(crate) colour: String,
    /// CSS custom properties.
    pub(crate) properties: String,
}

/// One file.
#[derive(Debug, Clone)]
struct Asset {
    bytes: Bytes,
    content_type: &'static str,
    /// Hash of the content, in hexadecimal.
    version: String,
}

/// All files, by name.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    base: String,
    files: BTreeMap<String, Asset>,
}

impl Assets {
    /// The built-in files below `base` (`/oauth2/static`), and over them the operator's.
    pub(crate) fn new(base: String, paint: &Paint, overrides: &[(String, Vec<u8>)]) -> Self {
        let built_in = BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        let files = built_in
            .chain(overrides.iter().cloned())
            .filter_map(|(name, bytes)| {
                let asset = Asset::new(&name, painted(&name, bytes, paint))?;
                Some((name, asset))
            })
            .collect();
        Self { base, files }
    }

    /// The address of a file, content hash included; `None` when there is no such file.
    pub(crate) fn url(&self, name: &str) -> Option<String> {
        self.files.get(name).map(|asset| format!("{}/{name}?v={}", self.base, asset.version))
    }

    /// The address of a provider's icon: one named after the provider, else its kind's, else a plain one.
    pub(crate) fn icon(&self, provider: &str, kind: &str) -> Option<String> {
        [provider, kind].iter().find_map(|name| self.url(&format!("{name}.svg"))).or_else(|| self.url(NO_ICON))
    }

    /// The answer to a GET or HEAD of a file. `version` is the value of the query's `v`, `known` the `If-None-Match`.
    pub(crate) fn get(&self, name: &str, version: Option<&str>, known: Option<&HeaderValue>) -> Option<Response<Body>> {
        let asset = self.files.get(name)?;
        let tag = format!("\"{}\"", asset.version);
        let fresh = known.is_some_and(|known| names_tag(known, &tag));
        let mut response = Response::new(if fresh { Body::Empty } else { Body::full(asset.bytes.clone()) });
        if fresh {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        super::header::asset(headers);
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        // During a rolling upgrade an older replica may be asked for a newer version: its answer must not stay.
        let lasting = version == Some(asset.version.as_str());
        let caching = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        if !fresh {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(asset.bytes.len()));
        }
        Some(response)
    }
}

impl Asset {
    fn new(name: &str, bytes: Vec<u8>) -> Option<Self> {
        let content_type = content_type(name)?;
        let version = secret::sha256(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { bytes: bytes.into(), content_type, version })
    }
}

/// The media type of a file we would serve; `None` for all others (no scripts: the policy forbids them anyway).
pub(crate) fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "ico" => Some("image/x-icon"),
        "woff2" => Some("font/woff2"),
        _ => None,
    }
}

/// Puts the operator's accent into the files that carry it.
fn painted(name: &str, bytes: Vec<u8>, paint: &Paint) -> Vec<u8> {
    match name {
        STYLE_SHEET => [paint.properties.as_bytes(), &bytes].concat(),
        FAVICON => match String::from_utf8(bytes) {
            Ok(text) => text.replace(FAVICON_ACCENT, &paint.colour).into_bytes(),
            Err(error) => error.into_bytes(),
        },
        _ => bytes,
    }
}

/// Whether an `If-None-Match` names this tag (RFC 9110, 13.1.2: weak comparison).
fn names_tag(known: &HeaderValue, tag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == tag)
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    fn assets(overrides: &[(String, Vec<u8>)]) -> Assets {
        let paint = Paint { colour: "#112233".into(), properties: ":root{--accent:#112233}\n".into() };
        Assets::new("/oauth2/static".into(), &paint, overrides)
    }

    fn version(url: &str) -> &str {
        url.split_once("?v=").unwrap().1
    }

    #[test]
    fn a_linked_asset_is_kept_for_a_year_and_any_other_asked_for_again() {
        let assets = assets(&[]);
        let url = assets.url("brama.css").unwrap();
        assert!(url.starts_with("/oauth2/static/brama.css?v="));
        let caching = |version| {
            let response = assets.get("brama.css", version, None).unwrap();
            response.headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned()
        };
        assert_eq!(caching(Some(version(&url))), "public, max-age=31536000, immutable");
        assert_eq!(caching(Some("0000")), "no-cache");
        assert_eq!(caching(None), "no-cache");
    }

    #[test]
    fn a_known_asset_is_not_sent_again() {
        let assets = assets(&[]);
        let first = assets.get("google.svg", None, None).unwrap();
        assert_eq!(first.headers()[header::CONTENT_TYPE], "image/svg+xml");
        assert_eq!(
            first.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().ok(),
            first.body().size_hint().exact()
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let known = HeaderValue::from_str(&known).unwrap();
            let again = assets.get("google.svg", None, Some(&known)).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert!(again.body().is_end_stream());
        }
        let other = HeaderValue::from_static("\"x\"");
        assert_eq!(assets.get("google.svg", None, Some(&other)).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn nothing_but_the_named_files_is_served() {
        let assets = assets(&[("evil.html".into(), b"<script>".to_vec()), ("evil.js".into(), b"1".to_vec())]);
        for name in ["", ".", "..", "../brama.css", "brama.css/", "base.html", "evil.html", "evil.js", "BRAMA.CSS"] {
            assert!(assets.get(name, None, None).is_none(), "{name}");
        }
    }

    #[test]
    fn an_override_has_its_own_version_and_keeps_the_accent() {
        let built_in = assets(&[]);
        let own = assets(&[("brama.css".into(), b"body{}".to_vec()), ("staff.svg".into(), b"<svg/>".to_vec())]);
        assert_ne!(built_in.url("brama.css"), own.url("brama.css"));
        let Body::Full(css) = own.get("brama.css", None, None).unwrap().into_body() else { panic!("empty") };
        assert_eq!(&css[..], b":root{--accent:#112233}\nbody{}");
        assert!(own.icon("staff", "oidc").unwrap().contains("/staff.svg?"));
        assert!(own.icon("shop", "google").unwrap().contains("/google.svg?"));
        assert!(own.icon("shop", "unheard-of").unwrap().contains("/oidc.svg?"));
    }

    #[test]
    fn every_kind_of_provider_has_an_icon_and_the_favicon_wears_the_accent() {
        use crate::config::provider::Kind;
        let assets = assets(&[]);
        for kind in [Kind::Google, Kind::Facebook, Kind::X, Kind::Cognito, Kind::GitHub, Kind::Oidc, Kind::OAuth2] {
            assert!(assets.icon("shop", kind.word()).unwrap().contains(&format!("/{}.svg?", kind.word())));
        }
        let Body::Full(icon) = assets.get(FAVICON, None, None).unwrap().into_body() else { panic!("empty") };
        let icon = std::str::from_utf8(&icon).unwrap();
        assert!(icon.contains("#112233") && !icon.contains(FAVICON_ACCENT));
    }
}
