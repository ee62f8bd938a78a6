//! Linking: one account, several ways to sign in.
//!
//! Nothing is ever linked because two addresses look alike (threats 10). A further identity is linked by proof alone: a
//! login to the account not long ago, and then a login at the other provider in the same browser, in an attempt that is
//! sealed for this account. When somebody else is signed in by the time the provider answers, nothing happens.

use std::{sync::Arc, time::Duration};

use super::{
    Login, Visitor,
    attempt::Attempt,
    callback::{Ending, KEEP_DONE},
    renew,
};
use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError, Linked, Unlinked},
    event::{Event, What, sink::Letter},
    identity::{AccountId, IdentityKey, Origin, ProviderName},
    provider::Redeemed,
    secret,
    session::{SessionId, SessionKey, StoreError, Whose, live::Live},
};

/// How long after its sign-in a session may link: both logins must be fresh (threats 10).
const FRESH: Duration = Duration::from_secs(15 * 60);
/// How long a renewal under way is waited for, and how often it is looked at.
const RENEWAL_TRIES: u32 = 50;
const RENEWAL_PAUSE: Duration = Duration::from_millis(100);

/// How taking an identity from an account ends.
#[derive(Debug)]
pub enum Unlinking {
    /// It no longer opens the account, and the sessions that came by it are over.
    Done {
        /// Its provider.
        provider: ProviderName,
    },
    /// It is the one this session came by, or the only one.
    Needed,
    /// The account has no such identity, or nobody is signed in.
    NotThere,
    /// The directory does not answer: nothing has changed, but for sessions that ended.
    DirectoryDown(DirectoryError),
    /// The session store does not answer: nothing has changed.
    StoreDown(StoreError),
}

