//! What each kind of provider is by default: data only. Every line yields to the operator's configuration.

use crate::config::provider::{ClientAuth, Kind};

/// When PKCE is sent (RFC 7636).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pkce {
    /// Always: the provider demands it, or its discovery hides that it works.
    Always,
    /// Unless the operator turns it off.
    On,
    /// Only when the operator turns it on.
    Off,
}

/// The defaults of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    /// What people call it; empty: the operator's name for it.
    pub(super) label: &'static str,
    pub(super) scopes: &'static [&'static str],
    /// How the client proves itself; `None`: discovery says.
    pub(super) client_auth: Option<ClientAuth>,
    /// True when the kind cannot work without a secret.
    pub(super) needs_secret: bool,
    pub(super) pkce: Pkce,
    /// Added to the authorization request.
    pub(super) authorize_params: &'static [(&'static str, &'static str)],
    /// The parameter that carries a login hint.
    pub(super) login_hint: Option<&'static str>,
    /// Whether `prompt=none` works.
    pub(super) silent: bool,
    /// Whether `prompt=select_account` works.
    pub(super) select_account: bool,
    /// Whether ID tokens may leave out what userinfo has (Okta).
    pub(super) thin_id_tokens: bool,
    /// Whether tokens are revoked on sign-out unless told otherwise.
    pub(super) revokes: bool,
    /// Claims tried in turn for the display user name.
    pub(super) username_claims: &'static [&'static str],
    /// The claim that holds groups.
    pub(super) groups_claim: &'static str,
}

impl Preset {
    pub(super) const fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::Google => &GOOGLE,
            Kind::Facebook => &FACEBOOK,
            Kind::X => &X,
            Kind::Cognito => &COGNITO,
            Kind::GitHub => &GITHUB,
            Kind::Oidc => &OIDC,
            Kind::OAuth2 => &OAUTH2,
        }
    }
}

const OIDC: Preset = Preset {
    label: "",
    scopes: &["openid", "email", "profile"],
    client_auth: None,
    needs_secret: false,
    pkce: Pkce::On,
    authorize_params: &[],
    login_hint: Some("login_hint"),
    silent: true,
    select_account: true,
    thin_id_tokens: true,
    revokes: true,
    username_claims: &["preferred_username", "nickname"],
    groups_claim: "groups",
};

const GOOGLE: Preset = Preset {
    label: "Google",
    client_auth: Some(ClientAuth::Post),
    // A refresh token without a consent screen each time: it comes with the first consent only, and where there is
    // none the gateway renews with prompt=none.
    authorize_params: &[("access_type", "offline")],
    // Revoking withdraws the person's consent to the whole project, not this session's tokens.
    revokes: false,
    thin_id_tokens: false,
    username_claims: &[],
    ..OIDC
};

const COGNITO: Preset = Preset {
    label: "Amazon Cognito",
    client_auth: Some(ClientAuth::Basic),
    // Its discovery does not list S256, which nevertheless works.
    pkce: Pkce::Always,
    thin_id_tokens: false,
    username_claims: &["preferred_username", "cognito:username"],
    groups_claim: "cognito:groups",
    ..OIDC
};

const OAUTH2: Preset = Preset {
    label: "",
    scopes: &[],
    client_auth: Some(ClientAuth::Basic),
    needs_secret: false,
    pkce: Pkce::On,
    authorize_params: &[],
    login_hint: None,
    silent: false,
    select_account: false,
    thin_id_tokens: false,
    revokes: true,
    username_claims: &["preferred_username", "username", "login", "nickname"],
    groups_claim: "groups",
};

const FACEBOOK: Preset = Preset {
    label: "Facebook",
    scopes: &["public_profile", "email"],
    client_auth: Some(ClientAuth::Post),
    needs_secret: true,
    pkce: Pkce::Off,
    // Its revocation removes the app from the person's account.
    revokes: false,
    ..OAUTH2
};

const X: Preset = Preset {
    label: "X",
    // users/me needs both read scopes; users.email adds the confirmed address.
    scopes: &["users.read", "tweet.read", "users.email", "offline.access"],
    client_auth: Some(ClientAuth::Basic),
    pkce: Pkce::Always,
    ..OAUTH2
};

const GITHUB: Preset = Preset {
    label: "GitHub",
    scopes: &["read:user", "user:email"],
    client_auth: Some(ClientAuth::Post),
    needs_secret: true,
    login_hint: Some("login"),
    select_account: true,
    ..OAUTH2
};
