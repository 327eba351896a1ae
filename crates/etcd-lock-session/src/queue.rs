//! Locks by transactions and watches, in etcd's own queue layout.
//!
//! An entry is a key `<name>/<lease in hex>`; the one with the least create revision holds the lock. `etcdctl lock`, Go's
//! `concurrency.Mutex` and callers of the `Lock` RPC wait in the same queue. The protocol is in [`etcd_lock_queue`]; what is
//! here drives it: it sends, watches, waits, and counts time.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `lock` | one lock: its state machine, and what is done with the machine's outputs |
//! | `caller`, `hold`, `callers` | a caller's handle on a lock, and what each was told |
//! | `requests`, `failures` | requests on their way, and what their errors mean |
//! | `upkeep`, `heartbeat` | what happens in the background: reads that confirm entries, watches of longer holds |
//! | `bare` | locks by a lease alone |
//! | `attach` | holds of other processes that go on here |
//! | `cluster` | noticing a cluster that was restored |

mod attach;
mod bare;
mod caller;
mod callers;
mod cluster;
mod failures;
mod heartbeat;
mod hold;
mod lock;
mod reads;
mod requests;
mod state;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Client, Error, ErrorKind, LeaseId, LockName, LockRequest, LockResponse,
    Result, Timeout, Transport, UnlockRequest, UnlockResponse,
};
use etcd_lock_queue::{Input, Mode};
use tracing::{Instrument, debug_span};

pub(crate) use self::caller::{Caller, Refusal};
pub(crate) use self::callers::{Grant, Kind};
use self::cluster::Cluster;
pub(crate) use self::hold::{Standing, key_gone};
pub(crate) use self::lock::Lock;
use self::lock::Shared;
use self::upkeep::Upkeep;
use crate::clock::{Clock, OperatingSystem, System};
use crate::keep_alives::KeepAlives;
use crate::tuning::Tuning;
use crate::validity::Lease;
use crate::watches::Watches;

/// A transport that takes and releases locks by transactions on the transport below it, and waits on one shared watch
/// stream. All leases are kept alive over one stream, too; everything else is passed through.
///
/// - An uncontended lock is one request, and its release another.
/// - A waiter is told of its grant by an event, and costs neither a connection nor a stream.
/// - Only `<name>/<hex>` keys are queue entries: `a` does not wait for a holder of `a/b`.
/// - No request writes into or deletes an entry of another client.
/// - A wait that ends without a grant removes its entry, in the background, guarded by its create revision.
///
/// [`Queue::into_client`] makes a client of it whose sessions use the same queue. A decorator of a transport belongs
/// below the queue: `Queue::new(decorated)`.
///
/// Clones share all state. Methods that wait must run inside a tokio runtime.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

impl Queue {
    /// A queue over `transport`, whose `lock` and `unlock` are not used.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        Self::from(Arc::new(transport) as Arc<dyn Transport>)
    }

    /// A queue with other constants and another operating system.
    #[doc(hidden)]
    #[must_use]
    pub fn tuned(transport: Arc<dyn Transport>, tuning: Tuning, system: Arc<dyn System>) -> Self {
        Self(Arc::new(Inner {
            keep_alives: KeepAlives::new(transport.clone()),
            watches: Watches::new(transport.clone(), tuning),
            clock: Clock::new(system),
            transport,
            tuning,
            locks: Mutex::default(),
            leases: Mutex::default(),
            upkeep: Upkeep::default(),
            cluster: Cluster::default(),
        }))
    }

    /// A client whose locks are taken by this queue, by [`lock`](fn@etcd_lock_core::lock) as well as by its sessions.
    #[must_use]
    pub fn into_client(self) -> Client {
        let client = Client::new(self.clone());
        client.shared(|| self);
        client
    }

    /// The queue of a client's sessions. Where the client was not made of one, it gets one over its transport.
    pub(crate) fn of(client: &Client) -> Self {
        client.shared(|| client.transport().clone().into())
    }

    /// How many locks, leases and members of locks it remembers: nothing grows without bound.
    #[doc(hidden)]
    #[must_use]
    pub fn remembered(&self) -> usize {
        let leases = self.0.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let locks = self.0.locks();
        let members = locks.values().map(|lock| lock.state().members.len());
        leases.len() + locks.len() + members.sum::<usize>()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// The transport below the queue.
    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.0.transport
    }
}

impl From<Arc<dyn Transport>> for Queue {
    fn from(transport: Arc<dyn Transport>) -> Self {
        Self::tuned(transport, Tuning::new(), Arc::new(OperatingSystem))
    }
}