/// What an identity is called in a form: tells nothing, and fits into one field.
pub fn identity_name(key: &IdentityKey) -> String {
    let both = [key.issuer.as_str().as_bytes(), &[0], key.subject.as_str().as_bytes()].concat();
    secret::sha256(&both).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_fresh(signed_in_at: Timestamp, now: Timestamp) -> bool {
    now.since(signed_in_at) <= FRESH
}

impl Login {
    /// Whether this session's own login is fresh enough to link another identity.
    pub fn may_link(&self, live: &Live) -> bool {
        is_fresh(live.session().created_at, self.clock.now())
    }

    /// The session of this browser, if it is still one of the account that wants to link.
    pub(super) async fn still_of(
        &self,
        account: AccountId,
        visitor: &Visitor<'_>,
    ) -> Result<Option<Arc<Live>>, StoreError> {
        let live = visitor.session(&self.sessions).await?;
        Ok(live.filter(|live| live.session().account == account))
    }

    /// Ties a verified identity to the account of `live`, and gives the session a new id (threats 8.1).
    pub(super) async fn link(
        &self,
        mut attempt: Attempt,
        live: &Live,
        redeemed: &Redeemed,
        visitor: &Visitor<'_>,
    ) -> Ending {
        let (account, provider) = (live.session().account, attempt.provider.clone());
        let is_new = match self.directory.find(&account).await {
            Ok(Some(known)) if known.disabled => {
                self.refused(&provider, "disabled", visitor).await;
                return Ending::Disabled { provider };
            }
            Ok(Some(known)) => {
                !known.identities.iter().any(|identity| identity.origin.key == redeemed.identity.origin().key)
            }
            Ok(None) => return Ending::LinkLost { provider },
            Err(error) => return self.link_failed(error, &provider, visitor).await,
        };
        let linked = match self.directory.link(&account, &redeemed.identity, self.clock.now()).await {
            Ok(Linked::Done(linked)) => linked,
            Ok(Linked::Taken(_)) => {
                self.refused(&provider, "link_taken", visitor).await;
                return Ending::LinkTaken { provider };
            }
            Ok(Linked::NoAccount) => return Ending::LinkLost { provider },
            Err(error) => return self.link_failed(error, &provider, visitor).await,
        };
        let told = self.linking(&linked, redeemed.identity.origin(), visitor);
        attempt.done = true;
        let state = attempt.state();
        let done = Attempt::id(&state).unwrap_or_default();
        let mut cookies = vec![self.cookies.set_login(done, &attempt.seal(&self.keys, done), KEEP_DONE)];
        let renamed = self.rename(live, &self.events.letters(told.as_slice()), visitor).await;
        match told.filter(|_| is_new) {
            Some(told) if matches!(renamed, Ok(Some(_))) => self.events.tell(&told),
            // The identity is linked all the same.
            Some(told) => self.events.note(&told).await,
            None => {}
        }
        match renamed {
            Ok(Some(id)) => cookies.push(self.cookies.set_session(&id, None)),
            // It was ended meanwhile, and stays so.
            Ok(None) => {}
            Err(error) => return Ending::StoreDown(error),
        }
        Ending::Linked { cookies, provider }
    }

    async fn link_failed(&self, error: DirectoryError, provider: &ProviderName, visitor: &Visitor<'_>) -> Ending {
        self.refused(provider, "directory_down", visitor).await;
        Ending::DirectoryDown(error)
    }

    /// What is told of a linking: again when one that was perhaps cut short is gone about again; it is the same event then.
    fn linking(&self, account: &Account, origin: &Origin, visitor: &Visitor<'_>) -> Option<Event> {
        let at = account.identities.iter().find(|identity| identity.origin.key == origin.key)?.linked_at;
        let linked = self.event(What::IdentityLinked, Some(account.id), Some(origin.provider.clone()), visitor);
        is_fresh(at, self.clock.now()).then(|| Event { at, identity: Some(origin.key.clone()), ..linked })
    }

    /// The session goes on under a new id, and `letters` are written in the same step. A renewal under way is let through
    /// first, or its tokens would be lost.
    async fn rename(
        &self,
        live: &Live,
        letters: &[Letter],
        visitor: &Visitor<'_>,
    ) -> Result<Option<SessionId>, StoreError> {
        let Some(id) = &visitor.session_id else { return Ok(None) };
        let (lease, holder) = (renew::lease(live), secret::random_text());
        let store = self.sessions.store();
        for _ in 0..RENEWAL_TRIES {
            if store.lease(&lease, &holder, renew::LEASE, self.clock.now()).await? {
                break;
            }
            tokio::time::sleep(RENEWAL_PAUSE).await;
        }
        let renamed = self.sessions.rename(id, letters).await;
        // A lease that cannot be given back runs out by itself.
        let _ = store.release(&lease, &holder).await;
        renamed
    }

    /// Takes the identity called `named` ([`identity_name`]) from this visitor's account.
    pub async fn unlink(&self, named: &str, visitor: &Visitor<'_>) -> Unlinking {
        let live = match visitor.session(&self.sessions).await {
            Ok(Some(live)) => live,
            Ok(None) => return Unlinking::NotThere,
            Err(error) => return Unlinking::StoreDown(error),
        };
        let account = match self.directory.find(&live.session().account).await {
            Ok(Some(account)) => account,
            Ok(None) => return Unlinking::NotThere,
            Err(error) => return Unlinking::DirectoryDown(error),
        };
        let Some(identity) = account.identities.iter().find(|one| identity_name(&one.origin.key) == named) else {
            return Unlinking::NotThere;
        };
        let (key, provider) = (&identity.origin.key, &identity.origin.provider);
        if *key == live.session().origin.key || account.identities.len() < 2 {
            return Unlinking::Needed;
        }
        // Sessions first: should that fail, nothing has changed and the person can try again.
        let whose = Whose::Identity(key.clone());
        let telling = |key: &SessionKey, account: &AccountId| {
            let what = What::Revoked { reason: "unlinked" };
            let revoked = self.event(what, Some(*account), Some(provider.clone()), visitor).of_session(&key.hex());
            self.events.letters(&[revoked])
        };
        let mut ended = match self.sessions.end_all(&whose, None, &telling).await {
            Ok(ended) => ended.len(),
            Err(error) => return Unlinking::StoreDown(error),
        };
        match self.directory.unlink(&account.id, key).await {
            Ok(Unlinked::Done(_)) => {}
            Ok(Unlinked::Last) => return Unlinking::Needed,
            Ok(Unlinked::NotThere) => return Unlinking::NotThere,
            Err(error) => return Unlinking::DirectoryDown(error),
        }
        // One more may have begun in between.
        ended += self.sessions.end_all(&whose, None, &telling).await.map_or(0, |ended| ended.len());
        self.metrics.sessions_ended("unlinked", ended as u64);
        let unlinked = self.event(What::IdentityUnlinked, Some(account.id), Some(provider.clone()), visitor);
        self.events.note(&Event { identity: Some(key.clone()), ..unlinked }).await;
        Unlinking::Done { provider: provider.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Issuer, Subject};

    #[test]
    fn only_a_fresh_login_may_link() {
        let at = Timestamp::from_secs(1_000_000);
        assert!(is_fresh(at, at));
        assert!(is_fresh(at, at.plus(FRESH)));
        assert!(!is_fresh(at, at.plus(FRESH + Duration::from_millis(1))));
    }

    #[test]
    fn no_two_identities_have_one_name() {
        let name = |issuer: &str, subject: &str| {
            identity_name(&IdentityKey { issuer: Issuer::new(issuer), subject: Subject::new(subject) })
        };
        assert_ne!(name("https://a.test", "b"), name("https://a.testb", ""));
        assert_ne!(name("https://a.test", "1"), name("https://a.test", "2"));
        assert_eq!(name("https://a.test", "1").len(), 64);
    }
}
