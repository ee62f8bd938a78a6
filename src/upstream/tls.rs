//! TLS towards https targets.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::BuildError;
use crate::config::upstream as config;

/// The TLS settings of one upstream: one for requests, one for upgrades.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// Offers HTTP/2 where the configuration asks for it.
    pub(super) requests: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone: a WebSocket needs it (RFC 6455, 1.3).
    pub(super) upgrades: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files the configuration names.
    pub(super) fn open(config: &config::Upstream) -> Result<Self, BuildError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if config.dangerous_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else {
            builder.with_root_certificates(roots(config.ca_file.as_deref())?)
        };
        let mut upgrades = match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => builder.with_client_auth_cert(certificates(cert)?, private_key(key)?)?,
            _ => builder.with_no_client_auth(),
        };
        upgrades.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut requests = upgrades.clone();
        if config.http2 {
            requests.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self { requests: Arc::new(requests), upgrades: Arc::new(upgrades) })
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(path, error))?;
        }
    } else {
        // Some of a system's roots are always odd; those that can be read will do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() { Err(BuildError::NoRoots) } else { Ok(roots) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| unusable(path, error));
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, "no certificate is in it")),
        other => other,
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BuildError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, why: impl ToString) -> BuildError {
    BuildError::File { path: path.into(), why: why.to_string() }
}

/// Accepts any certificate, for `dangerous_skip_verify`. The peer must still own the certificate's key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
