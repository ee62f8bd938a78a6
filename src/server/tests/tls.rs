//! TLS: which certificate, which protocol, and files that change.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::config::listen::Certificate;

struct Issued {
    files: Certificate,
    der: CertificateDer<'static>,
}

fn issue(folder: &Path, file: &str, names: &[&str]) -> Issued {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let issued = rcgen::generate_simple_self_signed(names).unwrap();
    let files =
        Certificate { cert_file: folder.join(format!("{file}.crt")), key_file: folder.join(format!("{file}.key")) };
    fs::write(&files.cert_file, issued.cert.pem()).unwrap();
    fs::write(&files.key_file, issued.signing_key.serialize_pem()).unwrap();
    Issued { files, der: issued.cert.der().clone() }
}

fn secure(certificates: &[&Issued]) -> Listen {
    let certificate = certificates.iter().map(|issued| issued.files.clone()).collect();
    Listen { tls: true, certificate, ..listen() }
}

/// Shakes hands, trusting exactly `issued`.
async fn connect(
    address: SocketAddr,
    issued: &Issued,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(issued.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

async fn ask(mut io: impl tokio::io::AsyncRead + AsyncWriteExt + Unpin, path: &str) -> String {
    io.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut heard = String::new();
    io.read_to_string(&mut heard).await.unwrap();
    heard
}

#[test]
fn the_name_picks_the_certificate_and_the_first_is_for_everyone_else() {
    let folder = tempfile::tempdir().unwrap();
    let first = issue(folder.path(), "first", &["first.test"]);
    let second = issue(folder.path(), "second", &["second.test", "*.second.test"]);
    let (_server, address) = start(secure(&[&first, &second]), limits());
    block_on(async {
        for (name, expected) in [
            ("first.test", &first),
            ("second.test", &second),
            ("SECOND.test", &second),
            ("www.second.test", &second),
            ("a.b.second.test", &first),
            ("unknown.test", &first),
            ("127.0.0.1", &first),
        ] {
            // Shown even where the name does not match: compare what was presented, not whether it is trusted.
            let shown = presented(address, name).await;
            assert_eq!(shown, expected.der, "{name}");
        }
        let io = connect(address, &second, "www.second.test", &["h2x", "http/1.1"]).await.unwrap();
        let session = io.get_ref().1;
        assert_eq!(session.negotiated_cipher_suite().unwrap().suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
        let heard = ask(io, "/who").await;
        assert!(heard.contains("sni: Some(\"www.second.test\")") && heard.contains("protocol: H1"), "{heard}");
    });
}

/// The certificate the server shows for a name.
async fn presented(address: SocketAddr, name: &str) -> CertificateDer<'static> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let seen = Arc::new(Notes(provider.clone(), std::sync::Mutex::new(None)));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(seen.clone()).with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let shown = seen.1.lock().unwrap().take();
    shown.unwrap()
}

/// Trusts everything and notes it.
#[derive(Debug)]
struct Notes(Arc<rustls::crypto::CryptoProvider>, std::sync::Mutex<Option<CertificateDer<'static>>>);

impl rustls::client::danger::ServerCertVerifier for Notes {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.1.lock().unwrap() = Some(certificate.clone().into_owned());
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn until_shown(address: SocketAddr, expected: &CertificateDer<'static>) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while presented(address, "a.test").await != *expected {
        assert!(Instant::now() < deadline, "the new certificate was not taken into use");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn new_files_are_taken_into_use_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = issue(folder.path(), "a", &["a.test"]);
    let (_server, address) = start(secure(&[&old]), limits());
    block_on(async {
        until_shown(address, &old.der).await;
        let new = issue(folder.path(), "a", &["a.test"]);
        until_shown(address, &new.der).await;
        for broken in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&new.files.cert_file, broken).unwrap();
            tokio::time::sleep(Duration::from_millis(120)).await;
            assert_eq!(presented(address, "a.test").await, new.der, "{broken}");
        }
        fs::remove_file(&new.files.cert_file).unwrap();
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert_eq!(presented(address, "a.test").await, new.der, "removed");
        let third = issue(folder.path(), "a", &["a.test"]);
        until_shown(address, &third.der).await;
    });
}

#[test]
fn a_swapped_folder_is_noticed_as_kubernetes_swaps_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for version in ["1", "2"] {
        fs::create_dir(at(version)).unwrap();
    }
    let old = issue(&at("1"), "tls", &["a.test"]);
    let new = issue(&at("2"), "tls", &["a.test"]);
    std::os::unix::fs::symlink("1", at("..data")).unwrap();
    let files = Certificate { cert_file: at("..data/tls.crt"), key_file: at("..data/tls.key") };
    let mounted = Issued { files, der: old.der.clone() };
    let (_server, address) = start(secure(&[&mounted]), limits());
    block_on(async {
        until_shown(address, &old.der).await;
        std::os::unix::fs::symlink("2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        until_shown(address, &new.der).await;
    });
}

#[test]
fn what_is_wrong_with_the_files_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let good = issue(folder.path(), "good", &["a.test"]).files;
    let other = issue(folder.path(), "other", &["a.test"]).files;
    let absent = folder.path().join("absent");
    for (cert, key, expected) in [
        (&absent, &good.key_file, "check the path"),
        (&good.cert_file, &absent, "check the path"),
        (&good.key_file, &good.key_file, "holds no certificate"),
        (&good.cert_file, &good.cert_file, "holds no private key"),
        (&good.cert_file, &other.key_file, "give the pair that was issued together"),
    ] {
        let certificate = vec![Certificate { cert_file: cert.clone(), key_file: key.clone() }];
        let listen = Listen { tls: true, certificate, ..listen() };
        let error = Server::start(&[listen], &limits(), |_| Rc::new(TestHandler)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_handshake_has_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path(), "a", &["a.test"]);
    let short = Duration::from_millis(300);
    let (_server, address) = start(secure(&[&issued]), Limits { handshake_timeout: short, ..limits() });
    let (heard, took) = timed(|| Client::new(address).say(b"\x16\x03\x01").hear_all());
    assert_eq!(heard, "");
    assert!(took >= short - Duration::from_millis(50) && took < short * 6, "{took:?}");
}

#[test]
fn http2_is_agreed_on_unless_it_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path(), "a", &["a.test"]);
    for (http2, agreed) in [(true, "h2"), (false, "http/1.1")] {
        let (_server, address) = start(Listen { http2, ..secure(&[&issued]) }, limits());
        block_on(async {
            let io = connect(address, &issued, "a.test", &["h2", "http/1.1"]).await.unwrap();
            assert_eq!(io.get_ref().1.alpn_protocol(), Some(agreed.as_bytes()));
            if http2 {
                let answer = super::http2::ask(io, "https://a.test/who").await;
                assert!(answer.contains("protocol: H2"), "{answer}");
            }
        });
    }
}

#[test]
fn what_has_two_readings_is_refused_under_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issue(folder.path(), "a", &["a.test"]);
    let (_server, address) = start(secure(&[&issued]), limits());
    block_on(async {
        let mut io = connect(address, &issued, "a.test", &[]).await.unwrap();
        io.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        let mut heard = String::new();
        io.read_to_string(&mut heard).await.unwrap();
        assert_eq!(statuses(&heard), [400], "{heard}");
    });
}
