//! How locks behave, over any [`Transport`](etcd_lock_core::Transport): the wait queue, sessions, mutexes and guards.
//!
//! | item | what it is for |
//! | --- | --- |
//! | [`Queue`] | a transport that takes and releases locks by transactions and one shared watch stream |
//! | [`Session`] | a lease that is kept alive, and says when it can no longer be trusted |
//! | [`Mutex`], [`LockGuard`] | locks for tasks, with fencing tokens and loss detection |
//! | [`DetachedHold`] | a hold that goes on in another process |
//! | [`verify`] | asking whether a fencing token is that of the holder |
//! | [`queue`], `Owner` | the holder and the waiters of a lock, for people; `Owner` with the feature `owner` |
//! | `blocking` | the same without async, with the feature of this name |
//! | [`lease`] | keeping a bare lease alive, as `eetcd_lease` does |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
#[cfg(feature = "blocking")]
pub mod blocking;
mod clock;
mod detached;
mod guard;
mod inspect;
mod keep_alives;
mod keeper;
pub mod lease;
mod metrics;
mod mutex;
#[cfg(feature = "owner")]
mod owner;
mod ownership;
mod queue;
mod session;
mod tuning;
mod validity;
mod waiter;
mod watches;

pub use detached::DetachedHold;
pub use guard::{FencedTxn, LockGuard};
pub use inspect::{QueueEntry, QueueView, queue, verify};
pub use mutex::Mutex;
#[cfg(feature = "owner")]
pub use owner::Owner;
pub use queue::Queue;
pub use session::{Session, SessionOptions};
pub use waiter::Waiter;
#[doc(hidden)]
pub use {clock::System, tuning::Tuning};
