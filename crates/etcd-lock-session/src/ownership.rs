//! Whether a lease ends with its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Whether a session revokes its lease when it ends. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Ownership(Arc<State>);

#[derive(Debug)]
struct State {
    /// The lease was granted for the session, or came with a hold that was attached.
    is_own: AtomicBool,
    /// How many holds were detached, which live on with the lease.
    detached: AtomicUsize,
}

/// A hold that is being detached. Dropping it takes the lease back.
#[derive(Debug)]
pub(crate) struct Given(Option<Ownership>);

impl Ownership {
    pub(crate) fn new(is_own: bool) -> Self {
        Self(Arc::new(State {
            is_own: AtomicBool::new(is_own),
            detached: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.0.is_own.load(SeqCst) && self.0.detached.load(SeqCst) == 0
    }

    /// The lease ends with the session from now on.
    pub(crate) fn take(&self) {
        self.0.is_own.store(true, SeqCst);
    }

    pub(crate) fn give_away(&self) -> Given {
        self.0.detached.fetch_add(1, SeqCst);
        Given(Some(self.clone()))
    }
}

impl Given {
    /// The hold is detached for good.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(ownership) = &self.0 {
            ownership.0.detached.fetch_sub(1, SeqCst);
        }
    }
}
