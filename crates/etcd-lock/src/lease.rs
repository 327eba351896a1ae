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
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, grant, leases, revoke,
    time_to_live,
};
#[doc(inline)]
pub use etcd_lock_session::lease::{keep_alive, keep_alive_once};
