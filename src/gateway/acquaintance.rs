//! What the gate knows of a connection from its first request on.

use std::{cell::RefCell, rc::Rc};

use http::HeaderValue;

use super::{
    peer::{Caller, Peer},
    target::{Host, LastHost, Target},
};
use crate::message::Lines;

/// Who is at the other end, and what apps are told of it.
#[derive(Debug)]
pub(super) struct Acquaintance {
    generation: u64,
    caller: Caller,
    last_host: LastHost,
    /// The lines of the last host asked for: nearly always the only one.
    told: RefCell<Option<(HeaderValue, Rc<Lines>)>>,
}

impl Acquaintance {
    /// Of `caller`, under a generation of configuration, for it says whom we believe.
    pub(super) fn new(generation: u64, caller: Caller) -> Self {
        Self { generation, caller, last_host: LastHost::default(), told: RefCell::default() }
    }

    /// The generation it was made under.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Who is at the other end.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The host it asked for last.
    pub(super) fn last_host(&self) -> &LastHost {
        &self.last_host
    }

    /// What the app is told of where the request comes from. Kept, unless a proxy may tell anew with every request.
    pub(super) fn lines(&self, peer: &Peer, target: &Target) -> Rc<Lines> {
        let Some(host) = target.host().map(Host::authority).filter(|_| !self.caller.is_trusted()) else {
            return Rc::new(peer.lines(target));
        };
        let mut told = self.told.borrow_mut();
        match &*told {
            Some((of, lines)) if of == host => Rc::clone(lines),
            _ => {
                let lines = Rc::new(peer.lines(target));
                *told = Some((host.clone(), Rc::clone(&lines)));
                lines
            }
        }
    }
}
