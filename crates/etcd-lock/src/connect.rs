//! Connections to a real etcd.

use etcd_lock_core::{Client, Registry, Result};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_session::Queue;

/// Opens a connection and gives it a name. Nothing is sent before the first request.
///
/// ```
/// use etcd_lock::{ErrorKind, close, open};
///
/// # fn main() -> Result<(), etcd_lock::Error> {
/// open("orders", "127.0.0.1:2379")?;
/// assert_eq!(open("orders", "127.0.0.1:2379").unwrap_err().kind(), ErrorKind::AlreadyOpen);
/// close("orders")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`]; `AlreadyOpen` when the name is in use.
pub fn open(name: impl Into<String>, options: impl Into<ConnectOptions>) -> Result<Client> {
    let client = connect(options)?;
    Registry::global().open(name, client.clone())?;
    Ok(client)
}

/// A connection without a name. Nothing is sent before the first request.
///
/// A list of endpoints is enough; [`ConnectOptions`] has the rest, and reads the environment.
///
/// ```
/// use etcd_lock::{ConnectOptions, connect};
///
/// let client = connect(["10.0.0.1:2379", "10.0.0.2:2379"])?;
///
/// let options = ConnectOptions::new().with_login("worker", "its password");
/// let client = connect(options)?;
///
/// let client = connect(ConnectOptions::from_env()?)?;
/// # Ok::<(), etcd_lock::Error>(())
/// ```
///
/// # Errors
/// `InvalidArgument` when an endpoint isn't a URL, there is none, or the options can't work; `Unsupported` when one is
/// `https://` and this program was built without TLS.
pub fn connect(options: impl Into<ConnectOptions>) -> Result<Client> {
    let options = options.into();
    let has_queue = !options.has_server_side_locks();
    let shares_requests = options.has_group_commit();
    let transport = GrpcTransport::connect(options)?;
    Ok(match (has_queue, shares_requests) {
        (true, true) => Queue::new(GroupCommit::new(transport)).into_client(),
        (true, false) => Queue::new(transport).into_client(),
        (false, _) => Client::new(transport),
    })
}
