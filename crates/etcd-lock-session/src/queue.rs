//! Locks by transactions and watches, in etcd's own queue layout.
//!
//! An entry is a key `<name>/<lease in hex>`; the one with the least create revision holds the lock. `etcdctl lock`, Go's
//! `concurrency.Mutex` and callers of the `Lock` RPC wait in the same queue.

mod attempt;
mod keys;
mod line;
mod lookout;
mod roll;
mod successors;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use etcd_lock_core::kv::{
    Compare, DeleteRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, LockKey, LockName, LockRequest,
    LockResponse, Result, Revision, Timeout, Transport, UnlockRequest, UnlockResponse,
};

use tracing::{Instrument, debug_span};

use self::attempt::{Asked, Attempt};
use self::keys::KeyLocks;
use self::lookout::{Doubts, Lookout};
use self::roll::Rolls;
pub(crate) use self::successors::Successors;
use crate::keep_alives::KeepAlives;
use crate::tuning::Tuning;
use crate::watches::{Follower, Watches};

/// A transport that takes and releases locks by transactions on the transport below it, and waits on one shared watch
/// stream. All leases are kept alive over one stream, too; everything else is passed through.
///
/// - An uncontended lock is one request.
/// - A waiter is told of its turn by an event, and costs neither a connection nor a stream.
/// - In a long queue a release writes into the next entry, if that is empty, whose turn it is and who comes then: one read of
///   the queue serves some thirty hand-overs. Who needs it can read an entry's value, and nobody has to.
/// - Only `<name>/<hex>` keys are queue entries: `a` does not wait for a holder of `a/b`.
/// - Whatever ends a wait without a grant removes the entry, in the background, guarded by its create revision.
///
/// Clones share all state. Methods that wait must run inside a tokio runtime.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

impl Queue {
    /// A queue over `transport`, whose `lock` and `unlock` are not used.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        Self::over(Arc::new(transport))
    }

    /// The same for a transport that is shared already.
    #[must_use]
    pub fn over(transport: Arc<dyn Transport>) -> Self {
        Self::tuned(transport, Tuning::new())
    }

    /// The same with other constants.
    #[doc(hidden)]
    #[must_use]
    pub fn tuned(transport: Arc<dyn Transport>, tuning: Tuning) -> Self {
        Self(Arc::new(Inner {
            keep_alives: KeepAlives::new(transport.clone()),
            watches: Watches::new(transport.clone(), tuning),
            transport,
            tuning,
            keys: KeyLocks::default(),
            doubts: Doubts::default(),
            held: Mutex::default(),
            rolls: Rolls::default(),
        }))
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// # Errors
    /// `Busy` when somebody does, else as [`Transport::lock`].
    ///
    /// # Cancel safety
    /// When dropped, the queue entry is withdrawn in the background.
    pub async fn try_lock(
        &self,
        request: LockRequest,
        options: CallOptions,
    ) -> Result<LockResponse> {
        within(options.timeout, async {
            let mut attempt = Attempt::start(&self.0, request, options.timeout).await;
            let line = attempt.enter(Asked::Newest).await?;
            if line.is_empty() {
                return Ok(attempt.granted(line.header));
            }
            attempt.withdraw().await?;
            Err(Error::new(ErrorKind::Busy, "the lock is held by another"))
        })
        .await
    }

    /// Waits for the lock for a session, which keeps the lease alive, and looks at it when the lock is granted. So the end of
    /// another session's hold in this process is a grant, before etcd has heard of it.
    pub(crate) async fn lock_for_session(&self, request: LockRequest) -> Result<LockResponse> {
        let infinite = CallOptions::new(Timeout::Infinity);
        self.wait(request, infinite, Vouched::BySession).await
    }

    /// A session's hold is over, and nothing that was done under it can have an effect any more. Its key may stay for a
    /// moment: who comes next in this process need not wait for that.
    pub(crate) fn note_over(&self, key: &LockKey, created: Revision) {
        self.0.watches.note_over(key.as_bytes(), created);
    }

    /// Follows the deletion of a held key.
    pub(crate) fn follow(&self, key: &LockKey) -> Follower {
        self.0.watches.follow([key.as_bytes().clone()], None)
    }

    async fn wait(
        &self,
        request: LockRequest,
        options: CallOptions,
        vouched: Vouched,
    ) -> Result<LockResponse> {
        let span = debug_span!("lock.queue", lock.name = %request.name, lease.id = %request.lease);
        within(options.timeout, async {
            let name = request.name.clone();
            let mut attempt = Attempt::start(&self.0, request, options.timeout).await;
            let _standing = self.0.rolls.stand(&name);
            let asked = attempt.asks();
            let line = attempt.enter(asked).await?;
            attempt.wait(line, vouched).await
        })
        .instrument(span)
        .await
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.0.transport).finish()
    }
}

