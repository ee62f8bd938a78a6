//! Whom Brama talks to: event sinks, providers, the apps behind it.

use std::{sync::Arc, time::Duration};

use super::question::Question;
use crate::{
    clock::SystemClock, config::Config, event, identity::ProviderName, provider, told::Told, upstream::Upstream,
};

/// Every event sink.
pub(super) fn sinks(config: &Config) -> impl Iterator<Item = Question<'_>> {
    config.event.sink.iter().map(|(name, sink)| match event::open::open(name, sink) {
        Ok(sink) => Question::new("sink", name, async move { sink.examine().await }),
        Err(error) => Question::answered("sink", name, Err(Told::parse(error))),
    })
}

/// Every provider.
pub(super) fn providers(config: &Config) -> impl Iterator<Item = Question<'_>> {
    config.provider.iter().map(|(name, provider)| {
        match provider::open(ProviderName::new(name.as_str()), provider, Arc::new(SystemClock)) {
            Ok(provider) => Question::new("provider", name, async move { provider.examine().await }),
            Err(error) => Question::answered("provider", name, Err(Told::parse(error))),
        }
    })
}

/// Every target of every app.
pub(super) fn targets(config: &Config, limit: Duration) -> impl Iterator<Item = Question<'_>> {
    config.upstream.iter().flat_map(move |(name, upstream)| match Upstream::build(name, upstream.clone()) {
        Ok(upstream) => each_target(&upstream, limit),
        Err(error) => vec![Question::answered("upstream", name, Err(Told::parse(error)))],
    })
}

fn each_target<'a>(upstream: &Arc<Upstream>, limit: Duration) -> Vec<Question<'a>> {
    let ask = |(index, target): (usize, &crate::upstream::Target)| {
        let subject = format!("{} {}", upstream.name(), target.name());
        let upstream = Arc::clone(upstream);
        Question::new("upstream", subject, async move { upstream.examine(index, limit).await })
    };
    upstream.targets().iter().enumerate().map(ask).collect()
}
