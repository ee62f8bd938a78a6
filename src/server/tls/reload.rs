//! Certificates that change on disk are taken into use within seconds.
//!
//! The contents are compared, every few seconds, rather than the file system watched: that works for plain files, for
//! renames, for the swapped symlinks of a mounted Kubernetes secret, and on network file systems alike.

use std::{io, sync::Arc, sync::mpsc, thread, time::Duration};

use rustls::crypto::CryptoProvider;

use super::{
    certificate::{CertificateError, Pems},
    resolver::Resolver,
};
use crate::config::listen::Certificate;

/// How often files are looked at.
const INTERVAL: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(5) };

/// The thread that looks; ends when dropped.
#[derive(Debug)]
pub(crate) struct Reloader {
    _alive: mpsc::Sender<()>,
}

/// One listener's files and what was last seen in them.
struct Watched {
    files: Vec<Certificate>,
    resolver: Arc<Resolver>,
    seen: Option<Vec<Pems>>,
    /// They could not be read last time; said once.
    unreadable: bool,
}

impl Reloader {
    pub(super) fn start(
        watched: Vec<(Vec<Certificate>, Arc<Resolver>)>,
        provider: Arc<CryptoProvider>,
    ) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel::<()>();
        let mut watched: Vec<Watched> = watched
            .into_iter()
            .map(|(files, resolver)| {
                let seen = read(&files).ok();
                Watched { files, resolver, seen, unreadable: false }
            })
            .collect();
        thread::Builder::new().name("certificates".into()).spawn(move || {
            while ended.recv_timeout(INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                for listener in &mut watched {
                    listener.look(&provider);
                }
            }
        })?;
        Ok(Self { _alive: alive })
    }
}

impl Watched {
    fn look(&mut self, provider: &CryptoProvider) {
        let pems = match read(&self.files) {
            Ok(pems) => pems,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::error!(%error, "a certificate cannot be read again; the one in use stays");
                }
                return;
            }
        };
        self.unreadable = false;
        if self.seen.as_ref() == Some(&pems) {
            return;
        }
        match self.resolver.replace(&self.files, &pems, provider) {
            Ok(()) => tracing::info!("new certificates are in use"),
            Err(error) => tracing::error!(%error, "a new certificate cannot be used; the one in use stays"),
        }
        // Remembered even when unusable: said once, tried again when the files change again.
        self.seen = Some(pems);
    }
}

fn read(files: &[Certificate]) -> Result<Vec<Pems>, CertificateError> {
    files.iter().map(Pems::read).collect()
}
