//! Building one generation of configuration: everything that can be derived is derived here, once.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Foundation;
use crate::{
    config::{Config, host::HostPattern, upstream::Upstream as UpstreamConfig},
    gateway::{
        Gate, Leading,
        enrich::HeaderPlan,
        forward::ForwardSettings,
        forward_auth::ForwardAuth,
        peer::TrustedProxies,
        route::{Route, RouteTable},
        target::KnownHosts,
    },
    identity::ProviderName,
    login::{Login, Providers, limits::Limits, return_to::AllowedHosts},
    policy::Authorities,
    portal::{
        Pages,
        site::{Site, SiteParts},
    },
    provider,
    session::cookie::Cookies,
    upstream::{self, Upstream},
};

/// Logins one address may begin a minute, and at once.
const LOGINS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(120).unwrap();
const LOGINS_AT_ONCE: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Builds generations; keeps what one hands on to the next.
#[derive(Debug, Default)]
pub(super) struct Builder {
    generation: u64,
    upstreams: BTreeMap<String, Kept>,
}

/// An upstream that is kept over a reload while its configuration stays the same, and with it what is known of its
/// targets' health.
#[derive(Debug)]
struct Kept {
    written: String,
    upstream: Arc<Upstream>,
    _probes: Probes,
}

/// Health checks that end with their upstream.
#[derive(Debug)]
struct Probes(CancellationToken);

impl Drop for Probes {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Builder {
    /// Builds the gate of `config`.
    ///
    /// # Errors
    /// Why it does not stand; nothing has changed then.
    pub(super) fn build(&mut self, config: &Config, foundation: &Foundation) -> anyhow::Result<Gate> {
        let upstreams = self.upstreams(config)?;
        let methods_matter = config.route.iter().any(|route| {
            !route.methods.is_empty() || route.allow.iter().chain(&route.deny).any(|rule| !rule.methods.is_empty())
        });
        let plan = HeaderPlan::build(&config.headers, methods_matter)?;
        let authorities: Authorities =
            config.provider.iter().map(|(name, provider)| (name.clone(), provider.email_domains.clone())).collect();
        let routes = RouteTable::build(&config.route, &plan, &authorities)?;
        let forward_auth = ForwardAuth::new(&config.forward_auth, &config.portal.prefix, &plan, &authorities)
            .context("forward_auth.headers")?;
        let leading =
            routes.routes().iter().map(|route| leading(route, config, &upstreams)).collect::<Result<_, _>>()?;
        let cookies = Cookies::new(&config.session, &config.portal.public_url)?;
        let login = Arc::new(login(config, foundation, cookies.clone())?);
        let parts = SiteParts {
            allowed: AllowedHosts::new(config.portal.allowed_hosts.iter().map(String::as_str), &config.portal.prefix)?,
            pages: Arc::new(Pages::open(&config.portal)?),
            asserter: foundation.asserter.clone(),
            login,
        };
        let hosts = hosts(config)?;
        self.generation += 1;
        self.upstreams = upstreams;
        Ok(Gate {
            generation: self.generation,
            known: known(config, &hosts),
            trusted: Arc::new(TrustedProxies::new(&config.forwarded)),
            sessions: foundation.sessions.clone(),
            streams: foundation.streams.clone(),
            asserter: foundation.asserter.clone(),
            site: Arc::new(Site::new(&config.portal, parts)),
            prefix: config.portal.prefix.clone(),
            public_url: config.portal.public_url.clone(),
            clock: foundation.clock.clone(),
            forward_auth,
            plan,
            routes,
            leading,
            cookies,
            hosts,
        })
    }

    /// The upstreams of `config`; those that did not change are the ones there are.
    fn upstreams(&self, config: &Config) -> anyhow::Result<BTreeMap<String, Kept>> {
        config.upstream.iter().map(|(name, upstream)| Ok((name.clone(), self.upstream(name, upstream)?))).collect()
    }

    fn upstream(&self, name: &str, config: &UpstreamConfig) -> anyhow::Result<Kept> {
        let written = format!("{config:?}");
        let upstream = match self.upstreams.get(name).filter(|kept| kept.written == written) {
            Some(kept) => kept.upstream.clone(),
            None => Upstream::build(name, config.clone()).with_context(|| format!("upstream.{name}"))?,
        };
        let cancel = CancellationToken::new();
        if upstream.wants_probes() {
            tokio::spawn(upstream::watch(upstream.clone(), cancel.clone()));
        }
        Ok(Kept { written, upstream, _probes: Probes(cancel) })
    }
}

fn leading(route: &Route, config: &Config, upstreams: &BTreeMap<String, Kept>) -> anyhow::Result<Leading> {
    let kept = upstreams
        .get(&*route.upstream)
        .with_context(|| format!("route {}: there is no upstream called \"{}\"", route.number, route.upstream))?;
    let settings = ForwardSettings {
        max_body: route.max_body.unwrap_or(0),
        upload_stall: config.limits.body_timeout,
        first_byte_timeout: route.first_byte_timeout,
        idle_timeout: route.idle_timeout,
        allow_trailers: !route.allow_trailers.is_empty(),
        ..ForwardSettings::default()
    };
    Ok(Leading { upstream: kept.upstream.clone(), settings })
}

fn login(config: &Config, foundation: &Foundation, cookies: Cookies) -> anyhow::Result<Login> {
    let providers: Providers = config
        .provider
        .iter()
        .map(|(name, provider)| {
            let name = ProviderName::new(name.as_str());
            let opened = provider::open(name.clone(), provider, foundation.clock.clone())
                .with_context(|| format!("provider.{name}"))?;
            Ok((name, opened))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Login {
        providers,
        sessions: foundation.sessions.clone(),
        directory: foundation.directory.clone(),
        keys: foundation.keys.clone(),
        cookies,
        prefix: config.portal.prefix.clone(),
        login_timeout: config.session.login_timeout,
        remember_origin: config.session.remember_origin,
        renew_before: config.session.renew_before,
        limits: Limits::new(LOGINS_PER_MINUTE, LOGINS_AT_ONCE),
        clock: foundation.clock.clone(),
        events: foundation.events.clone(),
        metrics: foundation.metrics.clone(),
    })
}

fn hosts(config: &Config) -> anyhow::Result<Vec<(HostPattern, Option<u16>)>> {
    let parsed = config.portal.allowed_hosts.iter().map(|host| HostPattern::parse(host));
    parsed.collect::<Result<_, _>>().context("portal.allowed_hosts")
}

/// Every host that is ours: the public one, allowed ones, those of routes.
fn known(config: &Config, hosts: &[(HostPattern, Option<u16>)]) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add_url(&config.portal.public_url);
    for (pattern, port) in hosts {
        known.add(pattern.clone(), *port, None);
    }
    for host in config.route.iter().filter_map(|route| route.host.clone()) {
        known.add(host, None, None);
    }
    known
}
