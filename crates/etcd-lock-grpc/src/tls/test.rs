//! Handshakes with a server in the same process.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use etcd_lock_core::{Error, ErrorKind, Result};
use etcd_lock_testkit::certificates::{Authority, Pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{Tls, TlsOptions};
use crate::connector::BoxIo;

#[tokio::test]
async fn server_of_a_trusted_authority_is_accepted_by_address_and_by_name() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    for host in ["127.0.0.1", "localhost", "::1", "[::1]"] {
        let server = Server::new(&authority.server());
        assert_eq!(server.greets(&tls, host).await.unwrap(), None, "{host}");
    }
    let text = Tls::new(TlsOptions::new().with_ca_pem(authority.ca())).unwrap();
    let server = Server::new(&authority.server());
    server.greets(&text, "localhost").await.unwrap();
}

#[tokio::test]
async fn server_of_another_authority_is_refused_and_the_ca_file_named() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = Tls::new(trusting(&ours)).unwrap();
    let error = Server::new(&theirs.server()).refused_by(&tls).await;
    says(&error, ErrorKind::Protocol, &ours.ca_file().display());
}

#[tokio::test]
async fn expired_server_is_unavailable_and_its_end_named() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    let server = Server::new(&authority.expired_server());
    let error = server.refused_by(&tls).await;
    says(
        &error,
        ErrorKind::Unavailable,
        &"expired at 2021-01-01T00:00:00Z",
    );
}

#[tokio::test]
async fn server_with_other_names_is_refused_and_they_are_named() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    let other = authority.server_for(&["a.example.org", "10.1.2.3"]);
    let error = Server::new(&other).refused_by(&tls).await;
    says(
        &error,
        ErrorKind::Protocol,
        &"is for a.example.org, 10.1.2.3",
    );
}

#[tokio::test]
async fn server_name_of_the_options_counts_instead_of_the_host() {
    let authority = Authority::new();
    let other = authority.server_for(&["etcd.example.org"]);
    let options = trusting(&authority).with_server_name("etcd.example.org");
    let tls = Tls::new(options).unwrap();
    Server::new(&other).greets(&tls, "127.0.0.1").await.unwrap();
    let error = Server::new(&authority.server()).refused_by(&tls).await;
    says(&error, ErrorKind::Protocol, &"is not for etcd.example.org");
}

#[tokio::test]
async fn client_certificate_is_shown_where_it_is_wanted() {
    let authority = Authority::new();
    let client = authority.client("worker");
    let tls = Tls::new(showing(&authority, &client)).unwrap();
    let server = Server::new(&authority.server()).wanting_clients_of(&authority);
    let seen = server.greets(&tls, "localhost").await.unwrap();
    assert_eq!(seen, Some(der(&client)));

    let text = trusting(&authority).with_identity_pem(client.certificate(), client.key());
    let server = Server::new(&authority.server()).wanting_clients_of(&authority);
    let tls = Tls::new(text).unwrap();
    assert_eq!(
        server.greets(&tls, "localhost").await.unwrap(),
        Some(der(&client))
    );
}

#[tokio::test]
async fn missing_client_certificate_is_asked_for() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    let server = Server::new(&authority.server()).wanting_clients_of(&authority);
    let error = server.refused_by(&tls).await;
    says(
        &error,
        ErrorKind::Unauthenticated,
        &"wants a client certificate",
    );
}

#[tokio::test]
async fn refused_client_certificate_is_named() {
    let (authority, theirs) = (Authority::new(), Authority::new());
    for client in [theirs.client("worker"), authority.expired_client("worker")] {
        let tls = Tls::new(showing(&authority, &client)).unwrap();
        let server = Server::new(&authority.server()).wanting_clients_of(&authority);
        let error = server.refused_by(&tls).await;
        let file = client.certificate_file().display();
        says(&error, ErrorKind::Unauthenticated, &file);
    }
}

/// A server may wait for the client's first word, other than etcd does.
#[tokio::test(start_paused = true)]
async fn silent_server_that_asked_for_a_client_certificate_is_accepted() {
    let authority = Authority::new();
    let tls = Tls::new(showing(&authority, &authority.client("worker"))).unwrap();
    let server = Server::new(&authority.server()).wanting_clients_of(&authority);
    let (ours, theirs) = duplex(16 * 1024);
    let server = tokio::spawn(async move {
        let mut stream = server.acceptor().accept(theirs).await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
        stream.flush().await.unwrap();
        word
    });
    let mut stream = tls.connect("localhost", Box::new(ours)).await.unwrap();
    stream.write_all(b"echo").await.unwrap();
    stream.flush().await.unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(word, server.await.unwrap());
}

#[tokio::test]
async fn replaced_client_certificate_is_shown_by_the_next_connection() {
    let authority = Authority::new();
    let (client, next) = (authority.client("old"), authority.client("new"));
    let tls = Tls::new(showing(&authority, &client)).unwrap();
    let connect = async || {
        let server = Server::new(&authority.server()).wanting_clients_of(&authority);
        server.greets(&tls, "localhost").await.unwrap()
    };
    assert_eq!(connect().await, Some(der(&client)));

    replace(client.certificate_file(), next.certificate());
    assert_eq!(connect().await, Some(der(&client)), "the key isn't there");
    fs::remove_file(client.key_file()).unwrap();
    assert_eq!(connect().await, Some(der(&client)), "there is no key");
    replace(client.key_file(), next.key());
    assert_eq!(connect().await, Some(der(&next)));
}

