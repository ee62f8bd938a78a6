//! Brama, a gate before apps that know nothing of logins.
//!
//! # The life of a request
//!
//! Bytes come in through [`server`]: a listener per worker accepts, TLS ends, and what two parsers could read in two
//! ways is refused. The [`gateway`] then takes the request through steps in one order that cannot
//! change: who is the *peer* (after trusted forwarding), what is the *target* (canonical once, used by everyone),
//! which *route*, which *session*, may it pass (the [`policy`] gives a permit or a denial), strip and *enrich* the
//! headers, *forward* over the worker's own pool in [`upstream`]. Only a permit forwards.
//!
//! Without a session a page load goes to [`login`], which sends the browser to a [`provider`] and turns its answer
//! into a verified identity, an account in the [`directory`] and a session in the [`session`] store. Each of these
//! steps is told as an [`event`]. The [`portal`] is the pages people see on the way.
//!
//! Two planes: the *data plane* (the gateway's steps, one single-threaded runtime a worker) waits for nothing but the
//! upstream while the session is cached; the *control plane* (login, renewal, stores, pages) runs on a runtime of its
//! own and may be slow.
//!
//! Modules stand here in the order a request meets them, after the words everyone uses.

pub mod body;
pub mod clock;
mod http1;
pub mod identity;
pub mod message;
pub mod secret;
pub mod told;
mod wait;

pub mod config;

pub mod telemetry;

pub mod server;

pub mod policy;
pub mod upstream;

pub mod directory;
pub mod event;
pub mod provider;
pub mod session;

pub mod login;

pub mod gateway;
pub mod portal;

pub mod app;
pub mod cli;
pub mod demo;
