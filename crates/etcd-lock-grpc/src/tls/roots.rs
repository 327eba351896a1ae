//! The authorities that are trusted.

use std::fmt;

use etcd_lock_core::{Error, Result};
use tokio_rustls::rustls::RootCertStore;

use super::TlsOptions;
use super::identity::certificates;

/// The certificates of the authorities that are trusted, and where they come from, as errors name it.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    pub(super) origin: Vec<String>,
}

impl Roots {
    /// # Errors
    /// `InvalidArgument` when the certificates can't be read, or there are none.
    pub(super) fn load(options: &TlsOptions) -> Result<Self> {
        let mut roots = Self {
            store: RootCertStore::empty(),
            origin: Vec::new(),
        };
        if let Some(source) = &options.ca {
            for certificate in certificates(source)? {
                roots.store.add(certificate).map_err(|error| {
                    Error::invalid_argument(format!(
                        "{source} has a certificate that no authority can use"
                    ))
                    .with_source(error)
                })?;
            }
            roots.origin.push(source.to_string());
        }
        let default = options.ca.is_none() && !options.native_roots && !options.webpki_roots;
        if options.native_roots || default {
            roots.add_native();
        }
        if options.webpki_roots || default {
            roots.add_webpki();
        }
        if roots.store.is_empty() {
            return Err(Error::invalid_argument(
                "no authority is trusted: give the certificate of the etcd's authority (with_ca_file, --cacert), or build \
                 with the feature tls-native-roots or tls-webpki-roots",
            ));
        }
        Ok(roots)
    }

    #[cfg(feature = "tls-native-roots")]
    fn add_native(&mut self) {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::debug!(%error, "can't read some of this system's root certificates");
        }
        self.store.add_parsable_certificates(found.certs);
        self.origin
            .push("this system's root certificates".to_owned());
    }

    #[cfg(not(feature = "tls-native-roots"))]
    fn add_native(&mut self) {}

    #[cfg(feature = "tls-webpki-roots")]
    fn add_webpki(&mut self) {
        self.store
            .extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        self.origin.push("Mozilla's root certificates".to_owned());
    }

    #[cfg(not(feature = "tls-webpki-roots"))]
    fn add_webpki(&mut self) {}
}

/// Where they come from.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin.join(" and "))
    }
}
