//! The configuration with no patience longer than the doctor's: so that each part can still say itself why it was late.

use std::time::Duration;

use crate::config::Config;

/// Connecting to Cassandra takes up to three times its timeout.
const CASSANDRA: u32 = 3;

/// Shortens every timeout to a little less than `limit`.
pub(super) fn hurried(mut config: Config, limit: Duration) -> Config {
    let own = limit.mul_f32(0.9);
    let shorten = |timeout: &mut Duration| *timeout = own.min(*timeout);
    config.session.redis.iter_mut().for_each(|redis| shorten(&mut redis.timeout));
    config.directory.postgres.iter_mut().for_each(|engine| shorten(&mut engine.timeout));
    config.directory.mongodb.iter_mut().for_each(|engine| shorten(&mut engine.timeout));
    config.directory.cassandra.iter_mut().for_each(|engine| engine.timeout = engine.timeout.min(own / CASSANDRA));
    for sink in config.event.sink.values_mut() {
        sink.rabbitmq.iter_mut().for_each(|sink| shorten(&mut sink.timeout));
        sink.kafka.iter_mut().for_each(|sink| shorten(&mut sink.timeout));
        // Connecting and shaking hands have the time each.
        sink.webhook.iter_mut().for_each(|sink| sink.timeout = sink.timeout.min(own / 2));
    }
    config.provider.values_mut().for_each(|provider| shorten(&mut provider.timeout));
    config
}
