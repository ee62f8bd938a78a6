//! What a request at a simulator is for, and why it may be refused.

use std::fmt;

/// The endpoints of all providers, under one name each; the names are those of [`Simulator::calls`](super::Simulator::calls).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Authorize,
    Discovery,
    /// The token endpoint with a code.
    Token,
    /// The token endpoint with a refresh token.
    Refresh,
    /// The token endpoint with a short-lived token to exchange (Facebook).
    Exchange,
    Profile,
    Emails,
    Groups,
    Keys,
    Revoke,
    /// Whose token is it, and does it live (Facebook, Google, GitHub).
    Inspect,
    EndSession,
    /// Where redirecting endpoints lead; nobody should come here.
    Elsewhere,
    Unknown,
}

impl Endpoint {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Discovery => "discovery",
            Self::Token => "token",
            Self::Refresh => "refresh",
            Self::Exchange => "exchange",
            Self::Profile => "userinfo",
            Self::Emails => "emails",
            Self::Groups => "groups",
            Self::Keys => "jwks",
            Self::Revoke => "revoke",
            Self::Inspect => "inspect",
            Self::EndSession => "end_session",
            Self::Elsewhere => "elsewhere",
            Self::Unknown => "unknown",
        }
    }

    /// Any use of the token endpoint.
    pub(super) fn is_token(self) -> bool {
        matches!(self, Self::Token | Self::Refresh | Self::Exchange)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a back-channel request is refused. Every provider spells these in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No client authentication where it is needed.
    MissingClient,
    /// Unknown client or wrong secret.
    WrongClient,
    /// A parameter is missing, repeated or malformed.
    BadRequest(&'static str),
    /// This grant type does not exist here.
    UnknownGrantType,
    /// The code is unknown, used, expired or another client's.
    DeadCode,
    /// Not the redirect URI the code was asked for.
    WrongRedirect,
    /// The PKCE verifier does not fit the challenge.
    WrongVerifier,
    /// The refresh token is unknown, expired, revoked or replayed.
    DeadRefresh,
    /// The access token is unknown, expired or revoked.
    DeadAccess,
    /// The token has not the scope it would need.
    Forbidden(&'static str),
    /// Too many calls.
    TooMany,
    /// No such address.
    NotFound,
}
