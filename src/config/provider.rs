//! `[provider.NAME]`: who may vouch for people.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use url::Url;

use super::problem::Problems;
use super::value::{At, Check, choice, section};
use crate::secret::Secret;

choice! {
    /// What kind of provider it is: which presets and oddities apply.
    pub enum Kind {
        /// Google, also Workspace.
        Google = "google",
        /// Facebook Login.
        Facebook = "facebook",
        /// X, formerly Twitter, OAuth 2.0.
        X = "x",
        /// An AWS Cognito user pool.
        Cognito = "cognito",
        /// GitHub or GitHub Enterprise Server.
        GitHub = "github",
        /// Any OpenID Connect issuer.
        Oidc = "oidc",
        /// Any plain OAuth 2.0 service with a JSON profile.
        OAuth2 = "oauth2",
    }
}

choice! {
    /// How the client proves itself at the token endpoint (RFC 6749, 2.3.1).
    pub enum ClientAuth {
        /// `Authorization: Basic`.
        Basic = "basic",
        /// `client_id` and `client_secret` in the form body.
        Post = "post",
        /// A public client: `client_id` in the body, no secret.
        None = "none",
    }
}

section! {
    /// One provider; its table's name appears in its callback address: `/oauth2/callback/NAME`.
    /// Every endpoint, scope and parameter below overrides what the kind's preset or discovery says.
    pub struct Provider {
        /// Kind of provider.
        kind: Kind,
        /// Name shown on the sign-in page; by default the kind's own.
        label: Option<String> = None,
        /// Client id from the registration at the provider.
        client_id: String,
        /// Client secret from the registration; better given as client_secret_file or "${NAME}".
        client_secret: Option<Secret> = None,
        /// File that holds the client secret; a trailing newline is ignored.
        client_secret_file: Option<PathBuf> = None,
        /// How the client proves itself at the token endpoint; by default what the kind needs or discovery says.
        client_auth: Option<ClientAuth> = None,
        /// Issuer, exactly as the provider spells it (kind oidc: required; cognito: from region and user_pool_id; github: the Enterprise host; oauth2: by default the token endpoint). Accounts are keyed by it: do not change it later.
        issuer: Option<String> = None,
        /// Discovery document, when it is not below the issuer (such as a Keycloak reached by an internal name).
        discovery_url: Option<Url> = None,
        /// Authorization endpoint (kind oauth2: required).
        authorize_url: Option<Url> = None,
        /// Token endpoint (kind oauth2: required).
        token_url: Option<Url> = None,
        /// Profile or userinfo endpoint (kind oauth2: required).
        userinfo_url: Option<Url> = None,
        /// Key set for ID tokens.
        jwks_url: Option<Url> = None,
        /// Token revocation endpoint (RFC 7009).
        revocation_url: Option<Url> = None,
        /// End-session endpoint (OpenID Connect RP-Initiated Logout).
        end_session_url: Option<Url> = None,
        /// Base of the provider's API, where the kind has one (github: `https://api.github.com`; facebook: `https://graph.facebook.com`; x: `https://api.x.com`).
        api_url: Option<Url> = None,
        /// Scopes to ask for instead of the kind's own.
        scopes: Option<Vec<String>> = None,
        /// Extra parameters for the authorization request, such as { hd = "example.com" }.
        authorize_params: BTreeMap<String, String> = BTreeMap::new(),
        /// Send PKCE (RFC 7636, S256 always). By default on, except for kind facebook, whose classic login ignores it.
        pkce: Option<bool> = None,
        /// Signature algorithms accepted in ID tokens; "none" is never one, HS256 only when named here.
        id_token_algorithms: Vec<String> = vec!["RS256".into()],
        /// Audiences an ID token may name besides this client (Keycloak audience mappers, Dex cross-client tokens). Any other makes it invalid.
        trusted_audiences: Vec<String> = vec![],
        /// Cognito: AWS region, such as "eu-central-1".
        region: Option<String> = None,
        /// Cognito: user pool id, such as "eu-central-1_AbCdEf123".
        user_pool_id: Option<String> = None,
        /// Cognito: jump straight to this upstream identity provider, such as "Google".
        identity_provider: Option<String> = None,
        /// Google: Workspace domains; the hd claim must name one of them. Empty: any Google account.
        hosted_domains: Vec<String> = vec![],
        /// Facebook: Graph API version.
        graph_version: String = "v24.0".into(),
        /// Facebook: take addresses it gives as verified. It states nothing about them, so the default is false.
        trust_email: bool = false,
        /// GitHub: read organisations and teams into groups (asks for the scope read:org).
        read_groups: bool = false,
        /// Claim that holds the groups; the whole name, dots and slashes are part of it.
        groups_claim: Option<String> = None,
        /// Claim that holds the subject (kind oauth2); must be stable and never reused.
        subject_claim: String = "sub".into(),
        /// Call the userinfo endpoint at login even when the ID token suffices (GitLab and Okta put groups only there).
        userinfo: Option<bool> = None,
        /// E-mail domains this provider is authoritative for; rules on e-mail domains hold only for them. Empty: any verified address.
        email_domains: Vec<String> = vec![],
        /// How often to ask the provider whether access still stands, where tokens do not expire.
        recheck_every: Duration = Duration::from_secs(3600),
        /// Also sign out at the provider on sign-out, where it can (RP-initiated logout, Cognito /logout).
        sign_out_at_provider: bool = true,
        /// Revoke the provider's tokens on sign-out, where it can. Off for Google by default: there it withdraws consent as a whole.
        revoke_on_sign_out: Option<bool> = None,
        /// Longest a call to the provider may take in all.
        timeout: Duration = Duration::from_secs(10),
        /// File with extra certificate authorities (PEM) for calls to this provider.
        ca_file: Option<PathBuf> = None,
        /// Refuse provider addresses that resolve to private networks.
        block_private_networks: bool = false,
        /// Allow http:// endpoints on other hosts than loopback. Everything the provider says can then be forged on the way.
        dangerous_allow_http: bool = false,
    }
}

impl Check for Provider {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let mut require = |name: &str, present: bool| {
            if !present {
                at.problem_at(
                    name,
                    problems,
                    format!("kind \"{}\" needs it", self.kind.word()),
                    format!("add {name} = \"…\""),
                );
            }
        };
        match self.kind {
            Kind::Oidc => require("issuer", self.issuer.is_some()),
            Kind::Cognito if self.issuer.is_none() => {
                require("region", self.region.is_some());
                require("user_pool_id", self.user_pool_id.is_some());
            }
            Kind::OAuth2 => {
                require("authorize_url", self.authorize_url.is_some());
                require("token_url", self.token_url.is_some());
                require("userinfo_url", self.userinfo_url.is_some());
            }
            _ => {}
        }
        // Kept as text: parsing would add a slash to an issuer without a path, and issuers are compared byte for byte.
        if self.issuer.as_ref().is_some_and(|issuer| Url::parse(issuer).is_err()) {
            at.problem_at("issuer", problems, "it is not a URL", "write it exactly as the provider spells it");
        }
        if self.client_secret.is_some() && self.client_secret_file.is_some() {
            at.problem_at(
                "client_secret",
                problems,
                "the secret is given twice",
                "keep client_secret_file and drop client_secret",
            );
        }
        if self.client_id.trim().is_empty() {
            at.problem_at(
                "client_id",
                problems,
                "it is empty",
                "copy the client id from the registration at the provider",
            );
        }
    }
}
