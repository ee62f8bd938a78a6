//! TLS 1.3 as a client, with a choice of what it offers.

use std::{net::TcpStream, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, kx_group},
    },
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// How keys are agreed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Group {
    /// The classical curve of today's browsers.
    X25519,
    /// The NIST curve.
    P256,
    /// The post-quantum hybrid of today's browsers.
    X25519mlkem768,
}

/// How TLS is spoken.
#[derive(Args, Clone)]
pub(crate) struct Tls {
    /// The certificate that the server must show (PEM).
    #[arg(long)]
    ca: PathBuf,
    /// The one group to offer.
    #[arg(long, value_enum, default_value = "x25519")]
    group: Group,
}

/// A TLS connection over a blocking socket.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Tls {
    /// A client of its own, which resumes only what it began itself.
    pub(crate) fn client(&self, resume: bool) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).context("cannot read the certificate")?)?;
        let group = match self.group {
            Group::X25519 => kx_group::X25519,
            Group::P256 => kx_group::SECP256R1,
            Group::X25519mlkem768 => kx_group::X25519MLKEM768,
        };
        let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }
}

/// TLS over the socket, with the handshake done.
pub(crate) fn over(mut socket: TcpStream, client: &Arc<ClientConfig>) -> anyhow::Result<Stream> {
    let mut connection = ClientConnection::new(client.clone(), ServerName::try_from("localhost")?)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).context("the handshake failed")?;
    }
    Ok(StreamOwned::new(connection, socket))
}
