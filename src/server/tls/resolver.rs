//! Picks the certificate for the name a client asks for.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::{CertificateError, Pems};
use crate::config::listen::Certificate;

/// The certificates of one listener; replaced as a whole when files change.
#[derive(Debug)]
pub(super) struct Resolver {
    current: ArcSwap<Certificates>,
}

/// Certificates by name.
#[derive(Debug)]
struct Certificates {
    default: Arc<CertifiedKey>,
    /// Lower case; a wildcard as `*.example.com`.
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl Resolver {
    pub(super) fn load(files: &[Certificate], provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let pems = files.iter().map(Pems::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { current: ArcSwap::from_pointee(Certificates::parse(files, &pems, provider)?) })
    }

    /// Takes new contents of the same files into use, or keeps the old and says why.
    pub(super) fn replace(
        &self,
        files: &[Certificate],
        pems: &[Pems],
        provider: &CryptoProvider,
    ) -> Result<(), CertificateError> {
        self.current.store(Arc::new(Certificates::parse(files, pems, provider)?));
        Ok(())
    }
}

impl Certificates {
    fn parse(files: &[Certificate], pems: &[Pems], provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let mut names = HashMap::new();
        let mut default = None;
        for (files, pems) in files.iter().zip(pems) {
            let certified = pems.parse(files, provider)?;
            for name in names_in(&certified) {
                // Of two certificates for one name the first counts.
                names.entry(name).or_insert_with(|| Arc::clone(&certified));
            }
            default.get_or_insert(certified);
        }
        // The configuration demands one; an empty list is told as the missing file it amounts to.
        let default = default.ok_or_else(|| CertificateError::NoCertificate("[[listen.certificate]]".into()))?;
        Ok(Self { default, names })
    }

    /// Exact name first, then the wildcard of its domain (RFC 6125 §6.4.3: one label), then the default.
    fn pick(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase()) else { return &self.default };
        let wildcard = || name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        self.names.get(&name).or_else(|| self.names.get(&wildcard()?)).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.current.load().pick(hello.server_name())))
    }
}

/// The DNS names a certificate is for.
fn names_in(certified: &CertifiedKey) -> Vec<String> {
    let Some(Ok(certificate)) = certified.cert.first().map(webpki::EndEntityCert::try_from) else { return Vec::new() };
    certificate.valid_dns_names().map(str::to_ascii_lowercase).collect()
}
