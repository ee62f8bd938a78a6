//! Contradictions that no section can see alone.

use super::{
    Config,
    problem::Problems,
    provider::{ClientAuth, Kind, Provider},
    route, secrets,
    session::Store,
    value::{At, Check},
};

/// The name is part of the callback address, which must be registered byte for byte at the provider. Looks at the file
/// itself, so that it is said even when a section cannot be read.
pub(super) fn check_provider_names(at: &At<'_>, problems: &mut Problems) {
    let Some(table) = at.child("provider").filter(|table| !table.value().as_table().is_some_and(|t| t.is_empty()))
    else {
        let end = problems.end();
        problems.add(
            end..end,
            "provider",
            "there is no provider, so nobody can sign in",
            "add a table such as [provider.google] with kind, client_id and client_secret_file",
        );
        return;
    };
    for (name, span) in table.names() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(plain) {
            problems.add(
                span,
                &table.path(name),
                format!("\"{}\" cannot be part of a callback address", name.escape_debug()),
                "use up to 40 lower-case letters, digits and dashes",
            );
        }
    }
}

impl Check for Config {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        self.check_provider_labels(at, problems);
        self.check_cookie_domain(at, problems);
        self.check_shared_keys(at, problems);
        self.check_secrets(at, problems);
        self.check_routes(at, problems);
    }
}

impl Config {
    /// Routes speak of upstreams, providers and header sets by name, and two of them must not claim the same requests.
    fn check_routes(&self, at: &At<'_>, problems: &mut Problems) {
        route::check_routes(&self.route, at, problems);
        route::check_names(
            &self.route,
            |name| self.upstream.contains_key(name),
            |name| self.provider.contains_key(name),
            |name| self.headers.set.contains_key(name),
            at,
            problems,
        );
        if self.route.is_empty() {
            problems.warn(
                at.span(),
                "route",
                "there is no route, so everything but our own pages is \"not found\"",
                "add [[route]] with path = \"/\" and upstream = \"NAME\"",
            );
        }
    }

    /// Two buttons of the same name cannot be told apart on the sign-in page.
    fn check_provider_labels(&self, at: &At<'_>, problems: &mut Problems) {
        let shown = |provider: &Provider| match &provider.label {
            Some(label) => label.to_lowercase(),
            None => provider.kind.word().to_owned(),
        };
        let mut seen: Vec<(String, &str)> = Vec::new();
        for (name, provider) in &self.provider {
            let label = shown(provider);
            if let Some((_, other)) = seen.iter().find(|(taken, _)| *taken == label) {
                let Some(place) = at.child("provider").and_then(|table| table.child(name)) else { continue };
                place.problem_at(
                    "label",
                    problems,
                    format!("it would show the same name on the sign-in page as provider.{other}"),
                    "give each of them a label of its own",
                );
            }
            seen.push((label, name));
        }
    }

    /// A browser drops a cookie whose domain does not hold the host that sets it (RFC 6265, 5.3 step 6).
    fn check_cookie_domain(&self, at: &At<'_>, problems: &mut Problems) {
        let Some(domain) = &self.session.cookie_domain else { return };
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let host = self.portal.public_url.host_str().unwrap_or_default().to_ascii_lowercase();
        let within = host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
        if within && domain.contains('.') {
            return;
        }
        let Some(session) = at.child("session") else { return };
        session.problem_at(
            "cookie_domain",
            problems,
            format!("browsers refuse a cookie for \"{}\" from {host}", domain.escape_debug()),
            "name a parent domain of the host in portal.public_url, or leave it out",
        );
    }

    /// A key made by one replica would lock out the sessions of all others.
    fn check_shared_keys(&self, at: &At<'_>, problems: &mut Problems) {
        if self.session.store == Store::Redis && self.keys.is_empty() {
            let place = at.child("keys").unwrap_or_else(|| at.clone());
            problems.add(
                if at.child("keys").is_some() { place.span() } else { problems.end()..problems.end() },
                "keys.sealing_file",
                "sessions in Redis are shared by replicas, so the key that seals them must be too",
                "make one with `brama keys new` and give it to every replica as keys.sealing_file",
            );
        }
    }

    fn check_secrets(&self, at: &At<'_>, problems: &mut Problems) {
        for (name, provider) in &self.provider {
            let Some(place) = at.child("provider").and_then(|table| table.child(name)) else { continue };
            let (inline, file) = (&provider.client_secret, &provider.client_secret_file);
            secrets::check(&place, "client_secret", inline, file, problems);
            let confidential = matches!(provider.kind, Kind::Google | Kind::Facebook | Kind::GitHub);
            if confidential && inline.is_none() && file.is_none() && provider.client_auth != Some(ClientAuth::None) {
                place.problem_at(
                    "client_secret_file",
                    problems,
                    format!("kind \"{}\" redeems no code without the client secret", provider.kind.word()),
                    "add client_secret_file = \"…\" (or client_secret = \"${NAME}\")",
                );
            }
        }
        if let (Some(redis), Some(place)) =
            (&self.session.redis, at.child("session").and_then(|session| session.child("redis")))
        {
            secrets::check(&place, "password", &redis.password, &redis.password_file, problems);
        }
        if let Some(place) = at.child("directory") {
            self.directory.check_secrets(&place, problems);
        }
        if let Some(place) = at.child("admin") {
            secrets::check(&place, "token", &self.admin.token, &self.admin.token_file, problems);
        }
    }
}
