//! A held lock.

use std::fmt;
use std::future::Future;

use etcd_lock_core::kv::{Compare, Op, OpResponse, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, LockKey, ResponseHeader, Result, Revision, Timeout,
};

use tracing::{Instrument, debug_span};

use crate::grant::Held;
use crate::{FencingToken, metrics};

/// A lock that is held for as long as this lives, and for as long as etcd can be trusted to think so.
///
/// Dropping it releases the lock in the background, on the session's runtime: also outside of any runtime.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard {
    /// Taken by `unlock` and by `drop`, and there until then.
    held: Option<Held>,
    key: LockKey,
    token: FencingToken,
    granted_at: Revision,
    _hold: metrics::Hold,
}

impl LockGuard {
    pub(crate) fn new(held: Held) -> Self {
        let (key, token) = (held.grant.key.clone(), held.grant.token());
        let granted_at = held.grant.granted_at;
        Self {
            held: Some(held),
            key,
            token,
            granted_at,
            _hold: metrics::Hold::begin(),
        }
    }

    /// The key that exists on etcd for as long as the lock is held.
    #[must_use]
    pub const fn key(&self) -> &LockKey {
        &self.key
    }

    /// The fencing token: give it along with every write to a resource that can refuse an older one.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        self.token
    }

    /// The newest revision of the store that was known of when the lock was granted: what `etcdctl lock` calls
    /// `ETCD_LOCK_REV`. Where another session of this client passed the lock on it may be older than what that wrote. It is no
    /// fencing token.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.granted_at
    }

    /// Whether the lock is held, as far as can be known without asking: the lease can be trusted at this moment, and no
    /// deletion of the key was seen. What is done after this answer can still come too late: that is what
    /// [`token`](Self::token) and [`fenced_txn`](Self::fenced_txn) are for.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|held| held.session.is_alive() && held.grant.is_whole())
    }

    /// Waits until the lock can no longer be relied on, and says why.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn lost(&self) -> Error {
        let Some(held) = &self.held else {
            return key_gone(&self.key);
        };
        tokio::select! {
            biased;
            error = held.session.lost() => error,
            () = self.deleted(held) => key_gone(&self.key),
        }
    }

    /// Runs `work` to its end, or stops it when the lock is lost.
    ///
    /// # Errors
    /// With why the lock is lost, as [`lost`](Self::lost) says it; `work` is dropped at its current await point.
    ///
    /// # Cancel safety
    /// When dropped, `work` is dropped, and the lock stays held.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.lost() => Err(error),
            result = work => Ok(result),
        }
    }

    /// A transaction that commits only while the key is the one of this grant.
    pub fn fenced_txn(&self) -> FencedTxn<'_> {
        FencedTxn {
            guard: self,
            txn: TxnRequest::new(),
            timeout: Timeout::DEFAULT,
        }
    }

    /// Releases the lock: to the next task of this session, or else on etcd. Whoever comes next in this process need not wait
    /// for etcd's answer, unless a [`fenced_txn`](Self::fenced_txn) of this guard got none.
    ///
    /// # Errors
    /// When etcd could not be told: the lock is then free after the session's time to live, or when it is closed.
    ///
    /// # Cancel safety
    /// When dropped, the release may or may not have reached etcd.
    pub async fn unlock(mut self) -> Result<()> {
        let span = debug_span!("lock.release", lock.key = %self.key, lock.token = %self.token);
        match self.held.take() {
            Some(held) => held.release().instrument(span).await,
            None => Ok(()),
        }
    }

    /// Returns when the key was deleted.
    async fn deleted(&self, held: &Held) {
        let mut seen = self.token.create_revision();
        let follower = held.session.queue().follow(&self.key);
        loop {
            let news = follower.news(self.key.as_bytes());
            if news.deleted > self.token.create_revision() {
                return;
            }
            // A watch that began after the grant says nothing about the time between.
            if news.since.is_some_and(|since| since > seen) {
                match self.created_now(held).await {
                    Ok((header, created)) if created == self.token.create_revision() => {
                        seen = header.revision;
                    }
                    Ok((header, _)) => {
                        let created = self.token.create_revision();
                        return follower.note_gone(self.key.as_bytes(), created, header);
                    }
                    Err(error) => {
                        tracing::debug!(%error, key = %self.key, "can't read the lock's key")
                    }
                }
            }
            follower.changed().await;
        }
    }

    async fn created_now(&self, held: &Held) -> Result<(ResponseHeader, Revision)> {
        let request = RangeRequest::key(self.key.as_bytes().clone()).keys_only();
        let reply = held
            .session
            .transport()
            .range(request, CallOptions::default())
            .await?;
        let created = reply
            .kvs
            .first()
            .map_or(Revision::ZERO, |kv| kv.create_revision);
        Ok((reply.header, created))
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &self.key)
            .field("token", &self.token)
            .field("is_held", &self.is_held())
            .finish_non_exhaustive()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let runtime = held.session.runtime().clone();
            runtime.spawn(async move {
                if let Err(error) = held.release().await {
                    tracing::debug!(%error, "could not release a dropped lock");
                }
            });
        }
    }
}

/// A transaction under way that commits only while its guard's lock is held.
#[derive(Debug)]
#[must_use]
pub struct FencedTxn<'a> {
    guard: &'a LockGuard,
    txn: TxnRequest,
    timeout: Timeout,
}

impl FencedTxn<'_> {
    /// Adds a condition of its own.
    pub fn when(mut self, compare: Compare) -> Self {
        self.txn = self.txn.when(compare);
        self
    }

    /// Adds an operation for when the lock is held and all conditions are true.
    pub fn and_then(mut self, op: impl Into<Op>) -> Self {
        self.txn = self.txn.and_then(op);
        self
    }

    /// Bounds how long it may take. 9 s by default.
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Commits. The reply has `succeeded` false where one of its own conditions did not hold.
    ///
    /// # Errors
    /// `Lost` when the lock is not held any more: nothing was written. An error with
    /// [`is_outcome_unknown`](Error::is_outcome_unknown) leaves open whether it was: it is never sent twice.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not have been committed.
    pub async fn commit(self) -> Result<TxnResponse> {
        let Self {
            guard,
            txn,
            timeout,
        } = self;
        let held = guard.held.as_ref().ok_or_else(|| key_gone(&guard.key))?;
        let key = guard.key.as_bytes();
        let created = guard.token.create_revision();
        let txn = txn
            .when(Compare::create_revision(key.clone(), created))
            .or_else(RangeRequest::key(key.clone()).keys_only());
        let call = CallOptions::new(timeout.checked()?);
        held.grant.note_sent();
        let result = held.session.transport().txn(txn, call).await;
        if !matches!(&result, Err(error) if error.is_outcome_unknown()) {
            held.grant.note_answered();
        }
        let mut reply = result?;
        if reply.succeeded {
            return Ok(reply);
        }
        match reply.responses.pop() {
            Some(OpResponse::Range(own))
                if own
                    .kvs
                    .first()
                    .is_some_and(|kv| kv.create_revision == created) =>
            {
                Ok(reply)
            }
            _ => Err(key_gone(&guard.key)),
        }
    }
}

fn key_gone(key: &LockKey) -> Error {
    Error::new(ErrorKind::Lost, format!("the lock's key {key} is gone"))
}
