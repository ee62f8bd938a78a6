//! Every file of certificates that the configuration names, whoever uses it.

use std::path::{Path, PathBuf};

use super::question::Question;
use crate::{
    clock::Timestamp,
    config::{Config, event::Sink},
    server,
};

/// A `ca_file` and a `cert_file` of one section.
type Files<'a> = (Option<&'a PathBuf>, Option<&'a PathBuf>);

/// Each file once.
pub(super) fn all(config: &Config, now: Timestamp) -> Vec<Question<'_>> {
    let pairs = config
        .listen
        .iter()
        .flat_map(|listen| &listen.certificate)
        .map(|files| Question::answered("certificate", shown(&files.cert_file), server::examine_pair(files, now)));
    let (authorities, chains): (Vec<_>, Vec<_>) = named(config).into_iter().unzip();
    let authorities = once(authorities)
        .into_iter()
        .map(|path| Question::answered("certificate", shown(path), server::examine_authorities(path, now)));
    let chains = once(chains)
        .into_iter()
        .map(|path| Question::answered("certificate", shown(path), server::examine_chain(path, now)));
    pairs.chain(authorities).chain(chains).collect()
}

/// Those of everyone we call. Of tables that are not used nobody reads the files.
fn named(config: &Config) -> Vec<Files<'_>> {
    let mut all: Vec<Files<'_>> = Vec::new();
    all.extend(config.session.redis.iter().map(|redis| (redis.ca_file.as_ref(), redis.cert_file.as_ref())));
    all.extend(config.directory.postgres.iter().map(|engine| (engine.ca_file.as_ref(), engine.cert_file.as_ref())));
    all.extend(config.directory.mongodb.iter().map(|engine| (engine.ca_file.as_ref(), engine.cert_file.as_ref())));
    all.extend(config.directory.cassandra.iter().map(|engine| (engine.ca_file.as_ref(), engine.cert_file.as_ref())));
    all.extend(config.event.sink.values().flat_map(of_sink));
    all.extend(config.provider.values().map(|provider| (provider.ca_file.as_ref(), None)));
    all.extend(config.upstream.values().map(|upstream| (upstream.ca_file.as_ref(), upstream.cert_file.as_ref())));
    all
}

fn of_sink(sink: &Sink) -> Vec<Files<'_>> {
    let rabbitmq = sink.rabbitmq.iter().map(|sink| (sink.ca_file.as_ref(), sink.cert_file.as_ref()));
    let kafka = sink.kafka.iter().map(|sink| (sink.ca_file.as_ref(), sink.cert_file.as_ref()));
    let webhook = sink.webhook.iter().map(|sink| (sink.ca_file.as_ref(), None));
    rabbitmq.chain(kafka).chain(webhook).collect()
}

fn once(paths: Vec<Option<&PathBuf>>) -> Vec<&Path> {
    let mut paths: Vec<&Path> = paths.into_iter().flatten().map(PathBuf::as_path).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
