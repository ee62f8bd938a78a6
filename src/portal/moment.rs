//! Points in time as people say them: "3 hours ago", and the exact time for whoever wants to know.

use fluent_bundle::FluentValue;
use jiff::tz::TimeZone;

use super::{language::Language, message::Messages};
use crate::clock::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long ago `then` was at `now`; a date when that is more than a month.
pub(crate) fn ago(messages: &Messages, language: Language, then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_secs().saturating_sub(then.as_secs());
    let counted = |key, unit| messages.text(language, key, &[("count", FluentValue::from(seconds / unit))]);
    match seconds {
        ..MINUTE => messages.text(language, "time-now", &[]), // also when a clock was moved back
        MINUTE..HOUR => counted("time-minutes", MINUTE),
        HOUR..DAY => counted("time-hours", HOUR),
        _ if seconds < 30 * DAY => counted("time-days", DAY),
        _ => dated(messages, language, "time-date", then),
    }
}

/// Date and time in UTC. We do not know where the reader is, so the zone is always named.
pub(crate) fn exact(messages: &Messages, language: Language, then: Timestamp) -> String {
    dated(messages, language, "exact-time", then)
}

fn dated(messages: &Messages, language: Language, key: &str, then: Timestamp) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_second(then.as_secs()) else { return String::new() };
    let at = TimeZone::UTC.to_datetime(timestamp);
    let args = [
        ("day", FluentValue::from(i64::from(at.day()))),
        ("month", FluentValue::from(i64::from(at.month()))),
        ("year", FluentValue::from(i64::from(at.year()))),
        ("time", FluentValue::from(format!("{:02}:{:02}", at.hour(), at.minute()))),
    ];
    messages.text(language, key, &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let messages = Messages::built_in().unwrap();
        let now = Timestamp::from_secs(1_800_000_000); // 15 January 2027, 08:00 UTC
        for (seconds, english, ukrainian) in [
            (-50, "just now", "щойно"),
            (59, "just now", "щойно"),
            (60, "a minute ago", "1 хвилину тому"),
            (2 * HOUR + 5, "2 hours ago", "2 години тому"),
            (DAY, "yesterday", "учора"),
            (21 * DAY, "21 days ago", "21 день тому"),
            (31 * DAY, "15 December 2026", "15 грудня 2026"),
        ] {
            let then = Timestamp::from_secs(now.as_secs() - seconds);
            assert_eq!(ago(&messages, Language::English, then, now), english, "{seconds}");
            assert_eq!(ago(&messages, Language::Ukrainian, then, now), ukrainian, "{seconds}");
        }
        assert_eq!(exact(&messages, Language::English, now), "15 January 2027, 08:00 UTC");
        assert_eq!(ago(&messages, Language::English, Timestamp::from_millis(i64::MIN), now), "");
    }
}
