//! Our own addresses: which page or step answers which path under the prefix.
//!
//! Runs on the control plane. A handler reads an [`Asked`], calls [`Login`] and turns the enum that comes back into a
//! page; no handler decides anything about identity itself. State changes only by POST with a form token, in a login
//! step that is bound to the browser, or by a provider's message that passed its checks (threats 9).

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE, USER_AGENT, VARY,
    },
};
use url::Url;

use super::{ErrorPage, Form, FormTokens, Language, Pages, page};
use crate::{
    body::Body,
    clock::Clock,
    directory::Directory,
    gateway::assertion::Asserter,
    login::{
        Login, Visitor,
        return_to::{AllowedHosts, ReturnTo},
    },
    session::{SessionId, Sessions, StoreError},
};

mod account;
mod callback;
mod link;
mod provider_logout;
mod sign_in;
mod sign_out;
mod told;
#[cfg(test)]
mod wanted_tests;

/// A request for one of our own addresses.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// The path below the prefix, without a leading slash: `sign_in`, `callback/google`.
    pub path: String,
    /// The raw query, without the question mark.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, bounded by the gateway.
    pub body: Bytes,
    /// The session id it brought.
    pub session_id: Option<SessionId>,
    /// From where, after trusted forwarding.
    pub address: Option<IpAddr>,
    /// Our own origin as this browser reaches it.
    pub base: Url,
    /// The request's reference.
    pub reference: String,
}

impl Asked {
    /// The visitor, for login steps.
    pub(super) fn visitor(&self) -> Visitor<'_> {
        Visitor {
            base: &self.base,
            headers: &self.headers,
            session_id: self.session_id.clone(),
            address: self.address,
            user_agent: self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
            request: &self.reference,
        }
    }

    /// The first value of the query parameter `name`.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        first(&self.query, name)
    }

    /// The first value of the form field `name`; none unless the body is a form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        first(self.form()?, name)
    }

    /// The value of the form field `name` when it is there exactly once: of two nobody knows which is meant.
    pub(super) fn only_field(&self, name: &str) -> Option<String> {
        let mut values = form_urlencoded::parse(self.form()?.as_bytes()).filter(|(key, _)| key == name);
        let value = values.next()?.1.into_owned();
        values.next().is_none().then_some(value)
    }

    /// The body, when it is a form.
    fn form(&self) -> Option<&str> {
        let is_form = self
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
        is_form.then(|| std::str::from_utf8(&self.body).ok()).flatten()
    }

    /// True when the caller wants JSON rather than a page.
    fn wants_json(&self) -> bool {
        let accept = self.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        accept.contains("application/json") && !accept.contains("text/html")
    }
}

