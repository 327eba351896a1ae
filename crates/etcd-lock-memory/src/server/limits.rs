//! The limits on the calls, watches and messages that one client can make the server hold.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Status;

/// How many calls a connection may have open at once; HTTP/2 itself keeps a client to it.
pub(super) const MAX_CALLS: u32 = 4_096;

/// How many of them may be calls of `Lock`: fewer than all, so that a connection full of waiters still has room for the
/// `Unlock` that they wait for.
pub(super) const MAX_LOCKS: usize = 1_024;

/// How many watches one stream may have.
pub(super) const MAX_WATCHES: usize = 10_000;

/// The largest message that etcd takes off the wire: its largest request and half a mebibyte for all around it.
pub(super) const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// The calls of `Lock` that are open, counted by connection.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenLocks(Arc<Mutex<HashMap<Option<SocketAddr>, usize>>>);

impl OpenLocks {
    /// Counts one more until the result is dropped, or refuses it.
    pub(super) fn enter(&self, connection: Option<SocketAddr>) -> Result<OpenLock, Status> {
        let mut open = self.counts();
        let count = open.entry(connection).or_default();
        if *count >= MAX_LOCKS {
            let text =
                format!("etcd-lock: {MAX_LOCKS} calls of Lock are open on this connection already");
            return Err(Status::resource_exhausted(text));
        }
        *count += 1;
        Ok(OpenLock {
            all: self.clone(),
            connection,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Option<SocketAddr>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open call of `Lock`.
#[derive(Debug)]
pub(super) struct OpenLock {
    all: OpenLocks,
    connection: Option<SocketAddr>,
}

impl Drop for OpenLock {
    fn drop(&mut self) {
        let mut open = self.all.counts();
        if let Some(count) = open.get_mut(&self.connection) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.connection);
            }
        }
    }
}
