//! From settings to the driver's options.
//!
//! Whatever the address says, writes are confirmed by a majority of the replica set and its journals, and reads go to
//! the primary and see only what a majority has: an account that was made is never unmade by a change of primary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mongodb::{
    Client, Database,
    options::{
        Acknowledgment, ClientOptions, ConnectionString, Credential, ReadConcern, ReadPreference, Tls, TlsOptions,
        WriteConcern,
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::fault::{Fault, Trouble};
use crate::config::{directory::MongoDb as Config, read_secret, secrets::SecretError};

/// Why accounts in MongoDB cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file the settings name cannot be read.
    #[error("cannot read directory.mongodb.{key} {} ({why}); let the user who runs brama read it", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The password cannot be used.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Password(#[from] SecretError),
    /// A setting does not fit.
    #[error("directory.mongodb.{key}: {what}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// User or password are refused.
    #[error("{0}")]
    Credentials(String),
    /// The user lacks a right.
    #[error("{0}")]
    Rights(String),
    /// MongoDB refuses for another reason.
    #[error("{0}")]
    Refused(String),
    /// A newer version of this program has used the database.
    #[error(
        "the accounts in MongoDB are of schema {found}, this program knows up to {known}; run the newer version, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The schema there.
        found: i64,
        /// The newest schema we know.
        known: i64,
    },
    /// The schema is old and may not be changed.
    #[error(
        "the accounts in MongoDB are of schema {found}, this program needs {known}, and directory.migrate is false; run \"brama directory migrate\" with a user that may make indexes"
    )]
    Older {
        /// The schema there; 0 when there is none yet.
        found: i64,
        /// The schema we need.
        known: i64,
    },
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault.explained() {
            (Trouble::Unreachable, why) => Self::Unreachable(why),
            (Trouble::Credentials, why) => Self::Credentials(why),
            (Trouble::Rights, why) => Self::Rights(why),
            (_, why) => Self::Refused(why),
        }
    }
}

/// The address with everything the settings add to it. Reads the files they name.
pub(super) fn address(config: &Config) -> Result<ConnectionString, OpenError> {
    let mut address = ConnectionString::parse(&config.url).map_err(|error| {
        // The driver may quote the address, and that may hold a password.
        let said = if config.url.contains('@') { String::new() } else { format!(" ({error})") };
        setting(
            "url",
            format!(
                "it is not a MongoDB address{said}: write mongodb://host:27017,host:27017/?replicaSet=NAME or \
                 mongodb+srv://name; a : / ? @ inside a user or password must be percent-encoded"
            ),
        )
    })?;
    address.tls = tls(config, address.tls.take())?;
    address.credential = credential(config, address.credential.take())?;
    address.app_name = Some("brama".into());
    address.write_concern =
        Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(config.timeout).build());
    address.read_concern = Some(ReadConcern::majority());
    address.read_preference = Some(ReadPreference::Primary);
    // Shorter than the whole, so that the driver can still say why it found no server.
    let finding = config.timeout.mul_f32(0.75);
    address.server_selection_timeout = Some(finding);
    address.connect_timeout = Some(finding);
    Ok(address)
}

/// The database at the address. Looks DNS up when the address is mongodb+srv; talks to no server yet.
pub(super) async fn database(address: ConnectionString, name: &str) -> mongodb::error::Result<Database> {
    let options = ClientOptions::parse(address).await?;
    Ok(Client::with_options(options)?.database(name))
}

fn tls(config: &Config, told: Option<Tls>) -> Result<Option<Tls>, OpenError> {
    let wanted = config.ca_file.is_some() || config.cert_file.is_some();
    let mut options = match told {
        Some(Tls::Disabled) if wanted => {
            return Err(setting("url", "certificates are given, but the address says tls=false: take that out"));
        }
        Some(Tls::Enabled(options)) => options,
        None if wanted => TlsOptions::default(),
        plain => return Ok(plain),
    };
    if options.allow_invalid_certificates == Some(true) {
        return Err(setting(
            "url",
            "the address switches the check of the server's certificate off: take tlsInsecure or \
             tlsAllowInvalidCertificates out and name the authority in ca_file",
        ));
    }
    if let Some(path) = &config.ca_file {
        certificates("ca_file", &read("ca_file", path)?)?;
        options.ca_file_path = Some(path.clone());
    }
    if let Some(path) = &config.cert_file {
        let pem = read("cert_file", path)?;
        certificates("cert_file", &pem)?;
        PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| setting("cert_file", "it holds no private key: put the key (PEM) into the same file"))?;
        options.cert_key_file_path = Some(path.clone());
    }
    Ok(Some(Tls::Enabled(options)))
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<(), OpenError> {
    let first = CertificateDer::pem_slice_iter(pem).next();
    if matches!(first, Some(Ok(_))) { Ok(()) } else { Err(setting(key, "it holds no certificate: give PEM")) }
}

fn credential(config: &Config, told: Option<Credential>) -> Result<Option<Credential>, OpenError> {
    let password = read_secret(&config.password, &config.password_file, "directory.mongodb.password")?;
    if config.username.is_none() && password.is_none() {
        return Ok(told);
    }
    let mut credential = told.unwrap_or_default();
    if let Some(username) = &config.username {
        credential.username = Some(username.clone());
    }
    if let Some(password) = password {
        credential.password = Some(password.expose().to_owned());
    }
    Ok(Some(credential))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|why| OpenError::File { key, path: path.to_owned(), why })
}

fn setting(key: &'static str, what: impl Into<String>) -> OpenError {
    OpenError::Setting { key, what: what.into() }
}
