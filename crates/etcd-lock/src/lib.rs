//! Distributed locks on etcd: sessions, mutexes and guards, and the functions of Erlang's `eetcd_lock`.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use etcd_lock::{Mutex, Session, connect};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), etcd_lock::Error> {
//!     let client = connect(["127.0.0.1:2379"])?;
//!     let session = Session::open(&client, Duration::from_secs(10)).await?;
//!     let guard = Mutex::new(&session, "report")?.lock().await?;
//!     guard.run(async { println!("holding {}", guard.key()) }).await?;
//!     guard.unlock().await?;
//!     session.close().await
//! }
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | connect | [`connect`](connect()) with [`ConnectOptions`]; by name [`open`], [`close`], [`info`]; in tests [`in_memory`](in_memory()) |
//! | hold a lock | [`Session`], [`Mutex`], [`LockGuard`]; a [`Waiter`] in the queue |
//! | fence | [`FencingToken`], [`LockGuard::fenced_txn`] |
//! | look at a queue | [`queue`], [`Owner`] |
//! | do the same without async | [`blocking`] |
//! | lock as eetcd does | [`new`], [`with_name`], [`with_lease`], [`with_key`], [`with_timeout`], [`lock`](lock()), [`lock_with`], [`unlock`], [`lease`] |
//! | act on errors | [`Error`], [`ErrorKind`] |
//! | bring a transport | [`Transport`], [`Queue`], [`group`], [`grpc`], [`memory`] |
//!
//! Longer pages: what is [guaranteed](_documentation::guarantees) and what can't be, how to
//! [come from eetcd](_documentation::migrating_from_eetcd), and [spans and metrics](_documentation::observability).
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `grpc` (default) | connections to a real etcd |
//! | `owner` (default) | [`Owner`]: says in a queue entry which process made it |
//! | `tls-ring`, `tls-aws-lc` | `https://` endpoints, with the cryptography of ring or of AWS-LC |
//! | `tls-native-roots`, `tls-webpki-roots` | the system's root certificates or Mozilla's, where no CA certificate is given |
//! | `memory`, `server` | an in-memory etcd, and the same served over gRPC |
//! | `blocking` | sessions, mutexes and guards without async |
//! | `serde` | `Serialize` and `Deserialize` for [`LeaseId`], [`FencingToken`], [`Revision`] and [`Ttl`] |
//! | `metrics` | numbers about waits, holds and sessions, for any recorder of the `metrics` crate |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "grpc")]
mod connect;
#[cfg(feature = "memory")]
mod in_memory;
pub mod lease;
mod names;

pub use etcd_lock_core as core;
pub use etcd_lock_group as group;
#[cfg(feature = "grpc")]
pub use etcd_lock_grpc as grpc;
#[cfg(feature = "memory")]
pub use etcd_lock_memory as memory;
pub use etcd_lock_session as session;

#[cfg(feature = "grpc")]
pub use connect::{connect, open};
#[cfg(feature = "grpc")]
#[doc(inline)]
pub use etcd_lock_grpc::{ConnectOptions, EndpointChoice, TlsOptions};
#[cfg(feature = "memory")]
pub use in_memory::in_memory;
pub use names::{close, info};

#[doc(inline)]
pub use etcd_lock_core::{
    Client, Context, Error, ErrorKind, FenceGate, FencingToken, LeaseId, LockKey, LockName,
    LockResponse, Registry, Result, Revision, Timeout, Transport, Ttl, UnlockResponse, fence, kv,
};
#[doc(inline)]
pub use etcd_lock_core::{
    lock, lock_with, new, try_lock, unlock, with_key, with_lease, with_name, with_timeout,
};
#[cfg(feature = "owner")]
#[doc(inline)]
pub use etcd_lock_session::Owner;
#[doc(inline)]
#[cfg(feature = "blocking")]
pub use etcd_lock_session::blocking;
#[doc(inline)]
pub use etcd_lock_session::{
    DetachedHold, FencedTxn, LockGuard, Mutex, Queue, QueueEntry, QueueView, Session,
    SessionOptions, Waiter, queue, verify,
};

/// Longer pages.
pub mod _documentation {
    #[doc = include_str!("docs/guarantees.md")]
    pub mod guarantees {}

    #[doc = include_str!("docs/migrating_from_eetcd.md")]
    pub mod migrating_from_eetcd {}

    #[doc = include_str!("docs/observability.md")]
    pub mod observability {}
}

/// The programs of the front page are built and run, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
