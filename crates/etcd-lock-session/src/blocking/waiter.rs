//! Waits that tell their position.

use etcd_lock_core::Result;

use super::LockGuard;
use super::runtime::wait;

/// A waiter in the queue of a lock: see [`Waiter`](crate::Waiter). Dropping it withdraws the queue entry in the background.
#[derive(Debug)]
#[must_use = "the wait ends when its waiter is dropped"]
pub struct Waiter(pub(super) crate::Waiter);

impl Waiter {
    /// How many are before this waiter, where that is known.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.0.position()
    }

    /// Waits until the [position](Self::position) is another one than what this told before, and returns it.
    ///
    /// # Errors
    /// As the [async one](crate::Waiter::changed).
    pub fn changed(&mut self) -> Result<usize> {
        wait(self.0.changed())
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// As the [async one](crate::Waiter::granted).
    pub fn granted(self) -> Result<LockGuard> {
        wait(self.0.granted()).map(LockGuard)
    }
}
