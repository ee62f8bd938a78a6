//! The session with the cluster: addresses, login, TLS, consistency and retries, all from the settings.

use std::{collections::BTreeSet, fmt, fs, sync::Arc, time::Duration};

use rustls::ClientConfig;
use scylla::{
    client::{
        execution_profile::{ExecutionProfile, ExecutionProfileHandle},
        session::{Session, TlsContext},
        session_builder::SessionBuilder,
    },
    policies::{load_balancing::DefaultPolicy, retry::DefaultRetryPolicy},
    statement::{Consistency, SerialConsistency},
};

use tokio::time::timeout;

use super::{
    refusal::{OpenError, no_session, setting},
    tls,
};
use crate::{
    config::directory::cassandra::{Cassandra as Config, Consistency as Counted, SerialConsistency as Agreed},
    secret::Secret,
};

/// How often a silent connection is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Connecting takes a few round trips, to one node after the other; all together, this many times the configured time.
const ROUND_TRIPS: u32 = 3;

/// Everything read and checked that can be without the cluster.
pub(super) struct Settings {
    pub(super) config: Config,
    password: Option<Secret>,
    tls: Option<Arc<ClientConfig>>,
}

impl Settings {
    /// Reads the files that `config` names.
    pub(super) fn read(config: &Config) -> Result<Self, OpenError> {
        Ok(Self { password: password(config)?, tls: tls::context(config)?, config: config.clone() })
    }

    /// The role we log in as, for messages.
    pub(super) fn role(&self) -> &str {
        self.config.username.as_deref().unwrap_or("anonymous")
    }

    /// At which consistency is read.
    pub(super) fn read_consistency(&self) -> Consistency {
        match self.config.consistency {
            // Cassandra knows the level each_quorum for writes alone; most of this data centre then has every write.
            Counted::LocalQuorum | Counted::EachQuorum => Consistency::LocalQuorum,
            Counted::Quorum => Consistency::Quorum,
            Counted::All => Consistency::All,
        }
    }

    /// At which consistency is written.
    pub(super) fn write_consistency(&self) -> Consistency {
        match self.config.consistency {
            Counted::EachQuorum => Consistency::EachQuorum,
            _ => self.read_consistency(),
        }
    }

    /// At which consistency is read what conditional writes may be under way on.
    pub(super) fn settled_consistency(&self) -> Consistency {
        match self.config.serial_consistency {
            Agreed::LocalSerial => Consistency::LocalSerial,
            Agreed::Serial => Consistency::Serial,
        }
    }

    /// Connects, logs in and learns the cluster.
    pub(super) async fn connect(&self) -> Result<Session, OpenError> {
        let builder = SessionBuilder::new()
            .known_nodes(&self.config.nodes)
            .tls_context(self.tls.clone().map(TlsContext::from))
            .default_execution_profile_handle(self.profile())
            .connection_timeout(self.config.timeout)
            .hostname_resolution_timeout(Some(self.config.timeout))
            .metadata_request_clientside_timeout(self.config.timeout)
            .keepalive_interval(KEEPALIVE)
            .keepalive_timeout(self.config.timeout)
            // Enough to send each statement to a node that has the row; the columns are not needed.
            .keyspaces_to_fetch([&self.config.keyspace])
            .fetch_full_schema_metadata(false)
            // It would show our settings to whoever may list the clients.
            .driver_config_reporting(false);
        let builder = match (&self.config.username, &self.password) {
            (Some(username), password) => {
                builder.user(username, password.as_ref().map(Secret::expose).unwrap_or_default())
            }
            (None, _) => builder,
        };
        let nodes = || self.config.nodes.join(", ");
        // The driver's own limit ends where the connection is made: a node that then says nothing would hold us for ever.
        let patience = self.config.timeout.saturating_mul(ROUND_TRIPS);
        let session = timeout(patience, builder.build())
            .await
            .map_err(|_| OpenError::Unreachable {
                nodes: nodes(),
                why: format!("no answer within {}", humantime::format_duration(patience)),
            })?
            .map_err(|error| no_session(&error, nodes(), self.role()))?;
        self.check_datacenter(&session)?;
        Ok(session)
    }

    /// How statements are sent. Every statement of ours may be sent twice (see `rows`), so the driver's own retries are
    /// welcome: on another node when one fails, never at a weaker consistency.
    fn profile(&self) -> ExecutionProfileHandle {
        let nodes = DefaultPolicy::builder().token_aware(true);
        let nodes = match &self.config.datacenter {
            // Another data centre's quorum would know nothing of this one's.
            Some(name) => nodes.prefer_datacenter(name.clone()).permit_dc_failover(false),
            None => nodes,
        };
        ExecutionProfile::builder()
            .consistency(self.write_consistency())
            .serial_consistency(Some(match self.config.serial_consistency {
                Agreed::LocalSerial => SerialConsistency::LocalSerial,
                Agreed::Serial => SerialConsistency::Serial,
            }))
            .load_balancing_policy(nodes.build())
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .request_timeout(Some(self.config.timeout))
            .build()
            .into_handle_with_label("brama".to_owned())
    }

    /// "Local" means the data centre of whichever node is asked: with several, ours must be known, or two sign-ins could
    /// be agreed on in two places.
    fn check_datacenter(&self, session: &Session) -> Result<(), OpenError> {
        let state = session.get_cluster_state();
        let known: BTreeSet<&str> =
            state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
        let what = match &self.config.datacenter {
            Some(name) if !known.contains(name.as_str()) => format!("= \"{name}\" names none that is there"),
            None if known.len() > 1 => "has to be set where there are several".to_owned(),
            _ => return Ok(()),
        };
        Err(OpenError::Datacenter { what, known: known.into_iter().collect::<Vec<_>>().join(", ") })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("config", &self.config)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

fn password(config: &Config) -> Result<Option<Secret>, OpenError> {
    let Some(path) = &config.password_file else { return Ok(config.password.clone()) };
    let bytes = fs::read(path).map_err(|error| OpenError::File {
        key: "password_file",
        path: path.clone(),
        why: error.to_string(),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| setting("password_file", "it is not text"))?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
}
