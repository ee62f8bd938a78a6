//! One target and what is known of its health, shared by all workers.
//!
//! Two sources tell of health. *Passive*: requests that failed one after the other let the target rest for a while; it
//! is a hint, ignored when nobody else could serve. *Active*: the prober's verdict; a target it calls down gets nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::{HeaderValue, uri::Authority};
use rustls::pki_types::ServerName;

use super::BuildError;
use crate::config::upstream::{self as config, Address, Protocol};

/// One place where the app listens.
#[derive(Debug)]
pub struct Target {
    name: String,
    protocol: Protocol,
    address: Address,
    authority: Authority,
    host: HeaderValue,
    server_name: Option<ServerName<'static>>,
    in_flight: AtomicUsize,
    fails: AtomicU32,
    /// Milliseconds after `epoch` until which it rests; 0 when it does not.
    rests_until: AtomicU64,
    answers_probes: AtomicBool,
    epoch: Instant,
}

impl Target {
    pub(super) fn build(target: &config::Target, server_name: Option<&str>) -> Result<Self, BuildError> {
        let unusable = |why: &'static str| BuildError::Target { target: target.to_string(), why };
        let authority = target.authority();
        let server_name = match (&target.address, target.protocol) {
            (Address::Tcp(host, _), Protocol::Tls) => Some(
                ServerName::try_from(server_name.unwrap_or(host).to_owned())
                    .map_err(|_| unusable("its host cannot stand in a certificate; set server_name"))?,
            ),
            _ => None,
        };
        Ok(Self {
            name: target.to_string(),
            protocol: target.protocol,
            address: target.address.clone(),
            host: HeaderValue::from_str(&authority).map_err(|_| unusable("its host cannot stand in Host"))?,
            authority: authority.parse().map_err(|_| unusable("its host cannot stand in an address"))?,
            server_name,
            in_flight: AtomicUsize::new(0),
            fails: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            // Until the first probe says otherwise: a gateway that starts must not refuse everybody.
            answers_probes: AtomicBool::new(true),
            epoch: Instant::now(),
        })
    }

    /// Its address as the configuration writes it; for logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests are under way, all workers together. Counted only where balancing needs it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// True when it gets requests: it answers its probes and does not rest after failures.
    pub fn is_healthy(&self) -> bool {
        self.answers_probes() && !self.rests()
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(super) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    pub(super) fn answers_probes(&self) -> bool {
        self.answers_probes.load(Ordering::Relaxed)
    }

    /// Takes the prober's verdict; true when it changed.
    pub(super) fn set_answers_probes(&self, answers: bool) -> bool {
        self.answers_probes.swap(answers, Ordering::Relaxed) != answers
    }

    pub(super) fn rests(&self) -> bool {
        // The clock is asked only for a target that failed lately: the common case is one relaxed load.
        match self.rests_until.load(Ordering::Relaxed) {
            0 => false,
            until => self.millis() < until,
        }
    }

    /// A response came.
    pub(super) fn succeeded(&self) {
        if self.fails.load(Ordering::Relaxed) != 0 {
            self.fails.store(0, Ordering::Relaxed);
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed by the target's fault; after `max_fails` in a row it rests for `fail_timeout`. Once back, a
    /// single failure sends it to rest again, for only a success resets the count.
    pub(super) fn failed(&self, max_fails: u32, fail_timeout: Duration) {
        if max_fails == 0 {
            return;
        }
        let before = self.fails.load(Ordering::Relaxed);
        let fails = before.saturating_add(1).min(max_fails);
        self.fails.store(fails, Ordering::Relaxed);
        if fails == max_fails {
            let rest = u64::try_from(fail_timeout.as_millis()).unwrap_or(u64::MAX);
            self.rests_until.store(self.millis().saturating_add(rest).max(1), Ordering::Relaxed);
            if before < max_fails {
                tracing::warn!(upstream.target = self.name, fails, "upstream target rests after failures");
            }
        }
    }

    pub(super) fn count_in(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_out(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::build(&config::Target::parse("http://127.0.0.1:1").unwrap(), None).unwrap()
    }

    #[test]
    fn a_target_rests_after_failures_in_a_row_and_comes_back() {
        let target = target();
        let rest = Duration::from_secs(60);
        target.failed(2, rest);
        assert!(target.is_healthy());
        target.succeeded();
        target.failed(2, rest);
        assert!(target.is_healthy(), "a success in between resets the count");
        target.failed(2, rest);
        assert!(!target.is_healthy());
        target.succeeded();
        assert!(target.is_healthy());
    }

    #[test]
    fn once_back_a_single_failure_is_enough() {
        let target = target();
        target.failed(2, Duration::ZERO);
        target.failed(2, Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert!(target.is_healthy(), "its rest is over");
        target.failed(2, Duration::from_secs(60));
        assert!(!target.is_healthy());
    }

    #[test]
    fn without_max_fails_it_never_rests() {
        let target = target();
        for _ in 0..10 {
            target.failed(0, Duration::from_secs(60));
        }
        assert!(target.is_healthy());
    }
}
