//! From what a page needs to know to a finished answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use url::Url;

use super::{
    accent::Accent,
    asset::Paint,
    ending::{ErrorPage, WayOn},
    header::{self as headers, ContentPolicy},
    language::Language,
    message::{BadMessages, Messages},
    page,
    template::Site,
    theme::{Theme, ThemeError},
};
use crate::{body::Body, config};

/// Draws every page of the portal.
#[derive(Debug)]
pub struct Pages {
    theme: Theme,
    messages: Arc<Messages>,
    policy: ContentPolicy,
    default_language: Language,
}

/// Why the pages cannot be drawn with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The accent is not a colour.
    #[error("portal.accent: \"{0}\" is not a colour: write it like \"#2f6feb\"")]
    Accent(String),
    /// There is no such translation.
    #[error("portal.language: there is no translation \"{0}\": write \"en\" or \"uk\"")]
    Language(String),
    /// The logo could not be shown, or not safely.
    #[error(
        "portal.logo_url: \"{0}\" is neither an https address nor a path: write it like \"https://…\" or \"/logo.svg\""
    )]
    Logo(String),
    /// A link to anything else could run a script.
    #[error("portal.support_url: \"{0}\" is no address of help: write it like \"https://…\" or \"mailto:…\"")]
    Support(String),
    /// The texts cannot be read.
    #[error(transparent)]
    Messages(#[from] BadMessages),
    /// The templates cannot be read.
    #[error(transparent)]
    Theme(#[from] ThemeError),
}

impl Pages {
    /// Reads templates, assets and texts.
    ///
    /// # Errors
    /// When a setting cannot be used or the folder of templates cannot be read. A single broken template is no error:
    /// it is logged, and the built-in page is shown instead.
    pub fn open(config: &config::portal::Portal) -> Result<Self, PagesError> {
        let accent = Accent::parse(&config.accent).ok_or_else(|| PagesError::Accent(config.accent.clone()))?;
        let default_language =
            Language::from_tag(&config.language).ok_or_else(|| PagesError::Language(config.language.clone()))?;
        let logo = config.logo_url.as_deref().map(|logo| logo_origin(logo, &config.public_url)).transpose()?.flatten();
        if let Some(support) = &config.support_url {
            check_support(support)?;
        }
        let messages = Arc::new(Messages::built_in()?);
        let site = Site {
            prefix: config.prefix.clone(),
            title: config.title.clone(),
            logo_url: config.logo_url.clone(),
            support_url: config.support_url.clone(),
        };
        let paint = Paint { colour: accent.css(), properties: accent.properties() };
        let theme = Theme::open(site, paint, Arc::clone(&messages), config.templates.as_deref())?;
        Ok(Self { theme, messages, policy: ContentPolicy::new(logo.as_ref()), default_language })
    }

    /// The language to answer a request with these headers in.
    pub fn language(&self, request: &HeaderMap) -> Language {
        Language::negotiate(request.get(header::ACCEPT_LANGUAGE), self.default_language)
    }

    /// The sign-in page.
    pub fn sign_in(&self, page: &page::SignIn, language: Language) -> Response<Body> {
        self.answer(StatusCode::OK, "sign_in.html", page, language, &[])
    }

    /// The account page.
    pub fn account(&self, page: &page::Account, language: Language) -> Response<Body> {
        self.answer(StatusCode::OK, "account.html", page, language, &page.leads_to)
    }

    /// The page that asks before signing out.
    pub fn sign_out(&self, page: &page::SignOut, language: Language) -> Response<Body> {
        self.answer(StatusCode::OK, "sign_out.html", page, language, &page.leads_to)
    }

    /// The page after signing out.
    pub fn signed_out(&self, page: &page::SignedOut, language: Language) -> Response<Body> {
        self.answer(StatusCode::OK, "signed_out.html", page, language, &[])
    }

    /// The error page, for people.
    pub fn error(&self, page: &page::Error, language: Language) -> Response<Body> {
        let view = self.error_view(page, language);
        let mut response = self.answer(page.ending.status(), "error.html", &view, language, &[]);
        add_error_headers(response.headers_mut(), page.ending);
        response
    }

    /// The same for programs: `{"error", "message", "reference", "sign_in"}`.
    pub fn error_json(&self, page: &page::Error, language: Language) -> Response<Body> {
        let view = self.error_view(page, language);
        let mut json = serde_json::json!({
            "error": view.word,
            "message": view.what,
            "reference": page.reference,
        });
        if let (Some(object), Some(sign_in)) = (json.as_object_mut(), &page.sign_in_url) {
            object.insert("sign_in".into(), sign_in.as_str().into());
        }
        let mut response = Response::new(Body::full(json.to_string()));
        *response.status_mut() = page.ending.status();
        headers::json(response.headers_mut());
        response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        add_error_headers(response.headers_mut(), page.ending);
        response
    }

    /// A file below `{prefix}/static/`; `None` when there is no such file. `query` is the request's query, whose `v`
    /// is the version the page linked. Good for GET and HEAD alike: the server leaves the body out for HEAD.
    pub fn asset(&self, name: &str, query: Option<&str>, request: &HeaderMap) -> Option<Response<Body>> {
        let version = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("v=")));
        self.theme.assets().get(name, version, request.get(header::IF_NONE_MATCH))
    }

    fn answer(
        &self,
        status: StatusCode,
        template: &'static str,
        page: &impl Serialize,
        language: Language,
        leads_to: &[Url],
    ) -> Response<Body> {
        let (status, html) = match self.theme.draw(template, language, page) {
            Ok(html) => (status, html),
            Err(error) => {
                tracing::error!(template, %error, "a built-in page cannot be drawn");
                let text = self.messages.text(language, "error-internal-title", &[]);
                (StatusCode::INTERNAL_SERVER_ERROR, format!("<!doctype html><title>{text}</title><h1>{text}</h1>"))
            }
        };
        let mut response = Response::new(Body::full(html));
        *response.status_mut() = status;
        headers::page(response.headers_mut(), &self.policy, leads_to);
        response.headers_mut().insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        response
    }

    fn error_view<'a>(&self, page: &'a page::Error, language: Language) -> ErrorView<'a> {
        let text = |key: &str| self.messages.text(language, key, &[]);
        let provider = page.provider.clone().unwrap_or_else(|| text("error-the-provider"));
        let about =
            |part| self.messages.text(language, &page.ending.text_key(part), &[("provider", provider.as_str().into())]);
        let facts = page.ending.facts();
        ErrorView {
            word: facts.word,
            title: about("title"),
            what: about("what"),
            todo: about("todo"),
            reference: &page.reference,
            signed_in_as: page.signed_in_as.as_deref(),
            ways: ways(page).into_iter().map(|(key, url)| Way { label: text(key), url }).collect(),
            operator: facts.operator,
        }
    }
}

