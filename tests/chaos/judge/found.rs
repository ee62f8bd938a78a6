//! What there is in the end: sessions as a fresh gateway answers them, accounts as the command line lists them.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::{ledger::Session, people, servers::gateway::Gateway};

/// How many sessions are asked about at a time.
const AT_A_TIME: usize = 16;

/// A session and what a fresh gateway makes of it.
pub(super) struct Found {
    pub(super) session: Session,
    pub(super) status: u16,
}

pub(super) async fn ask_about(sessions: Vec<Session>, gateways: &[Gateway]) -> Vec<Found> {
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
pub(super) struct Account {
    pub(super) id: String,
    pub(super) subjects: Vec<String>,
}

pub(super) async fn accounts(gateway: &Gateway) -> Result<Vec<Account>, String> {
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
