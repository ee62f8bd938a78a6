//! How many logins one address may begin (threats 12.4).

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};

/// Tables larger than this are cleared of idle addresses.
const MAX_ADDRESSES: usize = 100_000;

/// Begun logins by address: a token bucket for each, in a bounded table.
#[derive(Debug)]
pub struct Limits {
    buckets: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
}

impl Limits {
    /// `per_minute` logins an address, `burst` of them at once.
    pub fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { buckets: RateLimiter::hashmap(Quota::per_minute(per_minute).allow_burst(burst)) }
    }

    /// True when one more from `address` is fine. A caller without an address (a Unix socket) is not limited.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return true };
        if self.buckets.len() > MAX_ADDRESSES {
            self.buckets.retain_recent();
        }
        self.buckets.check_key(&network(address)).is_ok()
    }
}

/// The unit that is limited: an IPv4 address, or the /64 an IPv6 address is in (a host owns all of it).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(burst: u32) -> Limits {
        Limits::new(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap())
    }

    #[test]
    fn a_flood_from_one_address_is_held_off_and_others_are_not() {
        let limits = limits(3);
        let flood: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((0..10).filter(|_| limits.admits(Some(flood))).count(), 3);
        assert!(limits.admits(Some("192.0.2.2".parse().unwrap())));
        assert!(limits.admits(None));
    }

    #[test]
    fn one_host_cannot_walk_through_its_ipv6_network() {
        let limits = limits(1);
        assert!(limits.admits(Some("2001:db8::1".parse().unwrap())));
        assert!(!limits.admits(Some("2001:db8::2".parse().unwrap())));
        assert!(limits.admits(Some("::ffff:192.0.2.9".parse().unwrap())));
        assert!(!limits.admits(Some("192.0.2.9".parse().unwrap())));
    }
}
