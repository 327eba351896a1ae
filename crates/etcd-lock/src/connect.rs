//! Connections to a real etcd.

use etcd_lock_core::{Client, Registry, Result};
use etcd_lock_grpc::{Config, GrpcTransport, Options as GrpcOptions};
use etcd_lock_session::Queue;

/// How a connection is made.
#[derive(Clone, Debug, Default)]
#[must_use]
#[non_exhaustive]
pub struct Options {
    grpc: GrpcOptions,
    server_side_locks: bool,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// TLS, login, timeouts and the choice of endpoints. Where nothing else is set, they can be given to [`connect`] as they
    /// are.
    ///
    /// ```
    /// use etcd_lock::{connect, grpc};
    ///
    /// let options = grpc::Options::new().with_login("worker", "its password");
    /// let client = connect(["127.0.0.1:2379"], options)?;
    /// # Ok::<(), etcd_lock::Error>(())
    /// ```
    pub fn with_grpc(mut self, options: GrpcOptions) -> Self {
        self.grpc = options;
        self
    }

    /// Whether locks are taken by etcd's `Lock` RPC instead of by our own wait queue: slower, and with hazards that a
    /// client can only soften. Off by default.
    pub fn server_side_locks(mut self, on: bool) -> Self {
        self.server_side_locks = on;
        self
    }
}

impl From<GrpcOptions> for Options {
    fn from(grpc: GrpcOptions) -> Self {
        Self::new().with_grpc(grpc)
    }
}

/// Opens a connection and gives it a name. Nothing is sent before the first request.
///
/// ```
/// use etcd_lock::{ErrorKind, Options, close, open};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// open("orders", ["127.0.0.1:2379"], Options::new()).await?;
/// let again = open("orders", ["127.0.0.1:2379"], Options::new()).await;
/// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyOpen);
/// close("orders")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`]; `AlreadyOpen` when the name is in use.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn open(
    name: impl Into<String>,
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    options: impl Into<Options>,
) -> Result<Client> {
    let client = connect(endpoints, options)?;
    Registry::global().open(name, client.clone())?;
    Ok(client)
}

/// A connection without a name. Nothing is sent before the first request.
///
/// ```
/// use etcd_lock::{Options, connect};
///
/// let client = connect(["http://127.0.0.1:2379", "http://127.0.0.1:22379"], Options::new())?;
/// # Ok::<(), etcd_lock::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` when an endpoint isn't a URL, there is none, or the options can't work; `Unsupported` when one is
/// `https://` and this program was built without TLS.
pub fn connect(
    endpoints: impl IntoIterator<Item = impl AsRef<str>>,
    options: impl Into<Options>,
) -> Result<Client> {
    let options = options.into();
    let transport = GrpcTransport::connect(endpoints, options.grpc)?;
    Ok(if options.server_side_locks {
        Client::new(transport)
    } else {
        Queue::new(transport).into_client()
    })
}

/// A connection to the etcd that the environment variables of `etcdctl` name, as [`Config`] reads them. Nothing is sent
/// before the first request.
///
/// ```
/// let client = etcd_lock::connect_from_env()?;
/// # Ok::<(), etcd_lock::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` when a variable has a value that can't be right, or does not go together with the others;
/// `Unsupported` when an endpoint has TLS and this program was built without.
pub fn connect_from_env() -> Result<Client> {
    let config = Config::from_env()?;
    connect(config.endpoints(), config.options().clone())
}