#[async_trait]
impl Transport for Queue {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.wait(request, options, Vouched::ByNobody).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        within(options.timeout, self.0.unlock(request, options)).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.0.transport.range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.0.transport.txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.0.transport.lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.0.transport.lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.0.transport.lease_time_to_live(request, options).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.0.transport.lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        Box::pin(self.0.keep_alives.stream(leases))
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.0.transport.watch(requests)
    }
}

/// Who sees to it that the lease of a waiter is alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Vouched {
    ByNobody,
    BySession,
}

struct Inner {
    transport: Arc<dyn Transport>,
    tuning: Tuning,
    keep_alives: KeepAlives,
    watches: Watches,
    keys: KeyLocks,
    doubts: Doubts,
    /// The grants of this queue that were not released yet, by key.
    held: Mutex<HashMap<LockKey, Hold>>,
    rolls: Rolls,
}

/// A grant that was not released yet.
#[derive(Debug)]
struct Hold {
    created: Revision,
    successors: Successors,
}

impl Inner {
    /// How long one request inside a longer wait may take.
    const fn request(&self) -> CallOptions {
        CallOptions::new(Timeout::After(self.tuning.request_timeout))
    }

    async fn unlock(
        self: &Arc<Self>,
        request: UnlockRequest,
        options: CallOptions,
    ) -> Result<UnlockResponse> {
        let UnlockRequest {
            key,
            create_revision,
            ..
        } = request;
        let created = match create_revision.or_else(|| self.held_at(&key)) {
            Some(created) => created,
            None => {
                let reply = self
                    .transport
                    .range(RangeRequest::key(key.as_bytes().clone()), options)
                    .await?;
                match reply.kvs.first() {
                    Some(kv) => kv.create_revision,
                    None => return Ok(UnlockResponse::new(reply.header)),
                }
            }
        };
        let reply = self.release(&key, created, options).await?;
        self.look_after(&key);
        Ok(UnlockResponse::new(reply.header))
    }

    /// Where a request to enter may still be executed, now that our entry is gone: removes what it makes.
    fn look_after(self: &Arc<Self>, key: &LockKey) {
        let Some(until) = self.doubts.take(key) else {
            return;
        };
        let lookout = Lookout {
            inner: self.clone(),
            key: key.clone(),
            permit: None,
        };
        tokio::spawn(lookout.linger(until));
    }

    /// Deletes a held key, and lets who comes next know that it is its turn, where that is known.
    async fn release(
        &self,
        key: &LockKey,
        created: Revision,
        options: CallOptions,
    ) -> Result<TxnResponse> {
        let telling = {
            let held = self.held();
            let hold = held.get(key).filter(|hold| hold.created == created);
            hold.and_then(|hold| hold.successors.release(key, created))
        };
        if let Some(txn) = telling {
            match self.transport.txn(txn, options).await {
                Ok(reply) if reply.succeeded => {
                    self.forget_held(key, created);
                    return Ok(reply);
                }
                Err(error) if error.is_outcome_unknown() => return Err(error),
                // Refused, perhaps for the other's sake.
                _ => {}
            }
        }
        self.delete(key, created, options).await
    }

    /// Deletes a key, but only the one that was created at `created`: a repeat that comes late can't end a later hold.
    async fn delete(
        &self,
        key: &LockKey,
        created: Revision,
        options: CallOptions,
    ) -> Result<TxnResponse> {
        let bytes = key.as_bytes();
        let txn = TxnRequest::new()
            .when(Compare::create_revision(bytes.clone(), created))
            .and_then(DeleteRequest::key(bytes.clone()))
            .idempotent();
        let reply = self.transport.txn(txn, options).await?;
        self.forget_held(key, created);
        Ok(reply)
    }

    fn note_held(&self, key: &LockKey, created: Revision, successors: Successors) {
        let hold = Hold {
            created,
            successors,
        };
        self.held().insert(key.clone(), hold);
        self.watches.note_grant(key.as_bytes(), created);
    }

    fn forget_held(&self, key: &LockKey, created: Revision) {
        let mut held = self.held();
        if held.get(key).is_some_and(|hold| hold.created == created) {
            held.remove(key);
        }
    }

    /// The create revision of a key that is held.
    fn held_at(&self, key: &LockKey) -> Option<Revision> {
        self.held().get(key).map(|hold| hold.created)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<LockKey, Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key and the lease of an entry of this queue: not one of `<name>/something`, nor any other key below `<name>/`.
pub(crate) fn entry(key: &Bytes, name: &LockName) -> Option<(LockKey, LeaseId)> {
    let key = LockKey::new(key.clone()).ok()?;
    let (of, lease) = key.parts()?;
    (of == *name).then_some((key, lease))
}

fn over() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down").with_outcome_unknown()
}

/// Ends a call in time. What it had begun is undone when its future is dropped.
async fn within<T>(timeout: Timeout, call: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout.checked()? {
        Timeout::Infinity => call.await,
        Timeout::After(bound) => tokio::time::timeout(bound, call).await.unwrap_or_else(|_| {
            let text = format!("no answer within the timeout of {timeout}");
            Err(Error::new(ErrorKind::Timeout, text))
        }),
    }
}
