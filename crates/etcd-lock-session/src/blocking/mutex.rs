//! Mutexes.

use bytes::Bytes;
use etcd_lock_core::{LockName, Result, Timeout};

use super::runtime::wait;
use super::{LockGuard, Session, Waiter};

/// A lock on etcd, for the threads of one session: see [`Mutex`](crate::Mutex).
#[derive(Clone, Debug)]
pub struct Mutex(crate::Mutex);

impl Mutex {
    /// The lock of this name. Nothing is sent yet.
    ///
    /// # Errors
    /// `InvalidArgument` when the name is empty or too long.
    pub fn new(session: &Session, name: impl Into<Bytes>) -> Result<Self> {
        crate::Mutex::new(&session.0, name).map(Self)
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &LockName {
        self.0.name()
    }

    /// Waits until the lock is held, for as long as it takes.
    ///
    /// # Errors
    /// As the [async one](crate::Mutex::lock).
    pub fn lock(&self) -> Result<LockGuard> {
        wait(self.0.lock()).map(LockGuard)
    }

    /// Waits until the lock is held, for a limited time.
    ///
    /// # Errors
    /// As the [async one](crate::Mutex::lock_timeout).
    pub fn lock_timeout(&self, timeout: impl Into<Timeout>) -> Result<LockGuard> {
        wait(self.0.lock_timeout(timeout)).map(LockGuard)
    }

    /// Enters the queue. The waiter tells how many are before it, and becomes a guard.
    ///
    /// # Errors
    /// As the [async one](crate::Mutex::enqueue).
    pub fn enqueue(&self) -> Result<Waiter> {
        wait(self.0.enqueue()).map(Waiter)
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// # Errors
    /// As the [async one](crate::Mutex::try_lock).
    pub fn try_lock(&self) -> Result<LockGuard> {
        wait(self.0.try_lock()).map(LockGuard)
    }
}
