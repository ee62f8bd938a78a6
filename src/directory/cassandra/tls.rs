//! TLS towards the nodes.
//!
//! The driver learns most nodes from the cluster, by address, so a certificate is held against the node's IP address.
//! Where certificates bear a name instead, `server_name` says which: one name for all nodes, as they are one service.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::refusal::{OpenError, setting};
use crate::config::directory::cassandra::Cassandra as Config;

/// What `config` asks for; `None` for a connection in clear.
pub(super) fn context(config: &Config) -> Result<Option<Arc<ClientConfig>>, OpenError> {
    if config.ca_file.is_none() && config.cert_file.is_none() && config.server_name.is_none() {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = roots(config.ca_file.as_deref())?;
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| setting("ca_file", error))?;
    let verifier = Arc::new(Named { usual, name: config.server_name.as_deref().map(server_name).transpose()? });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setting("ca_file", error))?
        // Not dangerous: it is rustls' own verifier, asked about another name.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let context =
        match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates("cert_file", cert)?, private_key(key)?)
                .map_err(|error| setting("cert_file", format!("it does not go with key_file: {error}")))?,
            _ => builder.with_no_client_auth(),
        };
    Ok(Some(Arc::new(context)))
}

fn server_name(name: &str) -> Result<ServerName<'static>, OpenError> {
    ServerName::try_from(name.to_owned()).map_err(|error| setting("server_name", error))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates("ca_file", path)? {
            roots.add(certificate).map_err(|error| unusable("ca_file", path, error))?;
        }
    } else {
        // Some of a system's roots are always odd; those that can be read will do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() { Err(setting("ca_file", "no certificate authority is known: name one")) } else { Ok(roots) }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found.map_err(|error| unusable(key, path, error))? {
        none if none.is_empty() => Err(unusable(key, path, "no certificate is in it")),
        some => Ok(some),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OpenError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable("key_file", path, error))
}

fn unusable(key: &'static str, path: &Path, why: impl ToString) -> OpenError {
    OpenError::File { key, path: path.to_owned(), why: why.to_string() }
}

/// Holds a certificate against a configured name rather than the address that was dialled.
#[derive(Debug)]
struct Named {
    usual: Arc<WebPkiServerVerifier>,
    name: Option<ServerName<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(dialled);
        self.usual.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
