//! What was acknowledged to people: the only thing that counts in the end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// An instant in the one order that all people of a run agree on: what was acknowledged before something was begun has
/// the lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

/// From before something was asked for to after it was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begun: Instant,
    pub(crate) acknowledged: Instant,
}

/// What is known of the end of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Nobody asked for it.
    None,
    /// It was asked for and nobody knows what came of it.
    InDoubt,
    /// A linking gives the session a new cookie, and nobody knows whether it did.
    LinkInDoubt,
    /// It was acknowledged.
    Acknowledged(Span),
}

/// A session whose cookie came with the answer to a login.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Whose: the provider's identifier of the person.
    pub(crate) person: String,
    /// The cookies of the browser that holds it.
    pub(crate) browser: crate::browser::Browser,
    /// What events call it: as it began, and since a linking gave it a new cookie.
    pub(crate) name: String,
    pub(crate) name_now: String,
    /// Whose account, once an app was told.
    pub(crate) account: Option<String>,
    pub(crate) login: Span,
    /// A further identity, and when it was linked.
    pub(crate) linked: Option<(String, Span)>,
    pub(crate) end: End,
}

/// Where a session stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(usize);

/// The ledger, shared by all people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    now: Arc<AtomicU64>,
    pages: Arc<Mutex<Pages>>,
}

/// What is in it.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub(crate) sessions: Vec<Session>,
    /// What came to nothing and was said to, by what was asked and what was answered.
    pub(crate) refused: BTreeMap<String, u64>,
    /// How often a session was used, and an app answered.
    pub(crate) uses: u64,
    /// What must never be.
    pub(crate) wrongs: Vec<String>,
}

impl Ledger {
    pub(crate) fn now(&self) -> Instant {
        Instant(self.now.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn signed_in(&self, session: Session) -> Entry {
        let mut pages = self.open();
        pages.sessions.push(session);
        Entry(pages.sessions.len() - 1)
    }

    pub(crate) fn session(&self, entry: Entry) -> Session {
        self.open().sessions[entry.0].clone()
    }

    pub(crate) fn ends(&self, entry: Entry, end: End) {
        self.open().sessions[entry.0].end = end;
    }

    /// A further identity opens the account, and the session goes on with another cookie.
    pub(crate) fn linked(&self, entry: Entry, with: Session) {
        let mut pages = self.open();
        let session = &mut pages.sessions[entry.0];
        (session.browser, session.name_now, session.linked) = (with.browser, with.name_now, with.linked);
    }

    pub(crate) fn refused(&self, what: &str, answer: impl std::fmt::Display) {
        *self.open().refused.entry(format!("{what}: {answer}")).or_default() += 1;
    }

    /// [`refused`](Self::refused), where something was hoped for.
    pub(crate) fn none_refused<T>(&self, what: &str, answer: impl std::fmt::Display) -> Option<T> {
        self.refused(what, answer);
        None
    }

    pub(crate) fn wrong(&self, what: String) {
        self.open().wrongs.push(what);
    }

    /// An app was told this account for a session, which must be the same every time.
    pub(crate) fn used(&self, entry: Entry, account: &str) {
        let mut pages = self.open();
        pages.uses += 1;
        let session = &mut pages.sessions[entry.0];
        let known = session.account.get_or_insert_with(|| account.to_owned()).clone();
        if known != account {
            let wrong = format!("the session {} of {} was {known}'s and is {account}'s", session.name, session.person);
            pages.wrongs.push(wrong);
        }
    }
}
