//! Asking: everything side by side, nothing for longer than the limit.

use std::time::Duration;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all, ready},
};

use super::finding::Finding;
use crate::told::{Examined, Told};

/// One thing to ask.
pub(super) struct Question<'a> {
    item: &'static str,
    subject: String,
    answer: BoxFuture<'a, Examined>,
}

impl<'a> Question<'a> {
    /// A question that is asked when the answer is awaited.
    pub(super) fn new(
        item: &'static str,
        subject: impl Into<String>,
        answer: impl Future<Output = Examined> + Send + 'a,
    ) -> Self {
        Self { item, subject: subject.into(), answer: answer.boxed() }
    }

    /// One whose answer is known already.
    pub(super) fn answered(item: &'static str, subject: impl Into<String>, answer: Examined) -> Self {
        Self::new(item, subject, ready(answer))
    }

    async fn asked(self, limit: Duration) -> Vec<Finding> {
        let answer = tokio::time::timeout(limit, self.answer).await.unwrap_or_else(|_| Err(late(limit)));
        Finding::all(self.item, &self.subject, answer)
    }
}

fn late(limit: Duration) -> Told {
    Told::new(
        format!("no answer within {}", humantime::format_duration(limit)),
        "look at its load and the network, or give it longer with --timeout",
    )
}

/// Asks all, and gives what was found in the order of the questions.
pub(super) async fn ask_all(questions: Vec<Question<'_>>, limit: Duration) -> Vec<Finding> {
    join_all(questions.into_iter().map(|question| question.asked(limit))).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Status, *};

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_holds_nobody_up() {
        let silent = Question::new("upstream", "silent", std::future::pending());
        let quick = Question::answered("upstream", "quick", Ok(crate::told::Sound::new("it can be reached")));
        let found = ask_all(vec![silent, quick], Duration::from_secs(10)).await;
        let told: Vec<_> = found.iter().map(|finding| (finding.subject.as_str(), finding.status)).collect();
        assert_eq!(told, [("silent", Status::Failed), ("quick", Status::Ok)]);
        assert_eq!(found[0].detail, "no answer within 10s");
    }
}
