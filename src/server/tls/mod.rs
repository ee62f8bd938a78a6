//! TLS: which versions, ciphers and certificates; and certificates that change under way.
//!
//! TLS 1.2 and 1.3 by rustls on aws-lc-rs, X25519MLKEM768 first. The server's order of ciphers counts and begins with
//! AES-128-GCM: SHA-384 has no hardware path on most machines and would be a fifth of a handshake. Tickets are stateless.

mod certificate;
pub(super) mod examine;
mod reload;
mod resolver;

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
};

pub use certificate::CertificateError;
pub(super) use reload::Reloader;
use resolver::Resolver;

use crate::config::listen::Listen;

/// The TLS of each listener, and what keeps their certificates up to date (`None` when there are none).
#[expect(clippy::type_complexity, reason = "a pair, taken apart at once")]
pub(super) fn secure(
    listens: &[Listen],
) -> Result<(Vec<Option<Arc<ServerConfig>>>, Option<Reloader>), super::StartError> {
    let provider = Arc::new(provider());
    let mut watched = Vec::new();
    let mut configs = Vec::with_capacity(listens.len());
    for listen in listens {
        configs.push(if listen.tls {
            let resolver = Arc::new(Resolver::load(&listen.certificate, &provider)?);
            watched.push((listen.certificate.clone(), Arc::clone(&resolver)));
            Some(Arc::new(configure(listen, resolver, Arc::clone(&provider))?))
        } else {
            None
        });
    }
    let reloader = (!watched.is_empty()).then(|| Reloader::start(watched, provider)).transpose();
    Ok((configs, reloader.map_err(super::StartError::Thread)?))
}

fn configure(
    listen: &Listen,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.ignore_client_order = true;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = if listen.http2 { vec![b"h2".to_vec()] } else { Vec::new() };
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// aws-lc-rs with its ciphers sorted by cost; the key exchanges are in the right order already.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(cost);
    provider
}

/// Sorts stably: TLS 1.3 before 1.2, within each AES-128 first.
fn cost(suite: &SupportedCipherSuite) -> (bool, bool) {
    let is_aes_128 = format!("{:?}", suite.suite()).contains("AES_128_GCM");
    (suite.tls13().is_none(), !is_aes_128)
}

/// A path for people.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CipherSuite, NamedGroup};

    #[test]
    fn cheap_ciphers_and_post_quantum_come_first() {
        let provider = provider();
        let suites: Vec<_> = provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        let first_tls12 = provider.cipher_suites.iter().find(|suite| suite.tls13().is_none()).unwrap();
        assert!(format!("{:?}", first_tls12.suite()).contains("AES_128_GCM"));
        assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
