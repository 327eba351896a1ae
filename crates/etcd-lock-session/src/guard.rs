//! A held lock.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use etcd_lock_core::kv::{Compare, Op, OpResponse, RangeRequest, TxnRequest, TxnResponse};
use etcd_lock_core::{
    CallOptions, Error, ErrorKind, FencingToken, LockKey, Result, Revision, Timeout,
};
use tracing::{Instrument, debug_span};

use crate::queue::{Caller, Grant, Standing, key_gone};
use crate::{DetachedHold, Session, metrics};

/// A lock that is held for as long as this lives, and for as long as etcd can be trusted to think so.
///
/// Dropping it releases the lock in the background, on the session's runtime: also outside of any runtime.
///
/// # For how long a hold may be relied on
///
/// The session keeps its lease alive, and reads the queue entry once per heartbeat: a third of the time to live, and 5 s at
/// most. A hold may be relied on while the lease is valid *and* its entry was seen less than nine tenths of the time to live
/// ago, both counted from before the request was sent. So where somebody else deletes the entry, [`is_held`](Self::is_held)
/// says so at once if a watch reports it, a heartbeat and the time of an attempt later (2 s at most) if reads are answered,
/// and in nine tenths of the time to live if nothing is.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard {
    /// Taken by `unlock`, and there until then.
    caller: Option<Caller>,
    session: Session,
    key: LockKey,
    token: FencingToken,
    granted_at: Revision,
    _hold: metrics::Hold,
}

impl LockGuard {
    /// # Errors
    /// Where the session has ended meanwhile: the hold is given up.
    pub(crate) fn new(session: Session, caller: Caller, grant: Grant) -> Result<Self> {
        session.check()?;
        Ok(Self {
            caller: Some(caller),
            session,
            key: grant.key,
            token: grant.token,
            granted_at: grant.header.revision,
            _hold: metrics::Hold::begin(),
        })
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
    /// `ETCD_LOCK_REV`. Where another session of this client handed the lock over it may be older than what that wrote. It is
    /// no fencing token.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.granted_at
    }

    /// Whether the lock is held, as far as can be known without asking: [`remaining`](Self::remaining) is not zero. An
    /// action after this answer can still come too late: that is what [`token`](Self::token) and
    /// [`fenced_txn`](Self::fenced_txn) are for.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.remaining().is_zero()
    }

    /// How long the lock may be relied on from now on if nothing is heard of the server any more. It grows again with each
    /// renewal and each heartbeat.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        match &self.caller {
            Some(caller) if self.session.is_alive() => caller.remaining(),
            _ => Duration::ZERO,
        }
    }

    /// Waits until the lock may be relied on for no longer than a margin, or is lost: in time to wind up what must be done
    /// before anybody else can hold the lock. Where a deletion of the entry is reported, there is no margin.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn fading(&self, margin: Duration) {
        let Some(caller) = &self.caller else {
            return;
        };
        tokio::select! {
            biased;
            _ = self.session.lost() => {}
            () = caller.fades(margin) => {}
        }
    }

    /// Waits until the lock can no longer be relied on, and says why. From then on it is lost for good: a renewal that is
    /// answered later doesn't bring it back.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn lost(&self) -> Error {
        let Some(caller) = &self.caller else {
            return key_gone(&self.key);
        };
        loop {
            tokio::select! {
                biased;
                error = self.session.lost() => return error,
                () = caller.fades(Duration::ZERO) => {}
            }
            self.session.end_if_late();
            if matches!(caller.standing(), Standing::Lost) {
                return caller.why_lost();
            }
            // Where it doesn't expire, an answer has come at the last moment.
            if caller.expire() {
                let text = format!("the lock's key {} could not be read in time", self.key);
                return Error::new(ErrorKind::Lost, text);
            }
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

    /// Gives the hold away, to be attached in another process: nothing here releases the lock any more, nor revokes its lease.
    ///
    /// All locks of a session have one lease. So a hold that is to be detached had better have a session of its own: other
    /// locks of this one can't be freed by its end any more, and the next owner's end frees them all.
    ///
    /// A fenced write that got no answer before may still be committed, for as long as the hold lasts.
    ///
    /// # Errors
    /// `Lost` or `Closed` when the lock can't be relied on any more: it is released, as by dropping the guard.
    pub fn detach(mut self) -> Result<DetachedHold> {
        // Before it is asked whether the session is closed: its end sees either this or a guard.
        let given = self.session.give_lease_away();
        self.session.check()?;
        let caller = self.caller.take().ok_or_else(|| key_gone(&self.key))?;
        if !matches!(caller.standing(), Standing::Held(_)) {
            return Err(caller.why_lost());
        }
        let nonce = caller.nonce().ok_or_else(|| key_gone(&self.key))?;
        let hold = DetachedHold::new(self.key.clone(), self.token, nonce)?;
        if !caller.detach(self.token.create_revision()) {
            return Err(key_gone(&self.key));
        }
        given.keep();
        Ok(hold)
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        self.session.runtime()
    }

    /// A transaction that commits only while the key is the one of this grant.
    pub fn fenced_txn(&self) -> FencedTxn<'_> {
        FencedTxn {
            guard: self,
            txn: TxnRequest::new(),
            timeout: Timeout::DEFAULT,
        }
    }

    /// Releases the lock: to the next task of this session, or else on etcd. The next holder in this client need not wait
    /// for etcd's answer, unless a [`fenced_txn`](Self::fenced_txn) of this guard got none.
    ///
    /// # Errors
    /// When etcd could not be told. That is tried again in the background, for as long as the session lasts.
    ///
    /// # Cancel safety
    /// When dropped, the release goes on in the background.
    pub async fn unlock(mut self) -> Result<()> {
        let span = debug_span!("lock.release", lock.key = %self.key, lock.token = %self.token);
        match self.caller.take() {
            Some(caller) => caller.release().instrument(span).await,
            None => Ok(()),
        }
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
        let caller = guard.caller.as_ref().ok_or_else(|| key_gone(&guard.key))?;
        let key = guard.key.as_bytes();
        let created = guard.token.create_revision();
        let txn = txn
            .when(Compare::create_revision(key.clone(), created))
            .or_else(RangeRequest::key(key.clone()).keys_only());
        let call = CallOptions::new(timeout.checked()?);
        caller.write_sent();
        let result = guard.session.transport().txn(txn, call).await;
        if !matches!(&result, Err(error) if error.is_outcome_unknown()) {
            caller.write_answered();
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
            _ if caller.why_lost().is_session_lost() => {
                Err(key_gone(&guard.key).with_session_lost())
            }
            _ => Err(key_gone(&guard.key)),
        }
    }
}
