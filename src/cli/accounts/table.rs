//! Accounts as people and programs read them. What providers told is shown without control characters, which could
//! command the terminal.

use std::fmt::Write as _;

use super::super::report::plain;
use crate::directory::{Account, Page};

/// A line an account, and how to see more.
pub(super) fn page(page: &Page) -> String {
    if page.accounts.is_empty() {
        return "no accounts".to_owned();
    }
    let mut rows = vec![["ID", "SIGNED IN", "STATE", "PROVIDERS", "E-MAIL"].map(str::to_owned)];
    rows.extend(page.accounts.iter().map(row));
    let mut out = columns(&rows);
    if let Some(next) = &page.next {
        let _ = writeln!(out, "\nthere are more: --after {next}");
    }
    out
}

/// The same for programs: `accounts`, and `next`, which is null at the end.
pub(super) fn page_json(page: &Page) -> serde_json::Result<String> {
    let next = page.next.as_ref().map(ToString::to_string);
    serde_json::to_string_pretty(&serde_json::json!({ "accounts": page.accounts, "next": next }))
}

/// Everything of one account but its claims.
pub(super) fn account(account: &Account) -> String {
    let profile = &account.profile;
    let mut rows = vec![
        ["id".to_owned(), account.id.to_string()],
        ["state".to_owned(), state(account).to_owned()],
        ["created".to_owned(), account.created_at.to_string()],
        ["signed in".to_owned(), account.signed_in_at.to_string()],
    ];
    let verified = if profile.email_verified { "" } else { " (not verified)" };
    let told = [
        ("name", profile.name.clone()),
        ("user name", profile.preferred_username.clone()),
        ("e-mail", profile.email.as_ref().map(|email| format!("{email}{verified}"))),
        ("groups", Some(profile.groups.join(", ")).filter(|groups| !groups.is_empty())),
    ];
    rows.extend(told.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])));
    for identity in &account.identities {
        let origin = &identity.origin;
        let tie = format!("{} at {}", origin.key.subject, origin.key.issuer);
        let used = format!("{}, linked {}, used {}", origin.provider, identity.linked_at, identity.used_at);
        rows.extend([["identity".to_owned(), tie], [String::new(), used]]);
    }
    columns(&rows)
}

fn row(account: &Account) -> [String; 5] {
    let mut providers: Vec<&str> = account.identities.iter().map(|tie| tie.origin.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    [
        account.id.to_string(),
        account.signed_in_at.to_string(),
        state(account).to_owned(),
        providers.join(","),
        account.profile.email.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn state(account: &Account) -> &'static str {
    if account.disabled { "shut" } else { "open" }
}

/// Rows in columns as wide as their widest text; the last is as wide as it likes.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| {
        let texts = cells.iter().filter_map(|row| row.get(column));
        texts.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in &cells {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    out
}