impl From<Queue> for Client {
    fn from(queue: Queue) -> Self {
        queue.into_client()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.0.transport).finish()
    }
}

#[async_trait]
impl Transport for Queue {
    /// Where this lease holds the lock already, it is granted again. Concurrent calls with one lease are granted the lock as
    /// one.
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let span = debug_span!("lock.queue", lock.name = %request.name, lease.id = %request.lease);
        let lock = self.0.lock_bare(request, Mode::Wait, options.timeout);
        lock.instrument(span).await
    }

    async fn try_lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let span = debug_span!("lock.try", lock.name = %request.name, lease.id = %request.lease);
        let lock = self.0.lock_bare(request, Mode::Try, options.timeout);
        lock.instrument(span).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        within(options.timeout, self.0.unlock_bare(request, options)).await
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

/// The state that all clones of a queue share.
pub(crate) struct Inner {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) keep_alives: KeepAlives,
    pub(crate) clock: Clock,
    tuning: Tuning,
    watches: Watches,
    /// The locks that somebody has a handle on, or that something is left to do for. In order, so that a simulated process
    /// does the same things in the same order each time.
    locks: Mutex<BTreeMap<LockName, Arc<Shared>>>,
    leases: Mutex<BTreeMap<LeaseId, Weak<Lease>>>,
    upkeep: Upkeep,
    cluster: Cluster,
}

impl Inner {
    /// A handle on the lock of a name.
    pub(crate) fn lock(self: &Arc<Self>, name: &LockName) -> Lock {
        let mut locks = self.locks();
        let shared = match locks.get(name) {
            Some(shared) => shared.clone(),
            None => {
                let shared = Arc::new(Shared::new(name.clone(), Arc::downgrade(self)));
                locks.insert(name.clone(), shared.clone());
                shared
            }
        };
        Lock::new(self.clone(), shared)
    }

    /// The validity of a lease, as far as this client knows it.
    pub(crate) fn lease(&self, id: LeaseId) -> Arc<Lease> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = leases.get(&id).and_then(Weak::upgrade)
            && lease.ended().is_none()
        {
            return lease;
        }
        // As many dead ones as live ones at most, for each that is added.
        if leases.len().is_power_of_two() {
            leases.retain(|_, lease| lease.strong_count() > 0);
        }
        let lease = Arc::new(Lease::bare(id, self.clock.now()));
        leases.insert(id, Arc::downgrade(&lease));
        lease
    }

    /// Forgets the leases that nothing uses any more.
    fn forget_leases(&self) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, lease| lease.strong_count() > 0);
    }

    /// A lease has ended, or can't be relied on any more: all that it holds and waits for ends with it.
    pub(crate) fn end(self: &Arc<Self>, lease: &Lease, error: Error) {
        lease.end(error);
        for lock in self.all_locks() {
            lock.feed_all([Input::SessionEnded(lease.id())]);
        }
    }

    /// Cancels all callers of a lease, which goes on without its session.
    pub(crate) fn cancel_all(self: &Arc<Self>, lease: &Lease, error: &Error) {
        for lock in self.all_locks() {
            lock.refuse(lease.id(), error);
        }
    }

    /// Nothing that was granted before can be relied on.
    fn end_all(self: &Arc<Self>, error: &Error) {
        let leases =
            std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner));
        for lease in leases.values().filter_map(Weak::upgrade) {
            tracing::warn!(lease.id = %lease.id(), %error, "the locks of a lease are lost");
            self.end(&lease, error.clone());
        }
    }

    fn all_locks(self: &Arc<Self>) -> Vec<Lock> {
        let shared: Vec<_> = self.locks().values().cloned().collect();
        let locks = shared.into_iter();
        locks
            .map(|shared| Lock::new(self.clone(), shared))
            .collect()
    }

    /// The last handle on a lock is gone.
    fn forget_if_unused(&self, name: &LockName) {
        let mut locks = self.locks();
        if locks.get(name).is_some_and(|shared| shared.is_unused()) {
            locks.remove(name);
        }
    }

    fn locks(&self) -> MutexGuard<'_, BTreeMap<LockName, Arc<Shared>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a call in time.
async fn within<T>(timeout: Timeout, call: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout.checked()? {
        Timeout::Infinity => call.await,
        Timeout::After(bound) => tokio::time::timeout(bound, call).await.unwrap_or_else(|_| {
            let text = format!("no answer within the timeout of {timeout}");
            Err(Error::new(ErrorKind::Timeout, text))
        }),
    }
}
