//! Clients of an etcd in this process.

use etcd_lock_core::Client;
use etcd_lock_group::GroupCommit;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::Queue;

/// A client of an etcd in memory, which waits for locks as a connection to a real etcd does.
///
/// Clients that are made of clones of one [`MemoryEtcd`] share its locks.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock::memory::MemoryEtcd;
/// use etcd_lock::{Mutex, Session, in_memory};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// let etcd = MemoryEtcd::new();
/// let (one, other) = (in_memory(etcd.clone()), in_memory(etcd));
/// let session = Session::open(&one, Duration::from_secs(10)).await?;
/// let _guard = Mutex::new(&session, "report")?.lock().await?;
///
/// assert_eq!(etcd_lock::queue(&other, "report").await?.entries.len(), 1);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn in_memory(etcd: MemoryEtcd) -> Client {
    Queue::new(GroupCommit::new(etcd)).into_client()
}
