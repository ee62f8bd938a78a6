//! Signing out: here, everywhere, and at the provider where it can be.
//!
//! The order is that of threats 9: the session ends in the store first, then the cookie is cleared, then the provider's
//! tokens are revoked (best effort, in the background), then the browser is sent to sign out at the provider.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Login, Visitor, remembered::Remembered, return_to::ReturnTo};
use crate::{
    clock::Timestamp,
    event::{Event, What},
    identity::AccountId,
    provider::{Provider, Tokens},
    secret::Purpose,
    session::{SessionKey, StoreError, Whose, record::Found},
};

/// How much of a sign-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// This browser.
    Here,
    /// All sessions of the account.
    Everywhere,
    /// All sessions of the account but this one.
    Elsewhere,
}

/// What a sign-out leads to.
#[derive(Debug)]
pub struct SignedOut {
    /// `Set-Cookie` values.
    pub cookies: Vec<HeaderValue>,
    /// The provider's sign-out page, when the browser must go there.
    pub at_provider: Option<Url>,
    /// How many sessions ended.
    pub sessions: usize,
}

/// How long the way back from a provider's sign-out page stays open.
const NOTICE_LIFE: Duration = Duration::from_secs(600);

/// Where to go on the way back from a provider's sign-out page; sealed into its `state`.
#[derive(Serialize, Deserialize)]
struct Notice {
    to: String,
    until: Timestamp,
}

impl Login {
    /// Signs out. Without a session only the cookies go.
    ///
    /// # Errors
    /// When the store does not acknowledge the end: the person is still signed in, and must be told so.
    pub async fn sign_out(
        self: &Arc<Self>,
        extent: Extent,
        return_to: &ReturnTo,
        visitor: &Visitor<'_>,
    ) -> Result<SignedOut, StoreError> {
        // The record, not what is cached: it has the tokens, which are no longer to be had when the session has ended.
        let Some(found) = self.record_of(visitor).await? else {
            return Ok(SignedOut { cookies: self.signed_out_cookies(visitor), at_provider: None, sessions: 0 });
        };
        let session = &found.record.session;
        let (account, by) = (Some(session.account), Some(session.origin.provider.clone()));
        let sessions = self.end(extent, &found, visitor).await?;
        self.metrics.sessions_ended("signed_out", sessions as u64);
        self.events.tell(&self.event(What::SignedOut { sessions }, account, by, visitor));
        if extent == Extent::Elsewhere {
            return Ok(SignedOut { cookies: Vec::new(), at_provider: None, sessions });
        }
        let tokens = visitor.session_id.as_ref().and_then(|id| self.sessions.tokens_of(id, &found.record));
        let provider = self.provider(&session.origin.provider).cloned();
        let at_provider = match &provider {
            Some(provider) => self.at_provider(&**provider, tokens.as_ref(), return_to, visitor).await,
            None => None,
        };
        if let (Some(provider), Some(tokens)) = (provider, tokens) {
            revoke_in_background(provider, tokens);
        }
        Ok(SignedOut { cookies: self.signed_out_cookies(visitor), at_provider, sessions })
    }

    /// Ends one session of this visitor's account, by its key. False when it is not theirs or has ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end_own(&self, key: &SessionKey, visitor: &Visitor<'_>) -> Result<bool, StoreError> {
        let Some(live) = visitor.session(&self.sessions).await? else { return Ok(false) };
        let account = live.session().account;
        let own = self.sessions.list(&account).await?.iter().any(|listed| listed.key == *key);
        if !own {
            return Ok(false);
        }
        let told = self.signed_out_event(key, account, visitor);
        let ended = self.sessions.end(key, &self.events.letters(std::slice::from_ref(&told))).await?;
        if ended {
            self.events.tell(&told);
        }
        Ok(ended)
    }

    /// Where to go on the way back from a provider's sign-out page; nothing for a state that is not ours.
    pub fn after_provider(&self, state: &str) -> Option<ReturnTo> {
        let opened = self.keys.open_text(Purpose::Notice, b"signed out", state).ok()?;
        let notice: Notice = serde_json::from_slice(&opened).ok()?;
        (self.clock.now() < notice.until).then(|| ReturnTo::checked_before(notice.to))
    }

    async fn record_of(&self, visitor: &Visitor<'_>) -> Result<Option<Found>, StoreError> {
        match visitor.session_key() {
            Some(key) => self.sessions.record(&key).await,
            None => Ok(None),
        }
    }

    /// Ends the sessions meant, and tells of each in the same step.
    async fn end(&self, extent: Extent, found: &Found, visitor: &Visitor<'_>) -> Result<usize, StoreError> {
        let (key, account) = (&found.key, found.record.session.account);
        let all = Whose::Account(account);
        let telling = |key: &SessionKey, account: &AccountId| {
            self.events.letters(&[self.signed_out_event(key, *account, visitor)])
        };
        match extent {
            Extent::Here => self.sessions.end(key, &telling(key, &account)).await.map(usize::from),
            Extent::Everywhere => self.sessions.end_all(&all, None, &telling).await.map(|ended| ended.len()),
            Extent::Elsewhere => self.sessions.end_all(&all, Some(key), &telling).await.map(|ended| ended.len()),
        }
    }

    fn signed_out_event(&self, key: &SessionKey, account: AccountId, visitor: &Visitor<'_>) -> Event {
        self.event(What::SignedOut { sessions: 1 }, Some(account), None, visitor).of_session(&key.hex())
    }

    async fn at_provider(
        &self,
        provider: &dyn Provider,
        tokens: Option<&Tokens>,
        return_to: &ReturnTo,
        visitor: &Visitor<'_>,
    ) -> Option<Url> {
        let mut back = visitor.base.clone();
        back.set_path(&format!("{}/signed_out", self.prefix));
        let notice = Notice { to: return_to.as_str().to_owned(), until: self.clock.now().plus(NOTICE_LIFE) };
        let state =
            self.keys.seal_text(Purpose::Notice, b"signed out", &serde_json::to_vec(&notice).unwrap_or_default());
        provider.end_session_url(tokens.and_then(|tokens| tokens.id_token.as_ref()), &back, &state).await
    }

    /// Clears the session; the remembered origin stays, marked so that the person chooses next time.
    fn signed_out_cookies(&self, visitor: &Visitor<'_>) -> Vec<HeaderValue> {
        let mut cookies = vec![self.cookies.clear_session()];
        let remembered = self.cookies.origin(visitor.headers).and_then(|sealed| Remembered::open(&self.keys, sealed));
        if let Some(remembered) = remembered {
            let sealed = Remembered { signed_out: true, ..remembered }.seal(&self.keys);
            cookies.push(self.cookies.set_origin(&sealed, self.remember_origin));
        }
        cookies
    }
}

/// Revokes at the provider without keeping the person waiting; bounded by the provider's own time limit.
fn revoke_in_background(provider: Arc<dyn Provider>, tokens: Tokens) {
    tokio::spawn(async move {
        if let Err(error) = provider.revoke(&tokens).await {
            tracing::info!(provider = %provider.name(), %error, "tokens were not revoked at the provider");
        }
    });
}
