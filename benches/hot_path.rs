//! What the pure parts of a request cost: `cargo bench`, or `cargo bench -- cookie` for some of them.
//!
//! Each is a step of `gateway::Gate::pass` with the values a usual browser's request brings. They show what a change did
//! to a step; what a whole request costs beside its peers is `bench/run`'s to say.
//!
//! Absent: the check of an ID token, which nothing outside `provider` can reach; `bench/run logins` has it in its sum.

#![expect(clippy::expect_used, reason = "a benchmark may fail")]

use std::{hint::black_box, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use brama::{
    app::Foundation,
    clock::{Clock as _, SystemClock},
    config::{Config, load},
    gateway::{
        enrich::{HeaderPlan, Person},
        peer::{Caller, Peer, Scheme, TrustedProxies},
        route::RouteTable,
        target::{KnownHosts, Line, Target},
    },
    message::Lines,
    policy::{Ask, Authorities},
    secret::{KeyRing, Purpose, random},
    session::{
        NewStored, Session, SessionId, cookie::Cookies, lifetime::Lifetime, live::Live, near::Near, resting::Resting,
    },
};
use divan::Bencher;
use http::{HeaderMap, Method, Request};
use serde_json::json;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// A configuration with so many routes, and the database in `folder`.
fn config(folder: &Path, routes: usize) -> Config {
    let routes: String = (0..routes)
        .map(|number| {
            format!(
                "[[route]]\npath = \"/service/{number}\"\nupstream = \"app\"\n\
                 allow = [{{ email_domain = \"example.com\" }}, {{ group = \"staff\" }}]\n"
            )
        })
        .collect();
    let text = format!(
        "[portal]\npublic_url = \"https://app.example.com\"\n\
         [directory]\nfile = {:?}\n\
         [provider.google]\nkind = \"google\"\nclient_id = \"a\"\nclient_secret = \"a-secret-of-some-length\"\n\
         [upstream.app]\ntargets = [\"http://127.0.0.1:8080\"]\n{routes}",
        folder.join("brama.db")
    );
    let (config, problems) = load::read("bench.toml".as_ref(), &text);
    config.unwrap_or_else(|| {
        assert!(problems.is_empty(), "{problems:?}");
        unreachable!("a configuration without problems is sound")
    })
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A page's request for data as Firefox sends it, with the session cookie among two others.
fn request(session_cookie: &str) -> Request<()> {
    Request::builder()
        .uri("/service/500/orders/2026?page=2&sort=date")
        .header("host", "app.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0")
        .header("accept", "application/json")
        .header("accept-language", "uk,en;q=0.7")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("referer", "https://app.example.com/orders")
        .header("cookie", format!("theme=dark; {session_cookie}; _ga=GA1.1.1234567890.1700000000"))
        .header("sec-fetch-dest", "empty")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-site", "same-origin")
        .body(())
        .expect("a request")
}

fn session() -> Session {
    let now = SystemClock.now();
    serde_json::from_value(json!({
        "account": brama::identity::AccountId::fresh(now),
        "origin": { "provider": "google", "issuer": "https://accounts.google.com", "subject": "1234567890", "at": now },
        "profile": {
            "email": "olena@example.com", "email_verified": true, "name": "Olena Kovalenko", "given_name": "Olena",
            "family_name": "Kovalenko", "preferred_username": "olena", "groups": ["engineering", "staff"],
            "picture": "https://lh3.googleusercontent.com/a/ACg8ocK2nPqXwD5fYbLr7uVtZs9mHj3eGkQa1oTiW6xNcRvBdEyFp4=s96-c",
            "locale": "uk", "claims": {"hd": "example.com", "department": "logistics", "level": 3},
        },
        "created_at": now,
        "ends_at": now.plus(Duration::from_secs(3600)),
    }))
    .expect("a session")
}

fn peer() -> Peer {
    let trusted = Arc::new(TrustedProxies::new(&config(folder().path(), 1).forwarded));
    Caller::new(Some(Ipv4Addr::new(192, 0, 2, 1).into()), Scheme::Https, &trusted).peer(&HeaderMap::new())
}

fn target() -> Target {
    Target::parse(Line::from(&request("a=b")), &peer(), &KnownHosts::default()).expect("a target")
}

/// Cookie to session id to the session in the worker's window.
#[divan::bench]
fn cookie_to_cached_session(bencher: Bencher<'_, '_>) {
    let folder = folder();
    let config = config(folder.path(), 1);
    let runtime = Runtime::new().expect("a runtime");
    let foundation = runtime.block_on(Foundation::open(&config)).expect("the stores open");
    let sessions = foundation.sessions.clone();
    runtime.spawn(sessions.clone().follow_changes(|_| {}));
    let id = SessionId::fresh();
    runtime.block_on(until_cached(&foundation, &id));
    let cookies = Cookies::new(&config.session, &config.portal.public_url).expect("cookies");
    let request = request(&format!("{}={}", cookies.session_name(), id.expose()));
    let (near, now) = (Near::new(), SystemClock.now());
    bencher.bench_local(|| {
        let id = cookies.session_id(black_box(request.headers())).expect("the cookie is there");
        sessions.near(&near, &id, now).expect("it is known")
    });
}

/// A session that this worker has not seen lately is opened for use. Its header lines are made then, too:
/// [`session_lines`].
#[divan::bench]
fn open_resting_session(bencher: Bencher<'_, '_>) {
    let key = SessionId::fresh().key();
    let resting = resting();
    bencher.bench(|| black_box(&resting).open(&key));
}

/// The header lines of a session that was just opened.
#[divan::bench]
fn session_lines(bencher: Bencher<'_, '_>) {
    let config = config(folder().path(), 1);
    let plan = HeaderPlan::build(&config.headers, false).expect("a plan");
    let set = plan.set("default").expect("a built-in set");
    let session = session();
    bencher.bench(|| plan.render(Person::from(black_box(&session)), set));
}

/// What the cache holds of a session.
fn resting() -> Resting {
    let folder = folder();
    let runtime = Runtime::new().expect("a runtime");
    let foundation = runtime.block_on(Foundation::open(&config(folder.path(), 1))).expect("the stores open");
    let id = SessionId::fresh();
    let loaded = runtime.block_on(async {
        write(&foundation, &id).await;
        foundation.sessions.load(&id.key()).await.expect("the store answers")
    });
    loaded.as_deref().map(Live::resting).cloned().expect("it is alive")
}

/// Writes a session and loads it until it stays: the cache keeps nothing before the store's news flow.
async fn until_cached(foundation: &Foundation, id: &SessionId) {
    write(foundation, id).await;
    let (key, now) = (id.key(), SystemClock.now());
    let cached = async {
        while foundation.sessions.near(&Near::new(), id, now).is_none() {
            foundation.sessions.load(&key).await.expect("the store answers");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cached).await.expect("the session is cached in the end");
}

/// Writes a session, as a sign-in would.
async fn write(foundation: &Foundation, id: &SessionId) {
    let (session, key, now) = (session(), id.key(), SystemClock.now());
    let lifetime = Lifetime { idle: Duration::from_secs(3600), absolute: Duration::from_secs(3600) };
    let record = serde_json::to_vec(&session).expect("a session is JSON");
    let new = NewStored {
        key,
        account: session.account,
        identity: session.origin.key.clone(),
        sid: None,
        sealed: foundation.keys.seal(Purpose::SessionRecord, b"", key.bytes(), &record),
        last_seen: now,
        expires_at: lifetime.expires_at(now, session.ends_at),
    };
    foundation.sessions.store().begin(new, None, &[]).await.expect("the store takes it");
}

/// From the request line to the one canonical target.
#[divan::bench]
fn canonical_target(bencher: Bencher<'_, '_>) {
    let (request, peer, known) = (request("a=b"), peer(), KnownHosts::default());
    bencher.bench(|| Target::parse(Line::from(black_box(&request)), &peer, &known));
}

/// The route of a request among so many.
#[divan::bench(args = [501, 1000])]
fn route(bencher: Bencher<'_, '_>, routes: usize) {
    let (table, target) = (table(routes), target());
    bencher.bench(|| table.find(black_box(&target), &Method::GET).expect("a route").number);
}

/// The route of a request where there is one.
#[divan::bench]
fn only_route(bencher: Bencher<'_, '_>) {
    let table = table(1);
    let request = Request::builder().uri("/service/0/orders").header("host", "app.example.com").body(());
    let request = request.expect("a request");
    let target = Target::parse(Line::from(&request), &peer(), &KnownHosts::default()).expect("a target");
    bencher.bench(|| table.find(black_box(&target), &Method::GET).expect("a route").number);
}

fn table(routes: usize) -> RouteTable {
    let config = config(folder().path(), routes);
    let plan = HeaderPlan::build(&config.headers, false).expect("a plan");
    RouteTable::build(&config.route, &plan, &Authorities::new()).expect("routes")
}

/// May it pass? Two allow rules, of which the first holds.
#[divan::bench]
fn policy_decision(bencher: Bencher<'_, '_>) {
    let (table, session) = (table(1), session());
    let policy = &table.routes().first().expect("a route").policy;
    bencher.bench(|| policy.decide(Some(Person::from(black_box(&session)).facts()), Ask::with(&Method::GET)));
}

/// Identity headers off, ours on.
#[divan::bench]
fn strip_and_inject(bencher: Bencher<'_, '_>) {
    let config = config(folder().path(), 1);
    let plan = HeaderPlan::build(&config.headers, false).expect("a plan");
    let set = plan.set("default").expect("a built-in set");
    let rendered = plan.render(Person::from(&session()), set);
    let lines: Lines = rendered.iter().map(|(name, value)| (name, value)).collect();
    let request = request("a=b");
    bencher.with_inputs(|| request.headers().clone()).bench_values(|mut headers| {
        plan.strip(&mut headers);
        lines.insert_into(&mut headers);
        headers
    });
}

/// A session record sealed for the store.
#[divan::bench]
fn seal_session(bencher: Bencher<'_, '_>) {
    let (keys, record) = record();
    bencher.bench(|| keys.seal(Purpose::SessionRecord, b"", b"key", black_box(&record)));
}

/// A session record opened.
#[divan::bench]
fn open_session(bencher: Bencher<'_, '_>) {
    let (keys, record) = record();
    let sealed = keys.seal(Purpose::SessionRecord, b"", b"key", &record);
    bencher.bench(|| keys.open(Purpose::SessionRecord, b"", b"key", black_box(&sealed)));
}

fn record() -> (KeyRing, Vec<u8>) {
    (KeyRing::new(random(), []), serde_json::to_vec(&session()).expect("a session is JSON"))
}
