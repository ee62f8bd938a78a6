//! Sessions over a real store: what may be lost on the way to the cache, and what must not.

use super::*;
use crate::{
    clock::ManualClock,
    directory::sql::sqlite::SqliteFile,
    identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject},
    provider::Renewed,
    secret::Secret,
    session::{Change, Untold, embedded::EmbeddedSessions},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// One replica, and its store.
struct Replica {
    sessions: Arc<Sessions>,
    clock: ManualClock,
    store: EmbeddedSessions,
    _folder: Arc<tempfile::TempDir>,
}

impl Replica {
    async fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let file = SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
        let store = EmbeddedSessions::open(file).await.unwrap();
        let clock = ManualClock::new(NOW);
        let lifetime = Lifetime { idle: HOUR, absolute: 8 * HOUR };
        let keys = KeyRing::new([7; 32], []);
        let sessions = Sessions::new(Arc::new(store.clone()), keys, lifetime, 2 * HOUR, 100, Arc::new(clock.clone()));
        sessions.cache.apply(Change::Watching, NOW);
        Self { sessions: Arc::new(sessions), clock, store, _folder: folder }
    }

    async fn begun(&self) -> SessionId {
        let beginning = Beginning {
            account: AccountId::fresh(NOW),
            identity: &identity(),
            tokens: &tokens("access"),
            renew_at: Some(NOW.plus(HOUR)),
            user_agent: Some("Firefox\r\n"),
        };
        self.sessions.begin(beginning, None, &Untold).await.unwrap()
    }

    /// As a worker finds it that has not seen it yet.
    fn found(&self, id: &SessionId) -> Option<Arc<Live>> {
        match self.sessions.near(&Near::new(), id, self.clock.now()) {
            Some(Known::Session(held)) => Some(held.shared().clone()),
            _ => None,
        }
    }

    async fn stored_last_seen(&self, id: &SessionId) -> Timestamp {
        self.store.load(&id.key(), self.clock.now()).await.unwrap().unwrap().last_seen
    }
}

fn identity() -> VerifiedIdentity {
    let origin = Origin {
        provider: ProviderName::new("google"),
        key: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("42") },
        at: NOW,
        acr: None,
        amr: vec![],
        connection: None,
        sid: None,
    };
    VerifiedIdentity::vouched(origin, Profile { name: Some("Olena".into()), ..Profile::default() }).unwrap()
}

fn tokens(access: &str) -> Tokens {
    Tokens { access_token: Secret::new(access), expires_at: None, refresh_token: None, id_token: None }
}

fn access(tokens: Option<Tokens>) -> Option<String> {
    tokens.map(|tokens| tokens.access_token.expose().to_owned())
}

#[tokio::test]
async fn a_session_is_at_hand_once_it_has_begun_and_is_the_one_the_store_has() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    let (at_hand, stored) = (replica.found(&id).unwrap(), sessions.reload(&id.key()).await.unwrap().unwrap());
    assert_eq!((at_hand.session(), at_hand.version()), (stored.session(), stored.version()));
    assert_eq!(at_hand.resting().expires_at(), stored.resting().expires_at());
    assert_eq!(at_hand.resting().last_seen(), stored.resting().last_seen());
    sessions.end(&id.key(), &[]).await.unwrap();
    assert!(replica.found(&id).is_none());

    sessions.keep_tokens(true);
    let id = replica.begun().await;
    assert_eq!(access(sessions.tokens(&id, &replica.found(&id).unwrap())).as_deref(), Some("access"));

    sessions.cache.apply(Change::Missed, NOW);
    assert!(replica.found(&replica.begun().await).is_none(), "while no news come, the store is asked");
}

#[tokio::test]
async fn the_cache_holds_no_tokens_unless_they_are_passed_on() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    let live = sessions.load(&id.key()).await.unwrap().unwrap();
    assert!(sessions.tokens(&id, &live).is_none());
    assert!(sessions.tokens(&id, &replica.found(&id).unwrap()).is_none());

    sessions.keep_tokens(true);
    assert!(replica.found(&id).is_none(), "what was cached without its tokens is not found any more");
    sessions.load(&id.key()).await.unwrap().unwrap();
    let live = replica.found(&id).unwrap();
    assert_eq!(access(sessions.tokens(&id, &live)).as_deref(), Some("access"));
    assert!(sessions.tokens(&SessionId::fresh(), &live).is_none(), "only the browser's own id opens them");

    sessions.keep_tokens(true);
    assert!(replica.found(&id).is_some(), "nothing is dropped when nothing changes");
}

