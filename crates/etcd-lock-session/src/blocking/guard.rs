//! Held locks.

use std::time::Duration;

use etcd_lock_core::kv::{Compare, Op, TxnResponse};
use etcd_lock_core::{Client, Error, FencingToken, LockKey, Result, Revision, Timeout};

use super::runtime::{wait, wait_on};
use crate::{DetachedHold, SessionOptions};

/// A lock that is held for as long as this lives, and for as long as etcd can be trusted to think so: see
/// [`LockGuard`](crate::LockGuard). Dropping it releases the lock in the background.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard(pub(super) crate::LockGuard);

impl LockGuard {
    /// The key that exists on etcd for as long as the lock is held.
    #[must_use]
    pub const fn key(&self) -> &LockKey {
        self.0.key()
    }

    /// The fencing token: give it along with every write to a resource that can refuse an older one.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        self.0.token()
    }

    /// The store's revision when etcd granted the lock. It is no fencing token.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.0.revision()
    }

    /// Whether the lock is held, as far as can be known without asking.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// How long the lock may be relied on from now on if nothing is heard of the server any more.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.remaining()
    }

    /// Waits until the lock may be relied on for no longer than a margin, or is lost.
    pub fn fading(&self, margin: Duration) {
        wait_on(self.0.runtime(), self.0.fading(margin));
    }

    /// Runs `work` on this thread, and returns what it returns if the lock was held to its end.
    ///
    /// Nothing stops a thread, so `work` runs to its end in any case. Long work asks [`is_held`](Self::is_held) now and then.
    ///
    /// # Errors
    /// With why the lock was lost, as [`lost`](Self::lost) says it; what `work` returned is dropped.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        if !self.is_held() {
            return Err(self.lost());
        }
        let result = work();
        match self.is_held() {
            true => Ok(result),
            false => Err(self.lost()),
        }
    }

    /// Waits until the lock can no longer be relied on, and says why.
    #[must_use]
    pub fn lost(&self) -> Error {
        wait_on(self.0.runtime(), self.0.lost())
    }

    /// A transaction that commits only while the key is the one of this grant.
    pub fn fenced_txn(&self) -> FencedTxn<'_> {
        FencedTxn(self.0.fenced_txn())
    }

    /// Gives the hold away, to be attached in another process.
    ///
    /// # Errors
    /// As the [async one](crate::LockGuard::detach).
    pub fn detach(self) -> Result<DetachedHold> {
        self.0.detach()
    }

    /// Goes on with a hold that another process has detached.
    ///
    /// # Errors
    /// As the [async one](SessionOptions::attach).
    pub fn attach(client: &Client, options: SessionOptions, hold: &DetachedHold) -> Result<Self> {
        wait(options.attach(client, hold)).map(Self)
    }

    /// Releases the lock: to the next thread of this session, or else on etcd.
    ///
    /// # Errors
    /// As the [async one](crate::LockGuard::unlock).
    pub fn unlock(self) -> Result<()> {
        wait(self.0.unlock())
    }
}

/// A transaction under way that commits only while its guard's lock is held: see [`FencedTxn`](crate::FencedTxn).
#[derive(Debug)]
#[must_use]
pub struct FencedTxn<'a>(crate::FencedTxn<'a>);

impl FencedTxn<'_> {
    /// Adds a condition of its own.
    pub fn when(self, compare: Compare) -> Self {
        Self(self.0.when(compare))
    }

    /// Adds an operation for when the lock is held and all conditions are true.
    pub fn and_then(self, op: impl Into<Op>) -> Self {
        Self(self.0.and_then(op))
    }

    /// Bounds how long it may take. 9 s by default.
    pub fn with_timeout(self, timeout: impl Into<Timeout>) -> Self {
        Self(self.0.with_timeout(timeout))
    }

    /// Commits. The reply has `succeeded` false where one of its own conditions did not hold.
    ///
    /// # Errors
    /// As the [async one](crate::FencedTxn::commit).
    pub fn commit(self) -> Result<TxnResponse> {
        wait(self.0.commit())
    }
}
