//! Leases: what keeps a lock's key alive. The names are eetcd's.
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock::lease;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), etcd_lock::Error> {
//! # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
//! let granted = lease::grant(&client, Duration::from_secs(60)).await?;
//! let kept = lease::keep_alive(&client, granted.id).await?;
//! // ... take locks with it ...
//! drop(kept);
//! lease::revoke(&client, granted.id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Session`](crate::Session) does all of this, and says when the lease can no longer be trusted.

#[doc(inline)]
pub use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

/// Asks for a lease.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock::lease;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// // The server may grant more than was asked for: the reply counts.
/// let granted = lease::grant(&client, Duration::from_secs(1)).await?;
/// assert_eq!(granted.ttl.as_secs(), 2);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_core::lease::grant;

/// Ends a lease.
///
/// ```
/// use etcd_lock::{ErrorKind, lease, lock_with};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let mine = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// # let yours = lease::grant(&client, Duration::from_secs(60)).await?.id;
/// lock_with(&client, "report", yours).await?;
/// lease::revoke(&client, yours).await?;
/// // The lock is free.
/// lock_with(&client, "report", mine).await?;
///
/// let error = lease::revoke(&client, yours).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_core::lease::revoke;

/// Asks how long a lease has left.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// tokio::time::sleep(Duration::from_secs(20)).await;
/// let left = lease::time_to_live(&client, granted.id).await?;
/// assert_eq!(left.remaining, Some(Duration::from_secs(40)));
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_core::lease::time_to_live;

/// Lists all leases.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// assert_eq!(lease::leases(&client).await?.leases, [granted.id]);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_core::lease::leases;

/// Keeps a lease alive.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// let kept = lease::keep_alive(&client, granted.id).await?;
/// tokio::time::sleep(Duration::from_secs(600)).await;
/// assert!(kept.is_alive());
///
/// drop(kept);
/// tokio::time::sleep(Duration::from_secs(61)).await;
/// assert_eq!(lease::time_to_live(&client, granted.id).await?.remaining, None);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_session::lease::keep_alive;

/// Renews a lease.
///
/// ```
/// use etcd_lock::lease;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), etcd_lock::Error> {
/// # let client = etcd_lock::in_memory(etcd_lock::memory::MemoryEtcd::new());
/// # let granted = lease::grant(&client, Duration::from_secs(60)).await?;
/// let renewed = lease::keep_alive_once(&client, granted.id).await?;
/// assert_eq!(renewed.ttl, Some(granted.ttl));
///
/// // One that is gone is no error.
/// lease::revoke(&client, granted.id).await?;
/// assert_eq!(lease::keep_alive_once(&client, granted.id).await?.ttl, None);
/// # Ok(())
/// # }
/// ```
#[doc(inline)]
pub use etcd_lock_session::lease::keep_alive_once;
