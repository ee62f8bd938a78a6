//! The judge: when everything is up again and has settled, is everything there that was acknowledged, and was all of it
//! told, in order?

mod found;
mod settle;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use found::{Account, Found};
use told::{BEGUN, CREATED, LINKED, SIGNED_OUT, Told};

use crate::{
    constellation::Constellation,
    killer,
    ledger::{self, End, Ledger, Session},
};

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
    if let Err(why) = settle::settle(constellation).await {
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
    let mut found = found::ask_about(sessions, gateways).await;
    let accounts = match found::accounts(&gateways[0]).await {
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
    compare(&mut found, &accounts, &told, &mut verdict);
    verdict
}

fn compare(found: &mut [Found], accounts: &[Account], told: &Told, verdict: &mut Verdict) {
    check_sessions(found, verdict);
    check_accounts(found, accounts, verdict);
    check_events(found, accounts, told, verdict);
    check_order(found, told, verdict);
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
