//! The judge: when everything is up again and has settled, is everything there that was acknowledged, and was all of it
//! told, in order?

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::{
    constellation::Constellation,
    killer,
    ledger::{self, End, Ledger, Session},
    people,
    servers::gateway::Gateway,
};

const BEGUN: &str = "io.brama.session.begun";
const SIGNED_OUT: &str = "io.brama.session.signed_out";
const CREATED: &str = "io.brama.account.created";
const LINKED: &str = "io.brama.identity.linked";

/// How many sessions are asked about at a time.
const AT_A_TIME: usize = 16;
/// Longest it may take until nothing waits any more. A replica that took over waits for the lease of the one before.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What must not be. Nothing, if all is well.
    pub(crate) wrongs: Vec<String>,
    pub(crate) accounts: usize,
    pub(crate) live: usize,
    pub(crate) signed_out: usize,
    pub(crate) in_doubt: usize,
    pub(crate) linked: usize,
    pub(crate) link_in_doubt: usize,
    /// By type, repetitions left out.
    pub(crate) events: BTreeMap<String, usize>,
    pub(crate) repeated: usize,
    /// From the last kill until no event waited.
    pub(crate) settled_after: Duration,
}

/// Waits until all is calm, then compares what was acknowledged with what there is.
pub(crate) async fn judge(constellation: &Constellation, ledger: &Ledger) -> Verdict {
    let gateways = &constellation.gateways;
    let begun = Instant::now();
    let mut verdict = Verdict::default();
    if let Err(why) = settle(constellation).await {
        verdict.wrongs.push(why);
    }
    verdict.settled_after = begun.elapsed();
    // What a gateway remembers proves nothing: a fresh one has to ask the store.
    for gateway in gateways.iter() {
        tokio::task::block_in_place(|| {
            gateway.server.kill();
            gateway.server.start();
        });
    }
    if let Err(why) = killer::all_well(gateways).await {
        verdict.wrongs.push(why);
    }
    let sessions = std::mem::take(&mut ledger.open().sessions);
    let mut found = ask_about(sessions, gateways).await;
    let accounts = match accounts(&gateways[0]).await {
        Ok(accounts) => accounts,
        Err(why) => {
            verdict.wrongs.push(format!("the accounts cannot be listed: {why}"));
            Vec::new()
        }
    };
    let told = Told::of(&constellation.events.read());
    verdict.wrongs.append(&mut ledger.open().wrongs);
    verdict.accounts = accounts.len();
    verdict.events.clone_from(&told.counts);
    verdict.repeated = told.repeated;
    check_sessions(&found, &mut verdict);
    check_accounts(&mut found, &accounts, &mut verdict);
    check_events(&found, &accounts, &told, &mut verdict);
    check_order(&found, &told, &mut verdict);
    verdict
}

