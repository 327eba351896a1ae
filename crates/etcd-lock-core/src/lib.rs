//! The ground that every other `etcd-lock` crate stands on: what a lock request is, and what carries it.
//!
//! Nothing in here does I/O, reads a clock or starts a task. A [`Context`] is filled in step by step, turned into a
//! checked request once, and handed to a [`Transport`]: gRPC, memory, or a double that a test brings along.
//!
//! ```
//! use std::time::Duration;
//!
//! use etcd_lock_core::{ErrorKind, LockRequest, new};
//!
//! let ctx = new("backend").with_name("report").with_lease(0x1f).with_timeout(Duration::from_secs(5));
//! let request = LockRequest::try_from(&ctx)?;
//! assert_eq!(request.key().as_bytes(), "report/1f");
//!
//! let error = LockRequest::try_from(&ctx.with_lease(0)).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::InvalidArgument);
//! # Ok::<(), etcd_lock_core::Error>(())
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`context`] | [`Context`] and the eetcd-style functions `new`, `with_*`, `lock`, `unlock` |
//! | [`client`], [`registry`] | the handle on a transport, and connections by name |
//! | [`transport`] | the trait that transports implement, with its contract |
//! | [`mod@lock`], [`lease`], [`kv`], [`watch`] | requests and replies, one module per etcd service |
//! | [`name`], [`id`], [`token`] | names, keys, leases, revisions, and fencing tokens |
//! | [`fence`] | how a resource refuses a holder that was overtaken |
//! | [`timeout`], [`error`] | how long to wait; what went wrong |

pub mod client;
pub mod context;
pub mod error;
pub mod fence;
pub mod id;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod name;
pub mod registry;
#[cfg(feature = "serde")]
mod serde;
pub mod timeout;
pub mod token;
pub mod transport;
pub mod watch;

pub use client::Client;
pub use context::{
    Context, lock, lock_with, new, try_lock, unlock, with_key, with_lease, with_name, with_timeout,
};
pub use error::{Error, ErrorKind, Result};
pub use fence::FenceGate;
pub use id::{LeaseId, Revision, Ttl};
pub use lock::{LockRequest, LockResponse, ResponseHeader, UnlockRequest, UnlockResponse};
pub use name::{LockKey, LockName};
pub use registry::Registry;
pub use timeout::Timeout;
pub use token::FencingToken;
pub use transport::{BoxStream, CallOptions, Transport};