#[tokio::test]
async fn replaced_authority_is_trusted_by_the_next_connection() {
    let (authority, next) = (Authority::new(), Authority::new());
    let tls = Tls::new(trusting(&authority)).unwrap();
    Server::new(&next.server()).refused_by(&tls).await;

    replace(authority.ca_file(), "no certificate");
    let server = Server::new(&authority.server());
    server.greets(&tls, "localhost").await.unwrap();
    replace(authority.ca_file(), &next.ca());
    let server = Server::new(&next.server());
    server.greets(&tls, "localhost").await.unwrap();
    Server::new(&authority.server()).refused_by(&tls).await;
}

#[tokio::test]
async fn server_without_tls_is_told_from_others() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    let (ours, mut theirs) = duplex(16 * 1024);
    theirs
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let error = refusal(tls.connect("localhost", Box::new(ours)).await);
    says(&error, ErrorKind::Protocol, &"answers without TLS");

    let (ours, theirs) = duplex(16 * 1024);
    drop(theirs);
    let error = refusal(tls.connect("localhost", Box::new(ours)).await);
    says(
        &error,
        ErrorKind::Unavailable,
        &"broke in the TLS handshake",
    );
}

#[tokio::test]
async fn server_without_http2_is_refused() {
    let authority = Authority::new();
    let tls = Tls::new(trusting(&authority)).unwrap();
    for protocols in [&[][..], &["http/1.1"]] {
        let mut server = Server::new(&authority.server());
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        server.protocols = protocols.collect();
        let error = server.refused_by(&tls).await;
        says(&error, ErrorKind::Protocol, &"no HTTP/2");
    }
}

#[test]
fn certificates_that_cant_be_used_are_refused_before_any_connection() {
    let authority = Authority::new();
    let (client, other) = (authority.client("a"), authority.client("b"));
    let ca = authority.ca_file();
    let mixed =
        |certificate: &Path, key: &Path| trusting(&authority).with_identity_files(certificate, key);
    let nowhere = Path::new("/no/such/file");
    let damaged = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
    for (options, text) in [
        (
            TlsOptions::new().with_ca_file(nowhere),
            "can't read /no/such/file",
        ),
        (
            TlsOptions::new().with_ca_file(client.key_file()),
            "there is none in it",
        ),
        (TlsOptions::new().with_ca_pem(damaged), "it is damaged"),
        (
            mixed(client.certificate_file(), nowhere),
            "can't read /no/such/file",
        ),
        (mixed(client.certificate_file(), ca), "private key"),
        (
            mixed(client.certificate_file(), other.key_file()),
            "don't fit together",
        ),
        (
            trusting(&authority).with_server_name("a b"),
            "is no name of a server",
        ),
    ] {
        let error = Tls::new(options).unwrap_err();
        says(&error, ErrorKind::InvalidArgument, &text);
    }
}

#[test]
fn keys_are_not_printed() {
    let authority = Authority::new();
    let client = authority.client("worker");
    let options = trusting(&authority).with_identity_pem(client.certificate(), client.key());
    let secret = client.key().lines().nth(1).unwrap();
    let damaged = client.key().replace("-----END", "-----SEND");
    let error = Tls::new(
        options
            .clone()
            .with_identity_pem(client.certificate(), damaged),
    );
    for printed in [
        format!("{options:?}"),
        format!("{:?}", Tls::new(options).unwrap()),
        format!("{:?}", error.unwrap_err()),
    ] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// A server of one connection.
struct Server {
    certificate: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients_of: Option<String>,
    protocols: Vec<Vec<u8>>,
}

impl Server {
    fn new(pair: &Pair) -> Self {
        Self {
            certificate: vec![der(pair)],
            key: PrivateKeyDer::from_pem_slice(pair.key().as_bytes()).unwrap(),
            clients_of: None,
            protocols: vec![b"h2".to_vec()],
        }
    }

    fn wanting_clients_of(mut self, authority: &Authority) -> Self {
        self.clients_of = Some(authority.ca());
        self
    }

    /// Connects to it and waits for its first word. Returns the client certificate that it saw.
    async fn greets(self, tls: &Tls, host: &str) -> Result<Option<CertificateDer<'static>>> {
        let (connected, server) = self.connect(tls, host).await;
        let mut word = [0; 5];
        connected?.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"hello");
        Ok(server.await.unwrap())
    }

    /// Connects to it. Returns the error.
    async fn refused_by(self, tls: &Tls) -> Error {
        refusal(self.connect(tls, "localhost").await.0)
    }

    async fn connect(self, tls: &Tls, host: &str) -> (Result<BoxIo>, Serving) {
        let (ours, theirs) = duplex(16 * 1024);
        let server = tokio::spawn(async move {
            let mut stream = self.acceptor().accept(theirs).await.ok()?;
            stream.write_all(b"hello").await.ok()?;
            stream.flush().await.ok()?;
            let seen = stream.get_ref().1.peer_certificates()?;
            Some(seen[0].clone().into_owned())
        });
        (tls.connect(host, Box::new(ours)).await, server)
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = super::connector::provider().unwrap();
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match self.clients_of {
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                let ca = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
                roots.add(ca).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(self.certificate, self.key).unwrap();
        config.alpn_protocols = self.protocols;
        TlsAcceptor::from(Arc::new(config))
    }
}

type Serving = JoinHandle<Option<CertificateDer<'static>>>;

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().with_ca_file(authority.ca_file())
}

fn showing(authority: &Authority, client: &Pair) -> TlsOptions {
    trusting(authority).with_identity_files(client.certificate_file(), client.key_file())
}

fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate().as_bytes()).unwrap()
}

/// Writes a file that is certainly newer than the one before.
fn replace(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    let later = SystemTime::now() + Duration::from_secs(1);
    File::options()
        .append(true)
        .open(file)
        .and_then(|file| file.set_modified(later))
        .unwrap();
}

fn refusal(connected: Result<BoxIo>) -> Error {
    match connected {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, text: &dyn ToString) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.to_string().contains(&text.to_string()), "{error:?}");
}
