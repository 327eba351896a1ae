//! Connections by name.

use etcd_lock_core::{Client, Registry, Result};

/// Takes a connection's name away and returns its client. It is closed when its last user drops it.
///
/// ```
/// # use etcd_lock::{ErrorKind, Registry, close};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// Registry::global().open("backend", client)?;
/// close("backend")?;
/// assert_eq!(close("backend").unwrap_err().kind(), ErrorKind::NotOpen);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `NotOpen` when no connection has this name.
pub fn close(name: &str) -> Result<Client> {
    Registry::global().close(name)
}

/// All named connections, in order of their names.
///
/// ```
/// # use etcd_lock::{Registry, info};
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// Registry::global().open("reports", client)?;
/// assert!(info().iter().any(|(name, _)| name == "reports"));
/// # Ok::<(), etcd_lock::Error>(())
/// ```
#[must_use]
pub fn info() -> Vec<(String, Client)> {
    Registry::global().info()
}
