#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "grpc")]
mod connect;
mod eetcd;
#[cfg(feature = "memory")]
mod in_memory;
pub mod lease;
mod names;

pub use etcd_lock_core as core;
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
pub use eetcd::{
    lock, lock_with, new, try_lock, unlock, with_key, with_lease, with_name, with_timeout,
};

#[doc(inline)]
pub use etcd_lock_core::{
    Client, Context, Error, ErrorKind, FenceGate, FencingToken, LeaseId, LockKey, LockName,
    LockResponse, Registry, Result, Revision, Timeout, Transport, Ttl, UnlockResponse, fence, kv,
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
