//! A small etcd in memory, for development and tests of programs that use `etcd-lock`. It is no database: it keeps nothing
//! on disk, and there is one of it.
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_core::{lease, lock_with, unlock};
//! use etcd_lock_memory::MemoryEtcd;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), etcd_lock_core::Error> {
//! let client = MemoryEtcd::new().client();
//! let lease = lease::grant(&client, Duration::from_secs(60)).await?;
//! let held = lock_with(&client, "report", lease.id).await?;
//! unlock(&client, held.key.as_bytes().clone()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! On a paused clock the end of a lease is waited for in no time, and comes at the same moment in every run:
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_core::{Timeout, lease, lock, lock_with, new};
//! use etcd_lock_memory::MemoryEtcd;
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), etcd_lock_core::Error> {
//! let client = MemoryEtcd::new().client();
//! let dead = lease::grant(&client, Duration::from_secs(60)).await?;
//! lock_with(&client, "report", dead.id).await?;
//!
//! let began = Instant::now();
//! let next = lease::grant(&client, Duration::from_secs(600)).await?;
//! let wait = new(&client).with_name("report").with_lease(next.id);
//! lock(wait.with_timeout(Timeout::Infinity)).await?;
//! assert_eq!(began.elapsed().as_secs(), 60);
//! # Ok(())
//! # }
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`model`] | the state machine: no clock, no async, no chance |
//! | [`MemoryEtcd`] | a [`Transport`](etcd_lock_core::Transport) over it, on tokio's clock, which tests may pause |
//! | `Server` | the same served over gRPC (feature `server`) |
//!
//! What is modelled: keys with revisions, history and compaction; ranges, puts, deletes and transactions with every
//! comparison; leases; watches; locks as the `Lock` service has them. Sequences of requests made up by chance are asked
//! of the model and of etcd 3.4 and 3.5, and the answers compared (`cargo xtask differential`). What is not modelled:
//! members, elections of a leader, users, TLS, alarms, snapshots, the disk. A lease ends at its deadline to the
//! nanosecond, where etcd takes up to half a second more. A transaction that deletes all keys from one on and puts one
//! of them is refused, where etcd changes that key twice at one revision. The last 10,000 revisions of history are kept
//! at least, and 20,000 at most.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod etcd;
pub mod model;
#[cfg(feature = "server")]
mod server;
mod status;
mod transport;

pub use etcd::MemoryEtcd;
#[cfg(feature = "server")]
pub use server::Server;
pub use status::{Code, Status};
