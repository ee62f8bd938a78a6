//! `[portal]`: our own pages.

use std::path::PathBuf;

use url::Url;

use super::problem::Problems;
use super::value::{At, Check, section};

section! {
    /// Our own pages: sign-in, account, errors, signed out.
    pub struct Portal {
        /// Path prefix of our own pages and callbacks.
        prefix: String = "/oauth2".into(),
        /// Address people reach the gateway by, scheme and host only; callbacks and redirects are built from it, never from the request.
        public_url: Url,
        /// Further hosts that may be returned to after login and served, with their port unless it is the usual one; "*.example.com" takes every name one label below, "**.example.com" any depth.
        allowed_hosts: Vec<String> = vec![],
        /// Name shown on every page.
        title: String = "Sign in".into(),
        /// Address of a logo (https, or a path served by the app).
        logo_url: Option<String> = None,
        /// Accent colour, as #rrggbb.
        accent: String = "#2f6feb".into(),
        /// Address of help for people who cannot sign in (https or mailto).
        support_url: Option<String> = None,
        /// Folder with templates and assets that override the built-in ones by file name; read again when they change.
        templates: Option<PathBuf> = None,
        /// Language when the browser asks for none we have: en or uk.
        language: String = "en".into(),
        /// Skip the sign-in page when there is only one provider.
        skip_chooser: bool = true,
        /// Where to go after sign-out when the request does not say.
        after_sign_out: String = "/oauth2/signed_out".into(),
    }
}

impl Check for Portal {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let prefix = &self.prefix;
        if !prefix.starts_with('/')
            || prefix.ends_with('/')
            || prefix.contains("//")
            || prefix.contains(['?', '#', '%', ' '])
        {
            at.problem_at(
                "prefix",
                problems,
                format!("\"{prefix}\" is not a plain path"),
                "write it like \"/oauth2\", without a trailing slash",
            );
        }
        if !matches!(self.public_url.scheme(), "http" | "https")
            || self.public_url.path() != "/"
            || self.public_url.query().is_some()
        {
            at.problem_at(
                "public_url",
                problems,
                "only scheme, host and port belong here",
                "write it like \"https://app.example.com\"",
            );
        }
        let accent = self.accent.strip_prefix('#').unwrap_or_default();
        if accent.len() != 6 || !accent.chars().all(|c| c.is_ascii_hexdigit()) {
            at.problem_at(
                "accent",
                problems,
                format!("\"{}\" is not a colour", self.accent.escape_debug()),
                "write it like \"#2f6feb\"",
            );
        }
        if !matches!(self.language.as_str(), "en" | "uk") {
            at.problem_at("language", problems, "there is no such translation", "write \"en\" or \"uk\"");
        }
    }
}