/// What the error template needs to know.
#[derive(Debug, Serialize)]
struct ErrorView<'a> {
    word: &'static str,
    title: String,
    what: String,
    todo: String,
    reference: &'a str,
    signed_in_as: Option<&'a str>,
    /// The best way on comes first.
    ways: Vec<Way<'a>>,
    operator: bool,
}

#[derive(Debug, Serialize)]
struct Way<'a> {
    label: String,
    url: &'a str,
}

/// The ways on from an error, the best one first: text keys and addresses.
fn ways(page: &page::Error) -> Vec<(&'static str, &str)> {
    let best = page.ending.facts().best;
    let retry = page.retry_url.as_deref().map(|url| (WayOn::Retry, "error-retry", url));
    let sign_in = page.sign_in_url.as_deref().and_then(|url| match best {
        // Another sign-in is no help when the app does not answer or the address is wrong.
        WayOn::Home => None,
        WayOn::SomeoneElse => Some((WayOn::SomeoneElse, "error-someone-else", url)),
        WayOn::SignIn => Some((WayOn::SignIn, "error-sign-in", url)),
        WayOn::Retry | WayOn::AnotherWay => {
            page.ending.is_about_signing_in().then_some((WayOn::AnotherWay, "error-another-way", url))
        }
    });
    // Trying again what an operator must mend first, or a refused address, would only annoy.
    let retry = retry.filter(|_| matches!(best, WayOn::Retry | WayOn::SomeoneElse));
    let home = (best == WayOn::Home).then_some((WayOn::Home, "error-home", "/"));
    let mut ways: Vec<_> = [retry, sign_in, home].into_iter().flatten().collect();
    ways.sort_by_key(|(way, ..)| *way != best);
    ways.into_iter().map(|(_, key, url)| (key, url)).collect()
}

fn add_error_headers(headers: &mut HeaderMap, ending: ErrorPage) {
    if let Some(seconds) = ending.facts().retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if ending.status() == StatusCode::UNAUTHORIZED {
        // A 401 must name a scheme (RFC 9110, 15.5.2); this one makes no browser ask for a password.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Cookie realm=\"brama\""));
    }
}

/// The origin a logo is loaded from, when it is not our own.
fn logo_origin(logo: &str, public_url: &Url) -> Result<Option<Url>, PagesError> {
    let bad = || PagesError::Logo(logo.to_owned());
    if logo.starts_with('/') && !logo.starts_with("//") && !logo.contains('\\') {
        return Ok(None);
    }
    let url = Url::parse(logo).map_err(|_| bad())?;
    // A gateway tried out over http may show a logo over http, too.
    let fine = url.scheme() == "https" || (url.scheme() == "http" && public_url.scheme() == "http");
    if fine { Ok(Some(url)) } else { Err(bad()) }
}

fn check_support(support: &str) -> Result<(), PagesError> {
    match Url::parse(support) {
        Ok(url) if matches!(url.scheme(), "https" | "http" | "mailto") => Ok(()),
        _ => Err(PagesError::Support(support.to_owned())),
    }
}