#[tokio::test]
async fn a_load_from_before_tokens_were_wanted_does_not_fill_the_cache_after_it() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    let (key, now) = (id.key(), replica.clock.now());
    // Read without its tokens, but not yet in the cache.
    let fetched = sessions.fetch(&key, now).await.unwrap().unwrap();
    let session = Record::only_facts(&fetched.json).unwrap();
    sessions.keep_tokens(true);
    sessions.admit(&key, session, None, fetched, now).unwrap().unwrap();
    assert!(replica.found(&id).is_none());
}

#[tokio::test]
async fn during_an_outage_no_session_is_served_without_the_tokens_that_are_wanted_since() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    sessions.load(&id.key()).await.unwrap().unwrap();
    sessions.cache.apply(Change::Missed, NOW);
    sessions.drop_cache();
    assert!(sessions.during_outage(&id.key(), NOW).is_some(), "a reload alone takes nothing that cannot come back");
    sessions.keep_tokens(true);
    assert!(sessions.during_outage(&id.key(), NOW).is_none());
}

#[tokio::test]
async fn a_renewal_leaves_in_the_record_what_the_cache_does_not_hold() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    sessions.load(&id.key()).await.unwrap().unwrap();
    let found = sessions.record(&id.key()).await.unwrap().unwrap();
    assert_eq!(access(sessions.tokens_of(&id, &found.record)).as_deref(), Some("access"));
    let renewal = Renewed { tokens: tokens("renewed"), renew_at: None, profile: None };
    assert_eq!(sessions.renewed(&id, &found, &renewal, &[]).await.unwrap(), Replaced::Done);

    let after = sessions.record(&id.key()).await.unwrap().unwrap();
    assert_eq!((after.version, after.record.session.renew_at), (found.version + 1, None));
    assert_eq!(after.record.user_agent.as_deref(), Some("Firefox"));
    assert_eq!(access(sessions.tokens_of(&id, &after.record)).as_deref(), Some("renewed"));
    assert_eq!(sessions.load(&id.key()).await.unwrap().unwrap().version(), after.version);
}

#[tokio::test]
async fn a_renewal_of_what_has_changed_since_begins_with_what_it_is_now() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    let early = sessions.record(&id.key()).await.unwrap().unwrap();
    let profile = Profile { name: Some("Olena K".into()), ..Profile::default() };
    let first = Renewed { tokens: tokens("first"), renew_at: None, profile: Some(profile) };
    sessions.renewed(&id, &early, &first, &[]).await.unwrap();
    let second = Renewed { tokens: tokens("second"), renew_at: None, profile: None };
    assert_eq!(sessions.renewed(&id, &early, &second, &[]).await.unwrap(), Replaced::Done);
    let record = sessions.record(&id.key()).await.unwrap().unwrap().record;
    assert_eq!(record.session.profile.name.as_deref(), Some("Olena K"));
    assert_eq!(access(sessions.tokens_of(&id, &record)).as_deref(), Some("second"));
}

#[tokio::test]
async fn a_session_goes_on_under_a_new_id_with_all_its_record_had() {
    let replica = Replica::new().await;
    let (sessions, id) = (&replica.sessions, replica.begun().await);
    let before = sessions.record(&id.key()).await.unwrap().unwrap().record;
    let new = sessions.rename(&id, &[]).await.unwrap().unwrap();
    assert!(sessions.record(&id.key()).await.unwrap().is_none());
    let after = sessions.record(&new.key()).await.unwrap().unwrap().record;
    assert_eq!((&after.session, &after.user_agent), (&before.session, &before.user_agent));
    assert_eq!(access(sessions.tokens_of(&new, &after)).as_deref(), Some("access"));
    let listed = sessions.list(&after.session.account).await.unwrap();
    assert_eq!(listed.iter().map(|found| found.key).collect::<Vec<_>>(), [new.key()]);
}

#[tokio::test]
async fn sightings_are_told_in_one_go_and_what_has_ended_elsewhere_is_forgotten() {
    let replica = Replica::new().await;
    let sessions = &replica.sessions;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = replica.begun().await;
        sessions.load(&id.key()).await.unwrap().unwrap();
        ids.push(id);
    }
    replica.clock.advance(2 * SIGHTING_INTERVAL);
    for id in &ids {
        assert!(replica.found(id).is_some() && replica.found(id).is_some());
    }
    assert_eq!(sessions.sightings.lock().unwrap().len(), 5, "one each, however often they are used");
    // By a replica whose news have not come yet.
    replica.store.end(&ids[4].key(), &[]).await.unwrap();
    sessions.tell_sightings().await;
    assert!(sessions.sightings.lock().unwrap().is_empty());
    for id in &ids[..4] {
        assert_eq!(replica.stored_last_seen(id).await, replica.clock.now());
        assert!(replica.found(id).is_some());
    }
    assert!(replica.found(&ids[4]).is_none());
}
