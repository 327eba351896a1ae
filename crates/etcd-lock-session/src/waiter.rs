//! A wait for a lock that tells its position.

use std::fmt;

use etcd_lock_core::Result;

use crate::Session;
use crate::guard::LockGuard;
use crate::mutex::{Observed, why};
use crate::queue::Caller;

/// A waiter in the queue of a lock: see [`Mutex::enqueue`](crate::Mutex::enqueue).
///
/// Dropping it withdraws the queue entry in the background, unless another task of the session wants the lock.
#[must_use = "the wait ends when its waiter is dropped"]
pub struct Waiter {
    session: Session,
    caller: Caller,
    seen: Observed,
    /// The position that was told last.
    told: Option<usize>,
}

impl Waiter {
    /// Waits until the queue is entered.
    pub(crate) async fn entered(
        session: Session,
        mut caller: Caller,
        seen: Observed,
    ) -> Result<Self> {
        if let Err(refusal) = caller.entered().await {
            return Err(why(&session, refusal).await);
        }
        Ok(Self {
            session,
            caller,
            seen,
            told: None,
        })
    }

    /// How many are before this waiter: entries of others in etcd's queue, and tasks of the same session. 0 once the lock is
    /// granted. `None` where that is not known yet: it is asked for then, and [`changed`](Self::changed) tells it.
    ///
    /// Of other clients only the entry right before this one is watched, so that the number may be too great for a while when
    /// one further ahead is gone. It is never too small.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        self.caller.position()
    }

    /// Waits until the [position](Self::position) is another one than what this told before, and returns it. Once the lock is
    /// granted that is 0, each time.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock), where the wait has ended without the lock.
    ///
    /// # Cancel safety
    /// Nothing is missed.
    pub async fn changed(&mut self) -> Result<usize> {
        loop {
            self.caller.changed(self.told).await;
            let position = match self.caller.outcome().await {
                Some(Err(refusal)) => return Err(why(&self.session, refusal).await),
                Some(Ok(_)) => Some(0),
                None => self
                    .position()
                    .filter(|position| Some(*position) != self.told),
            };
            if let Some(position) = position {
                self.told = Some(position);
                return Ok(position);
            }
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock).
    ///
    /// # Cancel safety
    /// As [`Mutex::lock`](crate::Mutex::lock).
    pub async fn granted(self) -> Result<LockGuard> {
        let Self {
            session,
            mut caller,
            seen,
            ..
        } = self;
        let result = match caller.granted().await {
            Ok(grant) => LockGuard::new(session, caller, grant),
            Err(refusal) => Err(why(&session, refusal).await),
        };
        seen.end(result)
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("lock", self.caller.lock())
            .field("position", &self.told)
            .finish_non_exhaustive()
    }
}
