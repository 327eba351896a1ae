//! The etcd that the examples run on.

use std::env;

use etcd_lock::memory::MemoryEtcd;
use etcd_lock::{Client, ConnectOptions, Result, connect, in_memory};

/// A client of the etcd that `ETCDCTL_ENDPOINTS` names, or else of one in memory.
pub(crate) fn client() -> Result<Client> {
    match env::var_os("ETCDCTL_ENDPOINTS") {
        Some(_) => connect(ConnectOptions::from_env()?),
        None => Ok(in_memory(MemoryEtcd::new())),
    }
}
