//! What is counted of events on their way to sinks.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: String,
}

/// The outbox and its sinks. Clones count into the same place.
#[derive(Debug, Clone, Default)]
pub struct OutboxMetrics {
    waiting: Gauge,
    oldest: Gauge,
    alarm: Gauge,
    dead: Gauge,
    dropped: Counter,
    delivered: Family<Sink, Counter>,
    failed: Family<Sink, Counter>,
    buried: Family<Sink, Counter>,
}

impl OutboxMetrics {
    /// How many events wait, and for how many seconds the oldest has.
    pub fn measured(&self, waiting: u64, oldest_secs: u64, dead: u64) {
        self.waiting.set(waiting.cast_signed());
        self.oldest.set(oldest_secs.cast_signed());
        self.dead.set(dead.cast_signed());
    }

    /// Whether events wait near or beyond the bounds.
    pub fn alarm(&self, on: bool) {
        self.alarm.set(on.into());
    }

    /// Events were dropped, because they waited beyond the bounds.
    pub fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// A sink took events.
    pub fn delivered(&self, sink: &str, count: u64) {
        self.delivered.get_or_create(&Sink { sink: sink.to_owned() }).inc_by(count);
    }

    /// A sink did not take events for now.
    pub fn failed(&self, sink: &str) {
        self.failed.get_or_create(&Sink { sink: sink.to_owned() }).inc();
    }

    /// A sink can never take an event.
    pub fn buried(&self, sink: &str) {
        self.buried.get_or_create(&Sink { sink: sink.to_owned() }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("outbox_events", "Events that wait for a sink", self.waiting.clone());
        registry.register_with_unit(
            "outbox_oldest",
            "How long the oldest event has waited",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry.register("outbox_alarm", "1 when events wait at 80 % of a bound or more", self.alarm.clone());
        registry.register("outbox_dead_letters", "Events that a sink can never take", self.dead.clone());
        registry.register("outbox_dropped", "Events dropped beyond the bounds", self.dropped.clone());
        registry.register("events_delivered", "Events a sink has acknowledged", self.delivered.clone());
        registry.register("events_delivery_failures", "Times a sink did not take events", self.failed.clone());
        registry.register("events_buried", "Events a sink can never take", self.buried.clone());
    }
}
