//! One batch on one channel: lanes side by side, one letter of a lane at a time.

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
    words::{Failure, Of},
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
    pub(super) routing_key: &'a str,
    pub(super) letters: &'a [Letter],
    pub(super) deadline: Instant,
}

/// What came of a batch, or of a lane of it.
#[derive(Default)]
pub(super) struct Round {
    fates: Vec<(usize, Fate)>,
    returned: Vec<BasicReturnMessage>,
    /// The worst that failed.
    pub(super) failed: Option<Of>,
}

impl Batch<'_> {
    /// Sends what is held.
    pub(super) async fn send(&self, fates: &[Fate]) -> Round {
        let lanes = fate::lanes(self.letters, fates, |letter| letter.key.as_str());
        let mut round = Round::default();
        for lane in join_all(lanes.values().map(|lane| self.lane(lane))).await {
            round.add(lane);
        }
        round
    }

    /// Sends the letters of one lane, each when the one before is confirmed; stops at the first that is not.
    pub(super) async fn lane(&self, lane: &[usize]) -> Round {
        let mut round = Round::default();
        for (index, letter) in lane.iter().filter_map(|index| Some((*index, self.letters.get(*index)?))) {
            match self.letter(letter).await {
                Ok(returned) => {
                    round.fates.push((index, Fate::Taken));
                    round.returned.extend(returned);
                }
                Err(failure) if failure.of == Of::OnlyThis => round.fates.push((index, Fate::Never(failure.words))),
                Err(failure) => {
                    round.fates.push((index, Fate::Later(failure.words)));
                    round.failed = Some(failure.of);
                    break;
                }
            }
        }
        round
    }

    /// Publishes one letter and waits for its confirm. A returned message may come along with that, though not always
    /// this one: the driver hands them out with the next confirms, and RabbitMQ confirms in groups.
    async fn letter(&self, letter: &Letter) -> Result<Option<BasicReturnMessage>, Failure> {
        let (routing_key, properties) = self.envelope(letter).map_err(Failure::never)?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmed = async {
            let exchange = self.link.exchange.clone();
            self.line.channel.basic_publish(exchange, routing_key, options, &letter.body, properties).await?.await
        };
        match timeout_at(self.deadline, confirmed).await {
            Ok(Ok(Confirmation::Ack(returned))) => Ok(returned),
            Ok(Ok(_)) => Err(Failure::refused()),
            Ok(Err(error)) => Err(self.link.failure(&error, Step::Publish)),
            Err(_) => Err(self.link.late(self.line.status.blocked())),
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
        Ok((ShortString::try_new(self.routing_key.replace("{type}", &letter.kind))?, properties))
    }
}

impl Round {
    fn add(&mut self, other: Self) {
        self.fates.extend(other.fates);
        self.returned.extend(other.returned);
        self.failed = self.failed.max(other.failed);
    }

    /// Writes down what became of each letter. One that was returned is confirmed all the same, but nowhere.
    pub(super) fn write(self, letters: &[Letter], fates: &mut [Fate]) {
        for (index, fate) in self.fates {
            if let Some(place) = fates.get_mut(index) {
                *place = fate;
            }
        }
        for message in &self.returned {
            let id = message.delivery.properties.message_id().as_ref().map(ShortString::as_str);
            let place = letters.iter().zip(&mut *fates).find(|(letter, _)| Some(letter.id.as_str()) == id);
            if let Some((_, fate)) = place {
                *fate = Fate::Never(unroutable(message));
            }
        }
    }
}

fn unroutable(message: &BasicReturnMessage) -> String {
    format!(
        "no queue wants it: bind one to the exchange {} for the routing key {}, or give the exchange an alternate \
         exchange ({})",
        message.delivery.exchange, message.delivery.routing_key, message.reply_text
    )
}
