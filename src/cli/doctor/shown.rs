//! Findings as people read them, and as programs do.

use std::fmt::Write as _;

use super::{
    super::report::{Paint, plain},
    finding::{Finding, Status},
};

/// The widest a subject makes its column; a longer one pushes its line out.
const WIDEST: usize = 40;
/// As wide as the longest word of a status, and a gap.
const STATUS: usize = 9;

/// A line a finding, what to do below it, and the sum of it all.
pub(super) fn human(findings: &[Finding], colour: bool) -> String {
    let paint = Paint::new(colour);
    let widest = |text: fn(&Finding) -> &str| findings.iter().map(|finding| text(finding).chars().count()).max();
    let item = widest(|finding| finding.item).unwrap_or(0);
    let subject = widest(|finding| &finding.subject).unwrap_or(0).min(WIDEST);
    let mut out = String::new();
    for finding in findings {
        // Padded before it is painted: escape sequences have a length, too.
        let status = painted(finding.status, &format!("{:<STATUS$}", finding.status.word()), paint);
        let (about, detail) = (plain(&finding.subject), plain(&finding.detail));
        let _ = writeln!(out, "{status}{:<item$}  {about:<subject$}  {detail}", finding.item);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, "{:STATUS$}{}: {}", "", paint.remedy("help"), plain(remedy));
        }
    }
    let _ = writeln!(out, "\n{}", sum(findings, paint));
    out
}

/// The documented form: an array of findings.
pub(super) fn json(findings: &[Finding]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(findings)
}

fn sum(findings: &[Finding], paint: Paint) -> String {
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let told = |status: Status, words: String| {
        if count(status) == 0 { words } else { painted(status, &words, paint) }
    };
    let (ok, warnings, failed) = (count(Status::Ok), count(Status::Warning), count(Status::Failed));
    let plural = if warnings == 1 { "" } else { "s" };
    [
        told(Status::Ok, format!("{ok} ok")),
        told(Status::Warning, format!("{warnings} warning{plural}")),
        told(Status::Failed, format!("{failed} failed")),
    ]
    .join(", ")
}

fn painted(status: Status, text: &str, paint: Paint) -> String {
    match status {
        Status::Ok => paint.good(text),
        Status::Warning => paint.warning(text),
        Status::Failed => paint.error(text),
    }
}
