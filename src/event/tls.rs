//! TLS towards brokers.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::misfit::Misfit;

/// The files a broker's section names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    /// Authorities to trust instead of the system's.
    pub(super) ca: Option<&'a Path>,
    /// Our certificate chain.
    pub(super) cert: Option<&'a Path>,
    /// Its key.
    pub(super) key: Option<&'a Path>,
}

impl Files<'_> {
    /// Whether any is given.
    pub(super) fn any(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }

    /// Reads them.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, Misfit> {
        // Named, not the process's default: some drivers bring a second provider into the binary.
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| Misfit::new("ca_file", format!("TLS cannot be had ({why})")))?
            .with_root_certificates(roots(self.ca)?);
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => {
                let private = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable("key_file", key, why))?;
                let chain = certificates("cert_file", cert)?;
                builder.with_client_auth_cert(chain, private).map_err(|why| unusable("key_file", key, why))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(client))
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Misfit> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates("ca_file", path)? {
                roots.add(certificate).map_err(|why| unusable("ca_file", path, why))?;
            }
        }
        // Some of a system's roots are always odd; those that can be read will do.
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    let nobody = "this system has no certificate authorities: install ca-certificates, or set ca_file";
    if roots.is_empty() { Err(Misfit::new("ca_file", nobody)) } else { Ok(roots) }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Misfit> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(key, path, "no certificate is in it")),
        Ok(found) => Ok(found),
        Err(why) => Err(unusable(key, path, why)),
    }
}

fn unusable(key: &'static str, path: &Path, why: impl ToString) -> Misfit {
    let path = path.display();
    let remedy = "give a PEM file that fits and that the user who runs brama can read";
    Misfit::new(key, format!("{path} cannot be used ({}): {remedy}", why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::support::certificates;

    #[test]
    fn files_that_do_not_fit_are_named_with_their_key() {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("empty.crt"), "").unwrap();
        let (ca, cert, key, empty) = (at("ca.crt"), at("client.crt"), at("client.key"), at("empty.crt"));
        let files = Files { ca: Some(&ca), cert: Some(&cert), key: Some(&key) };
        files.client().unwrap();
        for (files, named) in [
            (Files { ca: Some(&empty), ..files }, "ca_file"),
            (Files { ca: Some(Path::new("/nonexistent")), ..files }, "ca_file"),
            (Files { cert: Some(&key), ..files }, "cert_file"),
            (Files { key: Some(&cert), ..files }, "key_file"),
        ] {
            assert_eq!(files.client().unwrap_err().key, named);
        }
    }
}
