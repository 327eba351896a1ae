//! A transport over the in-memory etcd that has the faults that a test asks for.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use etcd_lock_core::kv::{Op, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, LeaseId, LockRequest, LockResponse, Result, Timeout, Transport,
    UnlockRequest, UnlockResponse,
};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_memory::model::{Model, StreamId};
use etcd_lock_proto::etcdserverpb as pb;
use futures_util::StreamExt;
use futures_util::stream::once;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{CallFault, CallKind, StreamFault, WatchFault, refused, unanswered};

/// How many replies of a slow stream are on their way at a time.
const UNANSWERED: usize = 1_000;

type Rule = dyn Fn(CallKind) -> Option<CallFault> + Send + Sync;

/// The in-memory etcd behind a transport that counts calls and has faults: none, until a test asks for some. Clones share
/// all of it. `Lock` and `Unlock` have none.
#[derive(Clone)]
pub struct FaultyTransport {
    etcd: MemoryEtcd,
    shared: Arc<Shared>,
}

/// A transaction that was sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// How many transactions are nested in it; 1 where it is an ordinary one.
    pub members: usize,
    /// How long it may take.
    pub timeout: Timeout,
}

impl Sent {
    fn new(txn: &TxnRequest, options: CallOptions) -> Self {
        let is_nested = |op: &&Op| matches!(op, Op::Txn(_));
        Self {
            members: txn.success.iter().filter(is_nested).count().max(1),
            timeout: options.timeout,
        }
    }
}

struct Shared {
    sent: Mutex<Vec<Sent>>,
    watch_streams: AtomicUsize,
    rule: Mutex<Arc<Rule>>,
    ends: watch::Sender<Option<StreamFault>>,
    stalled_until: watch::Sender<Option<Instant>>,
    watches: Mutex<WatchFaults>,
    behind: Mutex<Option<MemoryEtcd>>,
}

/// The watch streams that were opened, and the faults that befall later ones, too.
#[derive(Default)]
struct WatchFaults {
    streams: Vec<StreamId>,
    lasting: Vec<WatchFault>,
}

impl FaultyTransport {
    /// A transport without faults.
    #[must_use]
    pub fn new(etcd: &MemoryEtcd) -> Self {
        let shared = Shared {
            sent: Mutex::default(),
            watch_streams: AtomicUsize::new(0),
            rule: Mutex::new(Arc::new(|_| None)),
            ends: watch::Sender::new(None),
            stalled_until: watch::Sender::new(None),
            watches: Mutex::default(),
            behind: Mutex::default(),
        };
        Self {
            etcd: etcd.clone(),
            shared: Arc::new(shared),
        }
    }

    /// The etcd behind it, without faults.
    #[must_use]
    pub const fn etcd(&self) -> &MemoryEtcd {
        &self.etcd
    }

    /// Decides from now on which fault befalls each call. For a keep-alive stream it is asked when that is opened: a slow one
    /// answers each renewal late, and any other fault but a delay fails it.
    pub fn on_calls(&self, rule: impl Fn(CallKind) -> Option<CallFault> + Send + Sync + 'static) {
        *lock(&self.shared.rule) = Arc::new(rule);
    }

    /// Has a fault befall the watches. One that lasts befalls those of later streams, too.
    pub fn on_watches(&self, fault: WatchFault) {
        let mut watches = lock(&self.shared.watches);
        self.each_stream(&watches, |model, stream| fault.begin(model, stream));
        if fault.is_lasting() {
            watches.lasting.push(fault);
        }
    }

    /// Has a member fall behind: reads with [`CallFault::StaleRead`] are answered as of now from here on.
    pub fn fall_behind(&self) {
        let model = self.etcd.with(|model| model.clone());
        *lock(&self.shared.behind) = Some(MemoryEtcd::from(model));
    }

    /// Has the etcd forget its history up to now.
    ///
    /// # Panics
    /// Where nothing was written since the last time.
    pub fn compact(&self) {
        self.etcd.with(|model| {
            let revision = model.range(&pb::RangeRequest {
                key: b"a".to_vec().into(),
                ..pb::RangeRequest::default()
            });
            let revision = revision.unwrap().header.unwrap().revision;
            let request = pb::CompactionRequest {
                revision,
                physical: false,
            };
            model.compact(&request).unwrap();
        });
    }

    /// Nothing has a fault from now on.
    pub fn calm(&self) {
        self.on_calls(|_| None);
        let mut watches = lock(&self.shared.watches);
        for fault in std::mem::take(&mut watches.lasting) {
            self.each_stream(&watches, |model, stream| fault.end(model, stream));
        }
    }

    /// How many transactions were sent.
    #[must_use]
    pub fn txns(&self) -> usize {
        lock(&self.shared.sent).len()
    }

