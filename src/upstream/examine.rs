//! Connecting to targets for `brama doctor`. No request is sent.

use std::{error::Error as _, io, time::Duration};

use super::{
    Upstream,
    connect::{Purpose, connect},
    error::UpstreamError,
};
use crate::{
    config::upstream::Protocol,
    told::{Examined, Sound, Told},
};

impl Upstream {
    /// Connects to the target number `index` within `limit`, TLS included.
    ///
    /// # Errors
    /// Why it could not be reached, and what to do.
    pub async fn examine(&self, index: usize, limit: Duration) -> Examined {
        let Some(target) = self.targets.get(index) else { return Ok(Sound::default()) };
        let limit = limit.min(self.config.connect_timeout);
        match connect(target, self.tls.as_ref(), Purpose::Requests, limit).await {
            Ok(_) if target.protocol() == Protocol::Tls => Ok(Sound::new("it can be reached, over TLS")),
            Ok(_) => Ok(Sound::new("it can be reached")),
            Err(error) => Err(self.told(&error)),
        }
    }

    fn told(&self, error: &UpstreamError) -> Told {
        let why = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
        Told::new(format!("{error}{why}"), self.remedy(error))
    }

    fn remedy(&self, error: &UpstreamError) -> String {
        let name = &self.name;
        match error {
            UpstreamError::Tls(_) => format!(
                "see ca_file and server_name of [upstream.{name}], and whether TLS is spoken on that port at all"
            ),
            UpstreamError::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "let the user who runs brama write to the socket".to_owned()
            }
            _ => format!("start the app, see that no firewall stands between, or correct targets of [upstream.{name}]"),
        }
    }
}
