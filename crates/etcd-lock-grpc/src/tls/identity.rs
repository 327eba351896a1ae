//! The client certificate, and whether a server asked for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use etcd_lock_core::{Error, Result};
use secrecy::ExposeSecret;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::Identity;
use super::source::Source;

impl Identity {
    /// # Errors
    /// `InvalidArgument` when a file can't be read or isn't what it should be, or the key is another certificate's.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey> {
        let certificates = certificates(&self.certificate)?;
        let text = self.key.read()?;
        let key = PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes());
        let key = key.map_err(|error| no_pem(&self.key, "private key", error))?;
        CertifiedKey::from_der(certificates, key, provider).map_err(|error| {
            let (certificate, key) = (&self.certificate, &self.key);
            let text = format!(
                "the client certificate {certificate} and the key {key} don't fit together"
            );
            Error::invalid_argument(text).with_source(error)
        })
    }
}

/// All certificates of a PEM text.
///
/// # Errors
/// `InvalidArgument` when there is none, or the text can't be read.
pub(super) fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>> {
    let text = source.read()?;
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(no_pem(source, "certificate", pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(error) => Err(no_pem(source, "certificate", error)),
    }
}

fn no_pem(source: &Source, what: &str, error: pem::Error) -> Error {
    // Only this one of its texts is fit to be shown: others may contain a part of a key.
    let why = match error {
        pem::Error::NoItemsFound => "there is none in it",
        _ => "it is damaged",
    };
    Error::invalid_argument(format!("can't find a PEM {what} in {source}: {why}"))
}

/// The certificate that one connection shows, and whether the server wanted to see it.
#[derive(Debug)]
pub(super) struct Shown {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Shown {
    pub(super) const fn new(identity: Option<Arc<CertifiedKey>>) -> Self {
        Self {
            identity,
            asked: AtomicBool::new(false),
        }
    }

    /// Whether the server asked for a certificate.
    pub(super) fn was_asked_for(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        // Otherwise it is never asked, and doesn't learn that a certificate was wanted.
        true
    }
}
