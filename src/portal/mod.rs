//! The portal: our own pages, below `{prefix}` (`/oauth2` by default).
//!
//! [`Pages`] turns what a page needs to know ([`page`]) into a finished answer: HTML in the reader's [`Language`], with
//! the strict headers of `header`. What went wrong is an [`ErrorPage`]; its status, word and ways on stand in one
//! table. [`FormTokens`] guard the forms.
//!
//! The rest of the crate may rely on this: drawing a page never fails and never waits for anything but a look at the
//! operator's folder; whatever a stranger chose is escaped; no page needs or allows a script; a form leads to us and
//! to the addresses its page was told of, nowhere else.
//!
//! Deliberately absent: what a request means, sessions, providers, stores. A page is told everything.
//!
//! To add a page: a type with `samples()` in [`page`], a template in `templates/` and its line in `template`, a method
//! of [`Pages`], a row in `tests`. To add a text: a line in every file of `messages/`. To add a language: a file there, a
//! variant of [`Language`], an arm in `message` and in `template`. To add an ending: see `ending`.

mod accent;
mod asset;
mod browser;
mod ending;
mod form_token;
mod header;
mod language;
mod message;
mod moment;
pub mod page;
mod pages;
pub mod site;
mod template;
mod theme;

#[cfg(test)]
mod tests;

pub use ending::ErrorPage;
pub use form_token::{BadFormToken, FORM_TOKEN_FIELD, FORM_TOKEN_LIFE, Form, FormTokens};
pub use language::Language;
pub use message::BadMessages;
pub use pages::{Pages, PagesError};
pub use theme::ThemeError;