/// Waits until no event waits anywhere.
async fn settle(constellation: &Constellation) -> Result<(), String> {
    killer::all_well(&constellation.gateways).await?;
    let deadline = Instant::now() + SETTLES_WITHIN;
    let mut received = 0;
    loop {
        let pending = constellation.gateways[0].command(&["events", "pending"]).await;
        let left = constellation.events.left().await;
        let before = std::mem::replace(&mut received, constellation.events.read().len());
        if pending.as_ref().is_ok_and(|told| is_nothing(told)) && matches!(left, Ok(0)) && before == received {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("events wait after {SETTLES_WITHIN:?}: {pending:?}, in the queue {left:?}"));
        }
        // Longer than a message is on its way to who receives it.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// True when `brama events pending` tells that nothing waits and nothing was given up.
fn is_nothing(told: &str) -> bool {
    told.starts_with("waiting: 0\n")
        && told.contains("dead letters: 0")
        && told.lines().all(|line| !line.ends_with(" behind") || line.ends_with(": 0 behind"))
}

/// A session and what a fresh gateway makes of it.
struct Found {
    session: Session,
    status: u16,
}

async fn ask_about(sessions: Vec<Session>, gateways: &[Gateway]) -> Vec<Found> {
    stream::iter(sessions.into_iter().zip((0..gateways.len()).cycle()))
        .map(|(session, number)| ask_about_one(session, gateways[number].port))
        .buffered(AT_A_TIME)
        .collect()
        .await
}

async fn ask_about_one(mut session: Session, port: u16) -> Found {
    let mut status = 0;
    for _ in 0..20 {
        if let Ok(answer) = session.browser.get(port, "/api/me").await {
            status = answer.status;
            if status == 200 {
                let told = people::account(&answer);
                // One that was never used before the end is known from now on; two accounts are found out below.
                if session.account.is_none() || told != session.account {
                    session.account = told;
                }
            }
            if status != 503 {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Found { session, status }
}

/// An account: its id and the subjects that open it.
struct Account {
    id: String,
    subjects: Vec<String>,
}

async fn accounts(gateway: &Gateway) -> Result<Vec<Account>, String> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["accounts", "list", "--json", "--limit", "1000"];
        if let Some(after) = &after {
            arguments.extend(["--after", after]);
        }
        let told = gateway.command(&arguments).await?;
        let page: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let listed = page["accounts"].as_array().ok_or("no accounts in the answer")?;
        all.extend(listed.iter().map(|account| {
            Account {
                id: text(&account["id"]),
                subjects: account["identities"]
                    .as_array()
                    .map(|all| all.iter().map(|identity| text(&identity["origin"]["subject"])).collect())
                    .unwrap_or_default(),
            }
        }));
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(all),
        }
    }
}

/// Every acknowledged session that was not signed out answers; every one that was, does not.
fn check_sessions(found: &[Found], verdict: &mut Verdict) {
    for Found { session, status } in found {
        let Session { name, person, end, .. } = session;
        match (end, status) {
            (End::None, 200) => verdict.live += 1,
            (End::Acknowledged(_), 302 | 303 | 401) => verdict.signed_out += 1,
            (End::InDoubt, 200 | 302 | 303 | 401) => verdict.in_doubt += 1,
            (End::LinkInDoubt, 200 | 302 | 303 | 401) => verdict.link_in_doubt += 1,
            (End::None, status) => {
                verdict
                    .wrongs
                    .push(format!("the session {name} of {person} was acknowledged, and is answered with {status}"));
            }
            (_, status) => {
                verdict
                    .wrongs
                    .push(format!("the session {name} of {person} was signed out, and is answered with {status}"));
            }
        }
    }
}

/// Every person who was acknowledged has one account, the one that apps were told; no identity opens two.
fn check_accounts(found: &mut [Found], accounts: &[Account], verdict: &mut Verdict) {
    let mut by_subject: HashMap<&str, Vec<&str>> = HashMap::new();
    for account in accounts {
        for subject in &account.subjects {
            by_subject.entry(subject).or_default().push(&account.id);
        }
    }
    for (subject, ids) in by_subject.iter().filter(|(_, ids)| ids.len() > 1) {
        verdict.wrongs.push(format!("the identity {subject} opens {} accounts: {ids:?}", ids.len()));
    }
    for Found { session, .. } in found {
        match (by_subject.get(session.person.as_str()).map(Vec::as_slice), &session.account) {
            // Nobody has used it before it ended.
            (Some([id]), None) => session.account = Some((*id).to_owned()),
            (Some([id]), Some(account)) if id == account => {}
            (there, told) => verdict.wrongs.push(format!(
                "the session {} of {}: apps were told the account {told:?}, the directory has {there:?}",
                session.name, session.person
            )),
        }
        let Some((identity, _)) = &session.linked else { continue };
        match (by_subject.get(identity.as_str()).map(Vec::as_slice), &session.account) {
            (Some([id]), Some(account)) if id == account => verdict.linked += 1,
            (there, told) => {
                verdict.wrongs.push(format!("{identity} was linked to {told:?}, the directory has {there:?}"))
            }
        }
    }
}

/// What was told, once each, in the order in which it first came.
#[derive(Default)]
struct Told {
    counts: BTreeMap<String, usize>,
    repeated: usize,
    /// Where each comes, by type and session or account.
    places: HashMap<(String, String), usize>,
    /// Type and account of each that has one.
    all: Vec<(String, String)>,
    /// Different events that tell the same.
    twice: Vec<String>,
}

impl Told {
    fn of(events: &[Value]) -> Self {
        let (mut told, mut known) = (Self::default(), HashSet::new());
        for event in events {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if !known.insert(text(&event["id"])) {
                told.repeated += 1;
                continue;
            }
            let (kind, account, session) =
                (text(&event["type"]), text(&event["subject"]), text(&event["data"]["session"]));
            *told.counts.entry(kind.clone()).or_default() += 1;
            if account.is_empty() {
                continue;
            }
            let of = match kind.as_str() {
                CREATED => account.clone(),
                LINKED => text(&event["data"]["subject"]),
                _ => session,
            };
            let key = (kind.clone(), of);
            let place = told.all.len();
            told.all.push((kind, account));
            if told.places.insert(key.clone(), place).is_some() {
                told.twice.push(format!("{} of {} is told by two events", key.0, key.1));
            }
        }
        told
    }

    fn place(&self, kind: &str, of: &str) -> Option<usize> {
        self.places.get(&(kind.to_owned(), of.to_owned())).copied()
    }
}

/// Everything acknowledged was told, and nothing that is not so.
fn check_events(found: &[Found], accounts: &[Account], told: &Told, verdict: &mut Verdict) {
    verdict.wrongs.extend(told.twice.iter().cloned());
    let mut missing = |kind: &str, of: &str| verdict.wrongs.push(format!("{kind} of {of} was never told"));
    let mut acknowledged = HashSet::new();
    for Found { session, status } in found {
        if told.place(BEGUN, &session.name).is_none() {
            missing(BEGUN, &session.name);
        }
        if let Some((identity, _)) = &session.linked
            && told.place(LINKED, identity).is_none()
        {
            missing(LINKED, identity);
        }
        let out = told.place(SIGNED_OUT, &session.name_now).is_some();
        match (&session.end, out) {
            (End::Acknowledged(_), false) => missing(SIGNED_OUT, &session.name_now),
            (End::InDoubt, false) if *status != 200 => missing(SIGNED_OUT, &session.name_now),
            _ => {}
        }
        acknowledged.insert(session.person.as_str());
    }
    for account in
        accounts.iter().filter(|account| account.subjects.iter().any(|one| acknowledged.contains(one.as_str())))
    {
        if told.place(CREATED, &account.id).is_none() {
            missing(CREATED, &account.id);
        }
    }
    for Found { session, status } in found {
        let out = told.place(SIGNED_OUT, &session.name_now).is_some();
        if out && (*status == 200 || matches!(session.end, End::None | End::LinkInDoubt)) {
            verdict.wrongs.push(format!("{SIGNED_OUT} of {} was told, and it is not so", session.name_now));
        }
    }
    let known: HashSet<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    let strangers = told.all.iter().filter(|(_, account)| !known.contains(account.as_str()));
    verdict.wrongs.extend(strangers.map(|(kind, account)| format!("{kind} was told of {account}, who is not there")));
}

/// The making of an account comes before all else of it; and what was acknowledged before something else was begun comes
/// before it.
fn check_order(found: &[Found], told: &Told, verdict: &mut Verdict) {
    let mut seen = HashSet::new();
    for (kind, account) in &told.all {
        if seen.insert(account) && kind != CREATED {
            verdict.wrongs.push(format!("the first that was told of the account {account} is {kind}"));
        }
    }
    let mut by_account: HashMap<&str, Vec<(usize, ledger::Span, &str)>> = HashMap::new();
    for Found { session, .. } in found {
        let Some(account) = session.account.as_deref() else { continue };
        let happened = by_account.entry(account).or_default();
        happened.extend(told.place(BEGUN, &session.name).map(|place| (place, session.login, session.name.as_str())));
        if let Some((identity, span)) = &session.linked {
            happened.extend(told.place(LINKED, identity).map(|place| (place, *span, identity.as_str())));
        }
        if let (End::Acknowledged(span), Some(place)) = (session.end, told.place(SIGNED_OUT, &session.name_now)) {
            happened.push((place, span, &session.name));
        }
    }
    for (account, mut happened) in by_account {
        happened.sort_unstable_by_key(|(place, ..)| *place);
        let mut latest: Option<(ledger::Instant, &str)> = None;
        for (_, span, name) in happened {
            if let Some((begun, later)) = latest
                && span.acknowledged < begun
            {
                verdict
                    .wrongs
                    .push(format!("of {account}, what came of {name} was told after what came later of {later}"));
            }
            latest = latest.filter(|(begun, _)| *begun > span.begun).or(Some((span.begun, name)));
        }
    }
}