    /// The transactions that were sent, in order.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.shared.sent).clone()
    }

    /// How many watch streams were opened.
    #[must_use]
    pub fn watch_streams(&self) -> usize {
        self.shared.watch_streams.load(SeqCst)
    }

    /// Has a fault befall every open stream. Stalled streams keep what arrives, and deliver it in order.
    pub fn on_streams(&self, fault: StreamFault) {
        if let StreamFault::Stalled(length) = fault {
            self.shared
                .stalled_until
                .send_replace(Some(Instant::now() + length));
        } else {
            self.shared.ends.send_replace(Some(fault));
        }
    }

    fn each_stream(&self, watches: &WatchFaults, act: impl Fn(&mut Model, StreamId)) {
        self.etcd.with(|model| {
            for stream in &watches.streams {
                act(model, *stream);
            }
        });
    }

    fn fault(&self, kind: CallKind) -> Option<CallFault> {
        let rule = lock(&self.shared.rule).clone();
        rule(kind)
    }

    /// Makes a call with the fault that befalls it. A call that was begun is executed whether or not its caller stays.
    async fn call<T, F>(&self, kind: CallKind, call: impl Fn(MemoryEtcd) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let made = call(self.etcd.clone());
        match self.fault(kind) {
            None => made.await,
            Some(CallFault::Delayed(delay)) => {
                sleep(delay).await;
                made.await
            }
            Some(CallFault::Duplicated(later)) => {
                let copy = call(self.etcd.clone());
                let reply = made.await;
                tokio::spawn(async move {
                    sleep(later).await;
                    let _ = copy.await;
                });
                reply
            }
            Some(CallFault::ExecutedLate(delay)) => {
                tokio::spawn(async move {
                    sleep(delay).await;
                    let _ = made.await;
                });
                Err(unanswered(kind))
            }
            Some(CallFault::Refused) => Err(refused()),
            Some(CallFault::ReplyLost) => made.await.and(Err(unanswered(kind))),
            Some(CallFault::RequestLost) => Err(unanswered(kind)),
            Some(CallFault::Server(error)) if !error.concerns(kind) => made.await,
            Some(CallFault::Server(error)) => {
                if error.may_be_executed() {
                    let _ = made.await;
                }
                Err(error.error(kind))
            }
            Some(CallFault::Slow(delay)) => {
                let reply = made.await;
                sleep(delay).await;
                reply
            }
            Some(CallFault::StaleRead) => {
                let behind = lock(&self.shared.behind).clone();
                match behind.filter(|_| kind.is_read()) {
                    Some(behind) => call(behind).await,
                    None => made.await,
                }
            }
        }
    }

    /// The stream with what befalls it.
    fn faulty<T: Send + 'static>(&self, stream: BoxStream<Result<T>>) -> BoxStream<Result<T>> {
        let stalled_until = self.shared.stalled_until.subscribe();
        let stream = stream.then(move |item| {
            let until = *stalled_until.borrow();
            async move {
                if let Some(until) = until {
                    sleep_until(until).await;
                }
                item
            }
        });
        let mut ends = self.shared.ends.subscribe();
        ends.mark_unchanged();
        let mut asked = ends.clone();
        let end = async move {
            let _ = asked.changed().await;
        };
        let last = once(async move {
            let how = *ends.borrow();
            (how == Some(StreamFault::Broken)).then(|| Err(refused()))
        });
        let last = last.filter_map(std::future::ready);
        stream.boxed().take_until(end).chain(last).boxed()
    }
}

impl fmt::Debug for FaultyTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyTransport")
    }
}

#[async_trait]
impl Transport for FaultyTransport {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.etcd.lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.etcd.unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.call(CallKind::Range, |etcd| {
            let request = request.clone();
            async move { etcd.range(request, options).await }
        })
        .await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        lock(&self.shared.sent).push(Sent::new(&request, options));
        self.call(CallKind::of_txn(&request), |etcd| {
            let request = request.clone();
            async move { etcd.txn(request, options).await }
        })
        .await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.call(CallKind::LeaseGrant, |etcd| {
            let request = request.clone();
            async move { etcd.lease_grant(request, options).await }
        })
        .await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.call(CallKind::LeaseRevoke, |etcd| async move {
            etcd.lease_revoke(lease, options).await
        })
        .await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.call(CallKind::LeaseTimeToLive, |etcd| {
            let request = request.clone();
            async move { etcd.lease_time_to_live(request, options).await }
        })
        .await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.call(CallKind::LeaseLeases, |etcd| async move {
            etcd.lease_leases(options).await
        })
        .await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        match self.fault(CallKind::KeepAlive) {
            None | Some(CallFault::Delayed(_)) => self.faulty(self.etcd.lease_keep_alive(leases)),
            Some(CallFault::Slow(delay)) => {
                let late = move |reply| async move {
                    sleep(delay).await;
                    reply
                };
                let replies = self.etcd.lease_keep_alive(leases).map(late);
                self.faulty(replies.buffered(UNANSWERED).boxed())
            }
            Some(CallFault::Server(error)) => {
                once(async move { Err(error.error(CallKind::KeepAlive)) }).boxed()
            }
            Some(_) => once(async { Err(refused()) }).boxed(),
        }
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.shared.watch_streams.fetch_add(1, SeqCst);
        let (stream, replies) = self.etcd.watch_stream(requests);
        let mut watches = lock(&self.shared.watches);
        watches.streams.push(stream);
        self.etcd.with(|model| {
            for fault in &watches.lasting {
                fault.begin(model, stream);
            }
        });
        self.faulty(replies)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
