//! What arrived, put in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

pub(super) const BEGUN: &str = "io.brama.session.begun";
pub(super) const SIGNED_OUT: &str = "io.brama.session.signed_out";
pub(super) const CREATED: &str = "io.brama.account.created";
pub(super) const LINKED: &str = "io.brama.identity.linked";

/// What was told, once each, in the order in which it first came.
#[derive(Default)]
pub(super) struct Told {
    pub(super) counts: BTreeMap<String, usize>,
    pub(super) repeated: usize,
    /// Where each comes, by type and session or account.
    places: HashMap<(String, String), usize>,
    /// Type and account of each that has one.
    pub(super) all: Vec<(String, String)>,
    /// Different events that tell the same.
    pub(super) twice: Vec<String>,
}

impl Told {
    pub(super) fn of(events: &[Value]) -> Self {
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

    pub(super) fn place(&self, kind: &str, of: &str) -> Option<usize> {
        self.places.get(&(kind.to_owned(), of.to_owned())).copied()
    }
}
