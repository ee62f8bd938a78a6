//! How many connections there may be, all together and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::listen::Limits;

/// Counts connections across all workers. Asked once a connection, never by a request.
#[derive(Debug)]
pub(crate) struct Admission {
    total: Arc<Semaphore>,
    per_address: u32,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// A place among all connections; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A place among the connections of one address; free again when dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            per_address: limits.connections_per_address,
            addresses: Mutex::default(),
        })
    }

    /// Waits for a place among all. The caller accepts nothing meanwhile: the kernel's queue is the waiting room.
    pub(crate) async fn enter(&self) -> Place {
        if self.total.available_permits() == 0 {
            tracing::warn!("all connections are taken; new ones wait (limits.connections)");
        }
        Place { _permit: Arc::clone(&self.total).acquire_owned().await.ok() }
    }

    /// A place among those of `address`; `None` when they are all taken. `Some(None)` when it is not counted.
    pub(crate) fn enter_from(self: &Arc<Self>, address: IpAddr) -> Option<Option<AddressPlace>> {
        if self.per_address == 0 || address.is_loopback() {
            return Some(None);
        }
        let address = network(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Some(AddressPlace { admission: Arc::clone(self), address }))
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// One household gets a whole /64 of IPv6, and counts as one.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_address: u32) -> Arc<Admission> {
        Admission::new(&Limits { connections_per_address: per_address, ..Limits::default() })
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let admission = admission(2);
        let address = "192.0.2.1".parse().unwrap();
        let first = admission.enter_from(address).unwrap();
        let _second = admission.enter_from(address).unwrap();
        assert!(admission.enter_from(address).is_none());
        assert!(admission.enter_from("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(admission.enter_from(address).is_some());
        assert_eq!(admission.addresses.lock().unwrap().len(), 1, "addresses without connections are forgotten");
    }

    #[test]
    fn a_64_counts_as_one_and_loopback_not_at_all() {
        let admission = admission(1);
        let _first = admission.enter_from("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.enter_from("2001:db8::2".parse().unwrap()).is_none());
        assert!(admission.enter_from("2001:db8:0:1::1".parse().unwrap()).is_some());
        assert!(matches!(admission.enter_from("127.0.0.1".parse().unwrap()), Some(None)));
    }
}
