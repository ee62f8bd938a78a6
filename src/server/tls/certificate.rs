//! One certificate and its key, from their files.

use std::{fs, io, path::PathBuf, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::shown;
use crate::config::listen::Certificate;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}\n    {}", shown(path), read_remedy(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate\n    it must hold PEM blocks \"BEGIN CERTIFICATE\": ours first, then its chain; did cert_file and key_file change places?", shown(.0))]
    NoCertificate(PathBuf),
    /// A file holds no key.
    #[error("{} holds no private key\n    it must hold a PEM block \"BEGIN PRIVATE KEY\" without a passphrase; did cert_file and key_file change places?", shown(.0))]
    NoKey(PathBuf),
    /// The key is of a kind that is not known.
    #[error(
        "the key in {} cannot be used: {source}\n    use an RSA key of 2048 bits or more, ECDSA P-256, P-384 or P-521, or Ed25519",
        shown(path)
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The certificate is broken or not for this key.
    #[error(
        "the certificate in {} does not go with the key in {}: {source}\n    give the pair that was issued together",
        shown(cert),
        shown(key)
    )]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

fn read_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path; a relative one starts at the folder of the configuration file",
        io::ErrorKind::PermissionDenied => "let the user this runs as read it",
        _ => "check the path",
    }
}

/// What two files held when they were last looked at.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pems {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl Pems {
    pub(super) fn read(files: &Certificate) -> Result<Self, CertificateError> {
        let read =
            |path: &PathBuf| fs::read(path).map_err(|source| CertificateError::Read { path: path.clone(), source });
        Ok(Self { cert: read(&files.cert_file)?, key: read(&files.key_file)?.into() })
    }

    /// Makes sense of them.
    pub(super) fn parse(
        &self,
        files: &Certificate,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, CertificateError> {
        let no_certificate = || CertificateError::NoCertificate(files.cert_file.clone());
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(no_certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| CertificateError::NoKey(files.key_file.clone()))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|source| CertificateError::BadKey { path: files.key_file.clone(), source })?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|source| CertificateError::Mismatch {
            cert: files.cert_file.clone(),
            key: files.key_file.clone(),
            source,
        })?;
        Ok(Arc::new(certified))
    }
}
