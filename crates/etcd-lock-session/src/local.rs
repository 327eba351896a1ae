//! What the tasks of one session share about one lock: whose turn it is, and a grant that was left for the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use etcd_lock_core::LockName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::grant::Grant;

/// The locks that the tasks of one session deal with, by name.
#[derive(Debug, Default)]
pub(crate) struct Locals(Mutex<BTreeMap<LockName, Weak<Local>>>);

impl Locals {
    /// The one of a name, for as long as somebody has it.
    pub(crate) fn of(&self, name: &LockName) -> Arc<Local> {
        let mut locals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(local) = locals.get(name).and_then(Weak::upgrade) {
            return local;
        }
        locals.retain(|_, local| local.strong_count() > 0);
        let local = Arc::new(Local::default());
        locals.insert(name.clone(), Arc::downgrade(&local));
        local
    }

    /// Ends all waits for a turn: the session has ended.
    pub(crate) fn close(&self) {
        let locals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for local in locals.values().filter_map(Weak::upgrade) {
            local.turns.close();
        }
    }
}

/// One lock, as the tasks of one session share it.
#[derive(Debug)]
pub(crate) struct Local {
    turns: Arc<Semaphore>,
    left: Mutex<Option<Box<Grant>>>,
    waiting: AtomicUsize,
}

impl Local {
    /// Waits for a turn, first come, first served; `None` when the session has ended. It is all that a waiting task
    /// costs: the session's keeper notices the end for all of them.
    ///
    /// # Cancel safety
    /// The place among the waiting is lost.
    pub(crate) async fn turn(self: Arc<Self>) -> Option<Turn> {
        let permit = self.turns.clone().acquire_owned().await.ok()?;
        Some(Turn {
            local: self,
            permit: Some(permit),
        })
    }

    /// A turn if nobody else has it. After the session's end nobody can get one any more, so that everybody has it.
    pub(crate) fn turn_now(self: Arc<Self>) -> Option<Turn> {
        let permit = match self.turns.clone().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(TryAcquireError::Closed) => None,
            Err(TryAcquireError::NoPermits) => return None,
        };
        Some(Turn {
            local: self,
            permit,
        })
    }

    /// Whether tasks wait for a turn.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// Counts a task that waits from now on.
    pub(crate) fn join(&self) {
        self.waiting.fetch_add(1, SeqCst);
    }

    /// One waits no longer. Whether a grant was left that nobody will come for now.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let last = self.waiting.fetch_sub(1, SeqCst) == 1;
        last && self.left(|left| left.is_some())
    }

    fn left<T>(&self, access: impl FnOnce(&mut Option<Box<Grant>>) -> T) -> T {
        access(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Local {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(1)),
            left: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// The right of one task at a time to deal with etcd about the lock. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    local: Arc<Local>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// What it is a turn of.
    pub(crate) const fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// Takes the grant that the task before left.
    pub(crate) fn take_left(&self) -> Option<Box<Grant>> {
        self.local.left(Option::take)
    }

    /// Ends the turn and leaves a grant to the next task.
    pub(crate) fn hand_on(self, grant: Box<Grant>) -> Arc<Local> {
        let Self { local, permit } = self;
        local.left(|left| *left = Some(grant));
        drop(permit);
        local
    }
}
