//! A provider's word that somebody is gone: back-channel logout, Facebook's deauthorisation.
//!
//! The message passes every check of its provider first ([`Provider::hear`](crate::provider::Provider::hear)); it is
//! then heard once, and ends sessions of that issuer only. A message about sessions we do not have is fine: they may
//! have ended before.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Login, Visitor};
use crate::{
    event::What,
    identity::{AccountId, IdentityKey, ProviderName},
    provider::{Farewell, Message, ProviderError},
    secret::sha256,
    session::{SessionKey, StoreError, Whose},
};

/// How a message ends.
#[derive(Debug)]
pub enum Heard {
    /// The sessions it names are over.
    Ended {
        /// How many there were.
        sessions: usize,
    },
    /// No provider has this name.
    UnknownProvider,
    /// It failed a check, or this kind of provider sends none such: nothing has changed.
    Refused(ProviderError),
    /// It came before: nothing has changed.
    Repeated,
    /// The provider's keys cannot be had, so it cannot be checked now.
    Unchecked(ProviderError),
    /// The session store does not answer: it must be sent again.
    StoreDown(StoreError),
}

impl Heard {
    /// A short, stable word for metrics.
    fn word(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::UnknownProvider => "unknown_provider",
            Self::Refused(_) => "refused",
            Self::Repeated => "repeated",
            Self::Unchecked(_) => "unchecked",
            Self::StoreDown(_) => "store_down",
        }
    }
}

impl Login {
    /// Takes a message that says to come from the provider called `name`.
    pub async fn hear(&self, name: &ProviderName, message: Message<'_>, visitor: &Visitor<'_>) -> Heard {
        let Some(provider) = self.provider(name) else { return Heard::UnknownProvider };
        let reason = match message {
            Message::LogoutToken(_) => "backchannel_logout",
            Message::SignedRequest(_) => "deauthorized",
        };
        let heard = match provider.hear(message, self.clock.now()).await {
            Ok(farewell) => self.bid(name, &farewell, reason, visitor).await,
            Err(error @ ProviderError::Unavailable(_)) => Heard::Unchecked(error),
            Err(error) => Heard::Refused(error),
        };
        self.metrics.provider_logout(name, heard.word());
        heard
    }

    /// Ends what the message names, unless it came before.
    async fn bid(
        &self,
        name: &ProviderName,
        farewell: &Farewell,
        reason: &'static str,
        visitor: &Visitor<'_>,
    ) -> Heard {
        let now = self.clock.now();
        let marker = marker(farewell);
        // A lease rather than a mark that stays: when the sessions cannot be ended after all it is given back, and the
        // provider's next try is not taken for a repetition.
        match self.sessions.store().lease(&marker, visitor.request, farewell.heard_until.since(now), now).await {
            Ok(true) => {}
            Ok(false) => return Heard::Repeated,
            Err(error) => return Heard::StoreDown(error),
        }
        let Some(whose) = whose(farewell) else { return Heard::Ended { sessions: 0 } };
        let telling = |key: &SessionKey, account: &AccountId| {
            let revoked = self.event(What::Revoked { reason }, Some(*account), Some(name.clone()), visitor);
            self.events.letters(&[revoked.of_session(&key.hex())])
        };
        match self.sessions.end_all(&whose, None, &telling).await {
            Ok(ended) => {
                self.metrics.sessions_ended(reason, ended.len() as u64);
                if !ended.is_empty() {
                    let account = self.account_of(farewell).await;
                    self.events.tell(&self.event(What::Revoked { reason }, account, Some(name.clone()), visitor));
                }
                Heard::Ended { sessions: ended.len() }
            }
            Err(error) => {
                // Best effort: a store that is away forgets it in time.
                let _ = self.sessions.store().release(&marker, visitor.request).await;
                Heard::StoreDown(error)
            }
        }
    }

    /// Whose sessions they were, for the event; an unreachable directory leaves it unsaid.
    async fn account_of(&self, farewell: &Farewell) -> Option<AccountId> {
        let key = IdentityKey { issuer: farewell.issuer.clone(), subject: farewell.subject.clone()? };
        self.directory.find_by_identity(&key).await.ok().flatten().map(|account| account.id)
    }
}

/// Which sessions are meant: the one of the provider's own session id where it tells one, else all of the person's
/// (Back-Channel Logout 1.0, 2.7).
fn whose(farewell: &Farewell) -> Option<Whose> {
    match (&farewell.sid, &farewell.subject) {
        (Some(sid), _) => Some(Whose::Sid(farewell.issuer.clone(), sid.clone())),
        (None, Some(subject)) => {
            Some(Whose::Identity(IdentityKey { issuer: farewell.issuer.clone(), subject: subject.clone() }))
        }
        (None, None) => None,
    }
}

/// What the message is known by; ids are unique within an issuer only (RFC 7519, 4.1.7).
fn marker(farewell: &Farewell) -> String {
    let id = [farewell.issuer.as_str().as_bytes(), &[0], farewell.id.as_bytes()].concat();
    format!("farewell:{}", URL_SAFE_NO_PAD.encode(sha256(&id)))
}
