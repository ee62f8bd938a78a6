//! Renewal: a session is kept alive at its provider the way its origin allows.
//!
//! It runs beside the requests, never before them: the session serves while it is valid. One renewal at a time per
//! session across all replicas (a lease in the store, prolonged while the provider is asked), because a provider that
//! rotates refresh tokens takes a second use for theft and kills the login (threats 8.5). Only the provider's definite
//! "no" ends the session.

use std::{sync::Arc, time::Duration};

use super::Login;
use crate::{
    clock::Timestamp,
    event::{Event, What},
    provider::{Provider, ProviderError, Renewed},
    secret,
    session::{Replaced, SessionId, StoreError, live::Live, record::Found},
};

/// How long the lease lasts unless it is prolonged.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How often it is prolonged.
const PROLONG_EVERY: Duration = Duration::from_secs(10);
/// How long after a failure that decides nothing the next try may begin.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How often the store is asked to take a renewed record before giving up.
const WRITE_TRIES: u32 = 6;

/// The lease that lets one renewal at a time at the tokens of this session.
pub(super) fn lease(live: &Live) -> String {
    format!("renew:{}", live.key().hex())
}

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The session has new tokens.
    Done,
    /// Another replica does it, or has just done it.
    Elsewhere,
    /// It failed for now: the session goes on, a later request tries again.
    Later,
    /// The provider said no, or the session has ended meanwhile.
    Ended,
}

impl Login {
    /// True when `live` is due for renewal and this caller is the one to do it: it must call [`renew`](Self::renew).
    pub fn claim_renewal(&self, live: &Live, now: Timestamp) -> bool {
        live.claim_renewal(now, self.renew_before)
    }

    /// Renews a claimed session.
    pub async fn renew(&self, id: &SessionId, live: &Arc<Live>) -> Renewal {
        let holder = secret::random_text();
        let lease = lease(live);
        let outcome = match self.sessions.store().lease(&lease, &holder, LEASE, self.clock.now()).await {
            Ok(true) => {
                let outcome = self.renew_alone(id, live, &lease, &holder).await;
                // A lease that cannot be given back runs out by itself.
                let _ = self.sessions.store().release(&lease, &holder).await;
                outcome
            }
            Ok(false) => Renewal::Elsewhere,
            Err(_) => Renewal::Later,
        };
        let retry = matches!(outcome, Renewal::Elsewhere | Renewal::Later).then(|| self.clock.now().plus(RETRY_AFTER));
        live.renewal_ended(retry);
        outcome
    }

    /// Renews while holding the lease.
    async fn renew_alone(&self, id: &SessionId, live: &Arc<Live>, lease: &str, holder: &str) -> Renewal {
        // Somebody may have renewed between our reading and our lease: look again, past the cache. Besides, only the record
        // has the tokens.
        let found = match self.sessions.record(live.key()).await {
            Ok(Some(found)) if found.version == live.version() => found,
            Ok(Some(_)) => return Renewal::Elsewhere,
            Ok(None) => return Renewal::Ended,
            Err(_) => return Renewal::Later,
        };
        let origin = &found.record.session.origin;
        let Some(provider) = self.provider(&origin.provider).cloned() else { return Renewal::Later };
        let Some(tokens) = self.sessions.tokens_of(id, &found.record) else { return Renewal::Later };
        let asked = tokio::select! {
            asked = provider.renew(&tokens, origin, self.clock.now()) => asked,
            // The lease is prolonged for as long as the provider is asked; this arm never ends first.
            never = self.keep_lease(lease, holder) => never,
        };
        match asked {
            Ok(renewed) => self.record(id, &found, &renewed, &*provider).await,
            Err(error) => self.renewal_failed(&found, &error).await,
        }
    }

    async fn keep_lease(&self, lease: &str, holder: &str) -> Result<Renewed, ProviderError> {
        loop {
            tokio::time::sleep(PROLONG_EVERY).await;
            let _ = self.sessions.store().lease(lease, holder, LEASE, self.clock.now()).await;
        }
    }

    /// Writes the new tokens before anybody uses them; a store that stumbles is asked again, because the old refresh
    /// token may be dead already.
    async fn record(&self, id: &SessionId, found: &Found, renewed: &Renewed, provider: &dyn Provider) -> Renewal {
        let mut pause = Duration::from_millis(100);
        let told = self.renewal_event(found, What::Renewed);
        let letters = self.events.letters(std::slice::from_ref(&told));
        for _ in 0..WRITE_TRIES {
            match self.sessions.renewed(id, found, renewed, &letters).await {
                Ok(Replaced::Done) => {
                    self.renewal_counted(found, "renewed");
                    self.events.tell(&told);
                    return Renewal::Done;
                }
                Ok(Replaced::Gone) => {
                    // Signed out meanwhile: the new tokens must not outlive the session.
                    let _ = provider.revoke(&renewed.tokens).await;
                    return Renewal::Ended;
                }
                Ok(Replaced::Changed) | Err(StoreError::Unavailable(_)) => {}
                Err(StoreError::Corrupt(_)) => break,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.renewal_failed_for_now(found, "not_recorded").await
    }

    async fn renewal_failed(&self, found: &Found, error: &ProviderError) -> Renewal {
        tracing::warn!(provider = %found.record.session.origin.provider, session = ?found.key, %error, "a renewal failed");
        let reason = error.reason();
        match error {
            ProviderError::GrantRefused(_) | ProviderError::NotAllowed(_) => {
                let told = self.renewal_event(found, What::Revoked { reason });
                match self.sessions.end(&found.key, &self.events.letters(std::slice::from_ref(&told))).await {
                    Ok(ended) => {
                        self.renewal_counted(found, reason);
                        // Somebody may have signed out meanwhile.
                        if ended {
                            self.metrics.sessions_ended("renewal_refused", 1);
                            self.events.tell(&told);
                        }
                        Renewal::Ended
                    }
                    Err(_) => Renewal::Later,
                }
            }
            ProviderError::Unavailable(_) | ProviderError::Misconfigured(_) | ProviderError::Untrusted(_) => {
                self.renewal_failed_for_now(found, reason).await
            }
        }
    }

    async fn renewal_failed_for_now(&self, found: &Found, reason: &'static str) -> Renewal {
        self.renewal_counted(found, reason);
        self.events.note(&self.renewal_event(found, What::RenewalFailed { reason })).await;
        Renewal::Later
    }

    fn renewal_counted(&self, found: &Found, outcome: &'static str) {
        self.metrics.renewal(&found.record.session.origin.provider, outcome);
    }

    fn renewal_event(&self, found: &Found, what: What) -> Event {
        let session = &found.record.session;
        Event {
            account: Some(session.account),
            provider: Some(session.origin.provider.clone()),
            ..Event::new(self.clock.now(), what).of_session(&found.key.hex())
        }
    }
}
