//! The client's side of TLS.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_lock_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::TlsOptions;
use super::explain::Handshake;
use super::identity::Shown;
use super::roots::Roots;
use super::source::{Source, Version};
use crate::connector::BoxIo;

/// How long to wait for a server that asked for a client certificate to say something, be it that it refuses it. A member
/// of etcd speaks first and at once.
const VERDICT: Duration = Duration::from_secs(1);

/// HTTP/2, as TLS names it.
const H2: &[u8] = b"h2";

/// Makes connections secure. Clones share the certificates that were read.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Inner>);

struct Inner {
    options: TlsOptions,
    current: Mutex<Arc<Loaded>>,
}

impl Tls {
    /// Reads all certificates.
    ///
    /// # Errors
    /// `InvalidArgument` when a certificate or key can't be used, the server name is none, or no authority is trusted.
    pub(crate) fn new(options: TlsOptions) -> Result<Self> {
        if let Some(name) = &options.server_name {
            server_name(name)?;
        }
        let current = Mutex::new(Arc::new(Loaded::new(&options)?));
        Ok(Self(Arc::new(Inner { options, current })))
    }

    /// Makes a connection to `host` secure, for HTTP/2.
    ///
    /// # Errors
    /// - `Unavailable` when the connection breaks, or the server's certificate is expired or not valid yet.
    /// - `Protocol` when the server speaks no TLS or no HTTP/2, or its certificate is another's or is not trusted.
    /// - `Unauthenticated` when the server wants a client certificate and none is given, or it refuses the one that is.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(crate) async fn connect(&self, host: &str, io: BoxIo) -> Result<BoxIo> {
        let name = server_name(self.0.options.server_name.as_deref().unwrap_or(host))?;
        let loaded = self.current().await?;
        let shown = Arc::new(Shown::new(loaded.identity.clone()));
        let mut config = loaded.config.clone();
        config.client_auth_cert_resolver = shown.clone();
        let handshake = Handshake {
            host,
            trusted: &loaded.trusted,
            identity: self.0.options.identity.as_ref(),
        };

        let connecting = TlsConnector::from(Arc::new(config)).connect(name, io);
        let stream = connecting.await.map_err(|error| handshake.failed(error))?;
        if stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(handshake.without_http2());
        }
        if shown.was_asked_for() {
            accepted(stream, &handshake).await
        } else {
            Ok(Box::new(stream))
        }
    }

    /// The certificates, read again where their files have changed.
    async fn current(&self) -> Result<Arc<Loaded>> {
        let inner = self.0.clone();
        let current = tokio::task::spawn_blocking(move || inner.current()).await;
        current.map_err(|error| {
            let text = "can't read the certificates: the runtime is shutting down";
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })
    }
}

impl Inner {
    fn current(&self) -> Arc<Loaded> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if versions(&self.options) != current.versions {
            match Loaded::new(&self.options) {
                Ok(loaded) => *current = Arc::new(loaded),
                Err(error) => tracing::warn!(
                    %error,
                    "the certificates have changed and can't be used: new connections use the ones before them"
                ),
            }
        }
        current.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.options).finish()
    }
}

/// The configuration made of the certificates in one state of their files.
struct Loaded {
    config: ClientConfig,
    identity: Option<Arc<CertifiedKey>>,
    /// The authorities, as errors name them.
    trusted: String,
    versions: Vec<Option<Version>>,
}

impl Loaded {
    fn new(options: &TlsOptions) -> Result<Self> {
        // Before the files are read: if one changes meanwhile, the next connection sees that.
        let versions = versions(options);
        let provider = provider()?;
        let roots = Roots::load(options)?;
        let identity = options.identity.as_ref();
        let identity = identity
            .map(|identity| identity.load(&provider))
            .transpose()?;
        let trusted = roots.to_string();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                Error::invalid_argument("no version of TLS can be used").with_source(error)
            })?
            .with_root_certificates(roots.store)
            .with_no_client_auth();
        config.alpn_protocols = vec![H2.to_vec()];
        // Each connection looks at the certificate that the server has now, and shows the one that we have now.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config,
            identity: identity.map(Arc::new),
            trusted,
            versions,
        })
    }
}

fn versions(options: &TlsOptions) -> Vec<Option<Version>> {
    options.sources().map(Source::version).collect()
}

/// In TLS 1.3 a server judges the client's certificate when the handshake is done for the client. So it takes a look at
/// what comes first: the server's settings for HTTP/2, or that it refuses.
async fn accepted(stream: TlsStream<BoxIo>, handshake: &Handshake<'_>) -> Result<BoxIo> {
    let mut stream = BufReader::new(stream);
    if let Ok(Err(error)) = timeout(VERDICT, stream.fill_buf()).await {
        return Err(handshake.failed(error));
    }
    Ok(Box::new(stream))
}

/// The cryptography: the program's own choice, or the one that is compiled in.
pub(super) fn provider() -> Result<Arc<CryptoProvider>> {
    if let Some(chosen) = CryptoProvider::get_default() {
        return Ok(chosen.clone());
    }
    #[cfg(feature = "tls-ring")]
    return Ok(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ));
    #[cfg(all(feature = "tls-aws-lc", not(feature = "tls-ring")))]
    return Ok(Arc::new(
        tokio_rustls::rustls::crypto::aws_lc_rs::default_provider(),
    ));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
    Err(Error::invalid_argument(
        "this program was built without cryptography for TLS: build it with the feature tls-ring or tls-aws-lc of etcd-lock",
    ))
}

/// The name of a server: a DNS name, or an IP address with or without brackets.
fn server_name(name: &str) -> Result<ServerName<'static>> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|error| {
        Error::invalid_argument(format!("{name:?} is no name of a server")).with_source(error)
    })
}
