//! Where clients come in: the addresses to listen on.

use super::question::Question;
use crate::{
    config::{Config, listen::Address},
    server,
};

/// Every listener, that of health and metrics too.
pub(super) fn listeners(config: &Config) -> impl Iterator<Item = Question<'_>> {
    let admin = Address::Tcp(config.admin.address);
    let all = config.listen.iter().map(|listen| listen.address.clone()).chain([admin]);
    all.map(|address| Question::answered("listener", address.to_string(), server::examine(&address)))
}
