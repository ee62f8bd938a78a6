//! One batch: partitions side by side, one request of a partition at a time.

use std::{collections::VecDeque, time::Duration};

use futures_util::future::join_all;
use rskafka::{chrono::DateTime, client::partition::Compression, record::Record};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    cluster::{Cluster, Link},
    partition,
    words::Failure,
};
use crate::event::{
    fate::{self, Fate},
    sink::Letter,
};

/// The header by which consumers know CloudEvents in structured mode.
pub(super) const CONTENT_TYPE: (&str, &str) = ("content-type", "application/cloudevents+json; charset=UTF-8");
/// A request that holds more is split: half of Kafka's own limit (`message.max.bytes`, 1 MiB).
const REQUEST_BYTES: usize = 512 * 1024;
/// A request of more letters is split.
const REQUEST_LETTERS: usize = 1000;
/// How often the new leader of a partition is looked for before the relay hears of it,
const MOVES: u32 = 20;
/// and how long after the last time.
const MOVING: Duration = Duration::from_millis(100);

/// The letters and where they go.
pub(super) struct Batch<'a> {
    pub(super) link: &'a Link,
    pub(super) cluster: &'a Cluster,
    pub(super) letters: &'a [Letter],
    pub(super) deadline: Instant,
}

impl Batch<'_> {
    /// Sends what is held, partitions side by side. True when all is well.
    pub(super) async fn send(&self, fates: &mut [Fate]) -> bool {
        let count = self.cluster.partitions();
        let lanes = fate::lanes(self.letters, fates, |letter| partition::of(letter.key.as_bytes(), count));
        let sent = lanes.iter().map(|(partition, lane)| self.lane(*partition, lane));
        let mut well = true;
        for (index, fate) in join_all(sent).await.into_iter().flatten() {
            well &= matches!(fate, Fate::Taken | Fate::Never(_));
            if let Some(place) = fates.get_mut(index) {
                *place = fate;
            }
        }
        well
    }

    /// Sends the letters of one partition, request after request; stops at the first that is not acknowledged.
    async fn lane(&self, number: usize, lane: &[usize]) -> Vec<(usize, Fate)> {
        let mut fates = Vec::with_capacity(lane.len());
        let mut requests = requests(self.letters, lane);
        while let Some(request) = requests.pop_front() {
            match self.produce(number, request).await {
                Ok(()) => fates.extend(request.iter().map(|index| (*index, Fate::Taken))),
                Err(failure) if request.len() > 1 && (failure.too_large || failure.invalid) => {
                    let (first, second) = request.split_at(request.len() / 2);
                    requests.push_front(second);
                    requests.push_front(first);
                }
                Err(failure) if failure.too_large || failure.invalid => {
                    fates.extend(request.iter().map(|index| (*index, Fate::Never(failure.words.clone()))));
                }
                Err(failure) => {
                    fates.extend(request.iter().map(|index| (*index, Fate::Later(failure.words.clone()))));
                    break;
                }
            }
        }
        fates
    }

    /// Sends one request; while the partition moves to another leader, again after a moment.
    async fn produce(&self, number: usize, request: &[usize]) -> Result<(), Failure> {
        let mut moves = 0;
        loop {
            match self.produce_once(number, request).await {
                Err(failure) if failure.moving && moves < MOVES => {
                    moves += 1;
                    sleep(MOVING).await;
                }
                answer => return answer,
            }
        }
    }

    async fn produce_once(&self, number: usize, request: &[usize]) -> Result<(), Failure> {
        let records = request.iter().filter_map(|index| self.letters.get(*index)).map(record).collect();
        let producing = async {
            let partition = self.cluster.partition(&self.link.topic, number).await?;
            partition.produce(records, Compression::NoCompression).await
        };
        match timeout_at(self.deadline, producing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.link.failure(&error)),
            Err(_) => Err(self.link.late()),
        }
    }
}

/// The letters of one partition, cut so that no request exceeds the bounds unless it is one letter.
fn requests<'a>(letters: &[Letter], lane: &'a [usize]) -> VecDeque<&'a [usize]> {
    let mut requests = VecDeque::new();
    let mut rest = lane;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(REQUEST_LETTERS).take_while(|index| {
            bytes += letters.get(**index).map_or(0, size);
            bytes <= REQUEST_BYTES
        });
        let (request, after) = rest.split_at(fitting.count().max(1));
        requests.push_back(request);
        rest = after;
    }
    requests
}

/// About what a record takes on the wire.
fn size(letter: &Letter) -> usize {
    letter.body.len() + letter.key.len() + CONTENT_TYPE.0.len() + CONTENT_TYPE.1.len() + 32
}

fn record(letter: &Letter) -> Record {
    Record {
        key: Some(letter.key.clone().into_bytes()),
        value: Some(letter.body.to_vec()),
        headers: [(CONTENT_TYPE.0.to_owned(), CONTENT_TYPE.1.as_bytes().to_vec())].into(),
        timestamp: DateTime::from_timestamp_millis(letter.at.as_millis()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::support::letters;

    #[test]
    fn no_request_exceeds_the_bounds_unless_it_is_one_letter() {
        let mut letters = letters("bounds", 2500, 1);
        letters[2200].body = vec![b' '; REQUEST_BYTES + 1].into();
        for letter in &mut letters[2300..] {
            letter.body = vec![b' '; REQUEST_BYTES / 10].into();
        }
        let lane: Vec<_> = (0..letters.len()).collect();
        let requests = requests(&letters, &lane);
        assert_eq!(requests.iter().copied().flatten().copied().collect::<Vec<_>>(), lane, "all, in order");
        for request in requests {
            let bytes: usize = request.iter().map(|index| size(&letters[*index])).sum();
            assert!(request.len() <= REQUEST_LETTERS && (bytes <= REQUEST_BYTES || request.len() == 1));
        }
    }
}
