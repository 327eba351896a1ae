//! The same for programs without async: sessions, mutexes and guards whose methods return when they are done.
//!
//! The work is done on a runtime with one thread of its own, which is started when it is first needed and lives for as
//! long as the process. A client that was made outside of any runtime can be used here, and only here.
//!
//! Threads of tokio's `spawn_blocking` may call all of this. Async code should not: a call works there, too, but stops the
//! thread that the rest of that code runs on, and never returns where it waits for something that only this thread would do.
//!
//! ```
//! # use std::time::Duration;
//! # use etcd_lock_core::Client;
//! # use etcd_lock_memory::MemoryEtcd;
//! use etcd_lock_session::blocking::{Mutex, Session};
//!
//! # fn main() -> Result<(), etcd_lock_core::Error> {
//! # let client = Client::new(MemoryEtcd::new());
//! let session = Session::open(&client, Duration::from_secs(10))?;
//! let mutex = Mutex::new(&session, "report")?;
//! let guard = mutex.lock()?;
//! assert!(guard.is_held());
//! guard.unlock()?;
//! session.close()
//! # }
//! ```

mod functions;
mod guard;
mod mutex;
mod runtime;
mod session;
mod waiter;

pub use functions::{lock, lock_with, queue, try_lock, unlock, verify};
pub use guard::{FencedTxn, LockGuard};
pub use mutex::Mutex;
pub use session::Session;
pub use waiter::Waiter;

/// Leases, as in [`etcd_lock_core::lease`] and [`crate::lease`].
pub mod lease {
    pub use super::functions::lease::*;
}
