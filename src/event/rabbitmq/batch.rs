//! One batch on one channel: letters of different keys side by side, of one key one at a time.

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Confirmation,
    message::BasicReturnMessage,
    options::BasicPublishOptions,
    types::{ShortString, ShortStringError},
};
use tokio::time::{Instant, timeout_at};

use super::{
    link::{Line, Link, Step},
    routes::Routes,
    words::{self, Failure, Of},
};
use crate::event::{
    fate::{self, Fate},
    sink::Letter,
};

/// CloudEvents 1.0 in structured mode.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Delivery mode 2 of AMQP 0-9-1: on disk.
const PERSISTENT: u8 = 2;

/// The letters and the channel they go over.
pub(super) struct Batch<'a> {
    pub(super) link: &'a Link,
    pub(super) line: &'a Line,
    pub(super) routes: &'a Routes,
    pub(super) routing_key: &'a str,
    pub(super) letters: &'a [Letter],
    pub(super) deadline: Instant,
}

impl Batch<'_> {
    /// Sends what is held: the first letter of each key, and when all of them are confirmed, the next of each key whose
    /// first is out of the way. Writes down what became of each, and says the worst that failed.
    pub(super) async fn send(&self, fates: &mut [Fate]) -> Option<Of> {
        let lanes = fate::lanes(self.letters, fates, |letter| letter.key.as_str());
        let mut lanes: Vec<&[usize]> = lanes.values().map(Vec::as_slice).collect();
        let mut failed = None;
        while !lanes.is_empty() && failed <= Some(Of::Queue) {
            let wave: Vec<usize> = lanes.iter().filter_map(|lane| lane.first().copied()).collect();
            failed = failed.max(self.wave(&wave, fates).await);
            lanes.retain_mut(|lane| match lane.split_first() {
                Some((sent, rest)) if matches!(fates.get(*sent), Some(Fate::Taken | Fate::Never(_))) => {
                    *lane = rest;
                    !rest.is_empty()
                }
                _ => false,
            });
        }
        failed
    }

    /// Sends these letters all at once, and waits until all of them are confirmed.
    ///
    /// Of all, for only then is it known which of them came back: RabbitMQ returns a message before it confirms it, but
    /// the driver hands it out with whichever confirm it sees next.
    pub(super) async fn wave(&self, wave: &[usize], fates: &mut [Fate]) -> Option<Of> {
        let sending =
            join_all(wave.iter().filter_map(|index| self.letters.get(*index)).map(|letter| self.letter(letter)));
        let Ok(outcomes) = timeout_at(self.deadline, sending).await else {
            let late = self.link.late(self.line.status.blocked());
            wave.iter().for_each(|index| set(fates, *index, Fate::Later(late.words.clone())));
            return Some(late.of);
        };
        let mut failed = None;
        let mut returned = Vec::new();
        for (index, outcome) in wave.iter().zip(outcomes) {
            let Outcome { fate, of, came_along } = outcome;
            set(fates, *index, fate);
            failed = failed.max(of);
            returned.extend(came_along);
        }
        for message in &returned {
            failed = failed.max(self.came_back(message, wave, fates));
        }
        self.note_routes(wave, fates);
        failed
    }

    /// Publishes a letter and waits for its confirm.
    async fn letter(&self, letter: &Letter) -> Outcome {
        let (routing_key, properties) = match self.envelope(letter) {
            Ok(envelope) => envelope,
            Err(misfit) => return Outcome::never(misfit),
        };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.link.exchange.clone();
        let confirmed = async {
            self.line.channel.basic_publish(exchange, routing_key, options, &letter.body, properties).await?.await
        };
        match confirmed.await {
            Ok(confirmation) => Outcome::confirmed(confirmation),
            Err(error) => Outcome::failed(self.link.failure(&error, Step::Publish)),
        }
    }

    fn envelope(&self, letter: &Letter) -> Result<(ShortString, BasicProperties), ShortStringError> {
        let properties = BasicProperties::default()
            .with_content_type(ShortString::try_new(CONTENT_TYPE)?)
            .with_delivery_mode(PERSISTENT)
            .with_message_id(ShortString::try_new(&letter.id)?)
            .with_timestamp(u64::try_from(letter.at.as_secs()).unwrap_or_default())
            .with_type(ShortString::try_new(&letter.kind)?)
            .with_app_id(ShortString::try_new("brama")?);
        Ok((ShortString::try_new(self.routing_key(letter))?, properties))
    }

    fn routing_key(&self, letter: &Letter) -> String {
        self.routing_key.replace("{type}", &letter.kind)
    }

    /// One that was returned is confirmed all the same, but is nowhere.
    fn came_back(&self, message: &BasicReturnMessage, wave: &[usize], fates: &mut [Fate]) -> Option<Of> {
        let id = message.delivery.properties.message_id().as_ref().map(ShortString::as_str);
        let is_it = |index: &&usize| self.letters.get(**index).is_some_and(|letter| Some(letter.id.as_str()) == id);
        let index = wave.iter().find(is_it)?;
        let fate = self.routes.came_back(message);
        let of = matches!(fate, Fate::Later(_)).then_some(Of::Queue);
        set(fates, *index, fate);
        of
    }

    fn note_routes(&self, wave: &[usize], fates: &[Fate]) {
        let taken = wave.iter().filter(|index| fates.get(**index) == Some(&Fate::Taken));
        let keys = taken.filter_map(|index| self.letters.get(*index)).map(|letter| self.routing_key(letter));
        self.routes.lead_on(keys);
    }
}

/// What came of one letter.
struct Outcome {
    fate: Fate,
    of: Option<Of>,
    /// A message that came back, of this letter or of another.
    came_along: Option<BasicReturnMessage>,
}

impl Outcome {
    fn confirmed(confirmation: Confirmation) -> Self {
        if confirmation.is_ack() {
            return Self { fate: Fate::Taken, of: None, came_along: confirmation.take_message() };
        }
        Self { came_along: confirmation.take_message(), ..Self::failed(Failure::refused()) }
    }

    fn failed(failure: Failure) -> Self {
        Self { fate: Fate::Later(failure.words), of: Some(failure.of), came_along: None }
    }

    fn never(misfit: ShortStringError) -> Self {
        Self { fate: Fate::Never(words::misfit(misfit)), of: None, came_along: None }
    }
}

fn set(fates: &mut [Fate], index: usize, fate: Fate) {
    if let Some(place) = fates.get_mut(index) {
        *place = fate;
    }
}
