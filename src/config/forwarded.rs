//! `[forwarded]`: which proxies before us are believed about who calls.

use ipnet::IpNet;

use super::value::{Check, choice, section};

choice! {
    /// Which fields of a trusted proxy are believed. Exactly one family: a proxy that sets one often passes the others
    /// on as the client wrote them.
    pub enum Believe {
        /// X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host.
        XForwarded = "x-forwarded",
        /// Forwarded (RFC 7239).
        Forwarded = "forwarded",
        /// X-Real-IP, with X-Forwarded-Proto and X-Forwarded-Host.
        XRealIp = "x-real-ip",
    }
}

section! {
    /// Proxies before us. From everybody else the whole X-Forwarded-* family is removed and rebuilt.
    pub struct Forwarded {
        /// Networks of the proxies before us, such as ["10.0.0.0/8"]. Every machine in them can claim to be any client: keep them narrow. Empty: nobody is believed.
        trusted_proxies: Vec<IpNet> = vec![],
        /// Also believe whoever connects over a Unix socket.
        trust_unix_sockets: bool = false,
        /// Which fields the trusted proxies set.
        believe: Believe = Believe::XForwarded,
    }
}

impl Check for Forwarded {}