fn first(encoded: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(encoded.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Our own addresses and what answers them.
#[derive(Debug)]
pub struct Site {
    login: Arc<Login>,
    sessions: Arc<Sessions>,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    pages: Arc<Pages>,
    asserter: Arc<Asserter>,
    prefix: String,
    allowed: AllowedHosts,
    language: Language,
    skip_chooser: bool,
    after_sign_out: String,
    account_forms: FormTokens,
    link_forms: FormTokens,
    sign_out_forms: FormTokens,
}

/// What [`Site::new`] needs.
#[derive(Debug)]
pub struct SiteParts {
    /// The login flows.
    pub login: Arc<Login>,
    /// The pages.
    pub pages: Arc<Pages>,
    /// The keys that sign assertions, for `jwks`.
    pub asserter: Arc<Asserter>,
    /// Hosts that may be returned to.
    pub allowed: AllowedHosts,
}

impl Site {
    /// The site as `config` wants it.
    pub fn new(config: &crate::config::portal::Portal, parts: SiteParts) -> Self {
        let SiteParts { login, pages, asserter, allowed } = parts;
        Self {
            account_forms: FormTokens::new(login.keys.clone(), Form::Account),
            link_forms: FormTokens::new(login.keys.clone(), Form::Link),
            sign_out_forms: FormTokens::new(login.keys.clone(), Form::SignOut),
            sessions: login.sessions.clone(),
            directory: login.directory.clone(),
            clock: login.clock.clone(),
            prefix: config.prefix.clone(),
            language: Language::from_tag(&config.language).unwrap_or(Language::English),
            skip_chooser: config.skip_chooser,
            after_sign_out: config.after_sign_out.clone(),
            login,
            pages,
            asserter,
            allowed,
        }
    }

    /// The login flows.
    pub fn login(&self) -> &Arc<Login> {
        &self.login
    }

    /// Hosts that may be returned to.
    pub fn allowed(&self) -> &AllowedHosts {
        &self.allowed
    }

    /// Answers a request for one of our own addresses.
    pub async fn answer(&self, asked: &Asked) -> Response<Body> {
        let (step, rest) = asked.path.split_once('/').unwrap_or((&asked.path, ""));
        match (step, rest, &asked.method) {
            ("sign_in" | "", "", &Method::GET | &Method::HEAD) => self.sign_in(asked).await,
            ("start", _, &Method::GET | &Method::HEAD) => self.start(asked, rest).await,
            ("callback", _, &Method::GET) => self.callback(asked, rest, &asked.query).await,
            ("sign_out", "", &Method::GET | &Method::HEAD) => self.ask_sign_out(asked).await,
            ("sign_out", "", &Method::POST) => self.sign_out(asked).await,
            ("signed_out", "", &Method::GET | &Method::HEAD) => self.signed_out(asked),
            ("account", "", &Method::GET | &Method::HEAD) => self.account(asked, None).await,
            ("account", "", &Method::POST) => self.end_sessions(asked).await,
            ("userinfo", "", &Method::GET | &Method::HEAD) => self.userinfo(asked).await,
            ("jwks", "", &Method::GET | &Method::HEAD) => self.jwks(),
            ("backchannel_logout", name, &Method::POST) if !name.is_empty() => {
                self.backchannel_logout(asked, name).await
            }
            ("deauthorize", name, &Method::POST) if !name.is_empty() => self.deauthorize(asked, name).await,
            ("static", name, &Method::GET | &Method::HEAD) => self
                .pages
                .asset(name, Some(&asked.query).filter(|query| !query.is_empty()).map(String::as_str), &asked.headers)
                .unwrap_or_else(|| self.error(asked, ErrorPage::NotFound)),
            (
                "sign_in" | "start" | "callback" | "sign_out" | "signed_out" | "account" | "userinfo" | "jwks"
                | "static" | "backchannel_logout" | "deauthorize",
                ..,
            ) => self.error(asked, ErrorPage::MethodNotAllowed),
            _ => self.error(asked, ErrorPage::NotFound),
        }
    }

    /// An error page, or its JSON, with the ways on that every ending has.
    pub fn error(&self, asked: &Asked, ending: ErrorPage) -> Response<Body> {
        let error =
            page::Error { sign_in_url: Some(self.sign_in_url(None)), ..page::Error::new(ending, &asked.reference) };
        self.error_page(asked, &error)
    }

    /// An error page as it is given, or its JSON.
    pub fn error_page(&self, asked: &Asked, error: &page::Error) -> Response<Body> {
        if asked.wants_json() {
            self.pages.error_json(error, self.language_of(asked))
        } else {
            self.pages.error(error, self.language_of(asked))
        }
    }

    /// Answers a request that the gateway turned away: a page for people, JSON for programs.
    pub fn turned_away(&self, headers: &HeaderMap, is_page: bool, error: &page::Error) -> Response<Body> {
        let language = Language::negotiate(headers.get(ACCEPT_LANGUAGE), self.language);
        if is_page { self.pages.error(error, language) } else { self.pages.error_json(error, language) }
    }

    /// The address of sign-in for somebody on the way to `wanted`; with `choose`, always with the choice of providers.
    pub fn sign_in_from(&self, wanted: Option<&str>, choose: bool) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if choose {
            query.append_pair("choose", "1");
        }
        if let Some(wanted) = wanted {
            query.append_pair("rd", wanted);
        }
        format!("{}/sign_in?{}", self.prefix, query.finish())
    }

    fn store_down(&self, asked: &Asked, error: &StoreError) -> Response<Body> {
        tracing::error!(%error, request = asked.reference, "the session store did not answer");
        self.error(asked, ErrorPage::StoreUnavailable)
    }

    fn language_of(&self, asked: &Asked) -> Language {
        Language::negotiate(asked.headers.get(ACCEPT_LANGUAGE), self.language)
    }

    /// The sign-in page, always with the choice, on the way to `return_to`.
    fn sign_in_url(&self, return_to: Option<&ReturnTo>) -> String {
        self.sign_in_from(return_to.map(ReturnTo::as_str), true)
    }

    /// Where a login by `provider` begins, on the way to `return_to`.
    fn start_url(&self, provider: &str, return_to: &ReturnTo) -> String {
        let rd = form_urlencoded::Serializer::new(String::new()).append_pair("rd", return_to.as_str()).finish();
        format!("{}/start/{provider}?{rd}", self.prefix)
    }

    /// Where this request wants to go afterwards: `rd`, else `X-Auth-Request-Redirect`, else nowhere in particular.
    /// Whatever may not be gone to counts as not said.
    fn wanted(&self, asked: &Asked, rd: Option<String>) -> Option<ReturnTo> {
        let header =
            || asked.headers.get("x-auth-request-redirect").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let raw = rd.or_else(header)?;
        ReturnTo::check(&raw, &asked.base, &self.allowed).ok()
    }
}

/// A redirect to another page, by GET (RFC 9110, 15.4.4: 303 after a form or a login step).
pub(super) fn see_other(location: &str, cookies: Vec<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    match HeaderValue::try_from(location) {
        Ok(location) => headers.insert(LOCATION, location),
        // Only a URL with controls gets here, and none of ours has any.
        Err(_) => headers.insert(LOCATION, HeaderValue::from_static("/")),
    };
    private(headers);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// What depends on who asks is nobody else's: not a cache's (threats 8.7), and its address nobody's referrer, since
/// callbacks carry codes (RFC 9700, 4.2.4).
fn private(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Cookie"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    private(response.headers_mut());
    response
}
