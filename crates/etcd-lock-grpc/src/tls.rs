//! TLS: which servers are trusted, and how this client proves its identity to them.

#![cfg_attr(
    not(feature = "_tls"),
    allow(dead_code, reason = "without TLS the options only lead to an error")
)]

#[cfg(not(feature = "_tls"))]
mod absent;
#[cfg(feature = "_tls")]
mod connector;
#[cfg(feature = "_tls")]
mod explain;
#[cfg(feature = "_tls")]
mod identity;
#[cfg(feature = "_tls")]
mod roots;
mod source;
#[cfg(test)]
#[cfg(feature = "_tls")]
mod test;

use std::path::PathBuf;

use secrecy::SecretString;

#[cfg(not(feature = "_tls"))]
pub(crate) use absent::Tls;
#[cfg(feature = "_tls")]
pub(crate) use connector::Tls;
use source::Source;

/// Which servers are trusted, and how this client proves its identity to them.
///
/// By default the compiled-in kinds of root certificates are trusted (the features `tls-native-roots` and
/// `tls-webpki-roots`), and no client certificate is shown. An etcd nearly always has an authority
/// of its own: give its certificate with [`with_ca_file`](Self::with_ca_file).
///
/// Certificates and keys are checked when the transport is made. **Files are read again when they have changed**: each new
/// connection looks at their modification times. A connection that exists is kept. While the new files can't be used, for
/// example because the certificate is replaced already and its key is not, new connections use the old ones, and a
/// warning is logged.
///
/// ```
/// use etcd_lock_grpc::{ConnectOptions, GrpcTransport, TlsOptions};
///
/// # let authority = etcd_lock_testkit::certificates::Authority::new();
/// # let (ca, worker) = (authority.ca_file(), authority.client("worker"));
/// # let (certificate, key) = (worker.certificate_file(), worker.key_file());
/// let tls = TlsOptions::new()
///     .with_ca_file(ca)
///     .with_identity_files(certificate, key);
/// let options = ConnectOptions::new().with_endpoints(["https://10.0.0.1:2379"]).with_tls(tls);
/// let transport = GrpcTransport::connect(options)?;
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TlsOptions {
    ca: Option<Source>,
    identity: Option<Identity>,
    native_roots: bool,
    server_name: Option<String>,
    webpki_roots: bool,
}

/// A client certificate with the certificates of its issuers, and its key.
#[derive(Clone, Debug)]
struct Identity {
    certificate: Source,
    key: Source,
}

impl TlsOptions {
    /// Trusts the compiled-in root certificates and shows no client certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities whose certificates are in a file, as PEM. They replace the default ones.
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(Source::File(file.into()));
        self
    }

    /// Trusts the authorities of these certificates, as PEM text. They replace the default ones.
    pub fn with_ca_pem(mut self, certificates: impl Into<String>) -> Self {
        self.ca = Some(Source::Text(certificates.into().into()));
        self
    }

    /// Shows a client certificate: a file with it and with its issuers, in this order, and a file with its key, both PEM.
    ///
    /// An etcd with authentication and `--client-cert-auth` takes the certificate's common name for the user, where there
    /// is no [login](crate::ConnectOptions::with_login).
    pub fn with_identity_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some(Identity {
            certificate: Source::File(certificate.into()),
            key: Source::File(key.into()),
        });
        self
    }

    /// Shows a client certificate, both it and its key given as PEM text.
    ///
    /// The text isn't printed, and is overwritten in memory when it is dropped. The key that rustls parses from it is
    /// not overwritten.
    pub fn with_identity_pem(
        mut self,
        certificate: impl Into<String>,
        key: impl Into<SecretString>,
    ) -> Self {
        self.identity = Some(Identity {
            certificate: Source::Text(certificate.into().into()),
            key: Source::Text(key.into()),
        });
        self
    }

    /// Trusts the system's root certificates, also beside those of [`with_ca_file`](Self::with_ca_file).
    #[cfg(feature = "tls-native-roots")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-native-roots")))]
    pub const fn with_native_roots(mut self) -> Self {
        self.native_roots = true;
        self
    }

    /// Expects this name in the servers' certificates, and tells it to the servers, instead of the host of the endpoint.
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Trusts Mozilla's root certificates, also beside those of [`with_ca_file`](Self::with_ca_file).
    #[cfg(feature = "tls-webpki-roots")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-webpki-roots")))]
    pub const fn with_webpki_roots(mut self) -> Self {
        self.webpki_roots = true;
        self
    }

    /// Every file and text, to be read.
    fn sources(&self) -> impl Iterator<Item = &Source> {
        let identity = self.identity.iter();
        let identity = identity.flat_map(|identity| [&identity.certificate, &identity.key]);
        self.ca.iter().chain(identity)
    }
}
