//! What the tests of this crate share: a transport over the small etcd that counts, and fails on demand.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchBody, WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Client, Error, ErrorKind, LeaseId, LockKey, LockName, LockRequest,
    LockResponse, Result, Timeout, Transport, Ttl, UnlockRequest, UnlockResponse,
};
use etcd_lock_memory::MemoryEtcd;
use futures_util::StreamExt;
use tokio::sync::watch;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Pass,
    LoseRequest,
    LoseReply,
    /// Certainly not executed.
    Refuse,
    Delay(Duration),
    /// Executed at once and answered later.
    Slow(Duration),
    /// Executed after the caller was told that it failed.
    Late(Duration),
}

type Rule = Box<dyn Fn(&str, &str) -> Fate + Send + Sync>;

/// A transport that counts requests, and does with each what its rule says.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) etcd: MemoryEtcd,
    shared: Arc<Shared>,
}

struct Shared {
    txns: AtomicUsize,
    watches: AtomicUsize,
    rule: Mutex<Rule>,
    cuts: watch::Sender<usize>,
    deaf: watch::Sender<Option<Bytes>>,
}

impl Probe {
    pub(crate) fn new(etcd: &MemoryEtcd) -> Self {
        let shared = Shared {
            txns: AtomicUsize::new(0),
            watches: AtomicUsize::new(0),
            rule: Mutex::new(Box::new(|_, _| Fate::Pass)),
            cuts: watch::Sender::new(0),
            deaf: watch::Sender::new(None),
        };
        Self {
            etcd: etcd.clone(),
            shared: Arc::new(shared),
        }
    }

    /// Decides by the method's name and, for transactions, by what they do.
    pub(crate) fn rule(&self, rule: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    pub(crate) fn txns(&self) -> usize {
        self.shared.txns.load(SeqCst)
    }

    pub(crate) fn watch_streams(&self) -> usize {
        self.shared.watches.load(SeqCst)
    }

    /// Breaks every open stream.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets no event of keys with this prefix through, as if etcd had lost them.
    pub(crate) fn deafen(&self, prefix: Option<&[u8]>) {
        self.shared
            .deaf
            .send_replace(prefix.map(Bytes::copy_from_slice));
    }

    async fn call<T: Send + 'static>(
        &self,
        method: &str,
        what: &str,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let fate = (self.shared.rule.lock().unwrap())(method, what);
        let lost =
            || Error::new(ErrorKind::Unavailable, "injected: no answer").with_outcome_unknown();
        match fate {
            Fate::Pass => call.await,
            Fate::LoseRequest => Err(lost()),
            Fate::Refuse => Err(Error::new(ErrorKind::Unavailable, "injected: refused")),
            Fate::LoseReply => call.await.and(Err(lost())),
            Fate::Delay(delay) => {
                tokio::time::sleep(delay).await;
                call.await
            }
            Fate::Slow(delay) => {
                let reply = call.await;
                tokio::time::sleep(delay).await;
                reply
            }
            Fate::Late(delay) => {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _ = call.await;
                });
                Err(lost())
            }
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

#[async_trait]
impl Transport for Probe {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.etcd.lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.etcd.unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        let etcd = self.etcd.clone();
        self.call(
            "range",
            "",
            async move { etcd.range(request, options).await },
        )
        .await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.shared.txns.fetch_add(1, SeqCst);
        let what = match request.success.first() {
            Some(etcd_lock_core::kv::Op::Put(_)) => "put",
            Some(etcd_lock_core::kv::Op::Delete(_)) => "delete",
            _ => "read",
        };
        let etcd = self.etcd.clone();
        self.call("txn", what, async move { etcd.txn(request, options).await })
            .await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        let etcd = self.etcd.clone();
        let call = async move { etcd.lease_grant(request, options).await };
        self.call("lease_grant", "", call).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        let etcd = self.etcd.clone();
        let call = async move { etcd.lease_revoke(lease, options).await };
        self.call("lease_revoke", "", call).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        let etcd = self.etcd.clone();
        let call = async move { etcd.lease_time_to_live(request, options).await };
        self.call("lease_time_to_live", "", call).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        let etcd = self.etcd.clone();
        let call = async move { etcd.lease_leases(options).await };
        self.call("lease_leases", "", call).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let fate = (self.shared.rule.lock().unwrap())("lease_keep_alive", "");
        if let Fate::Slow(delay) = fate {
            let replies = self.etcd.lease_keep_alive(leases);
            let late = move |reply| async move {
                tokio::time::sleep(delay).await;
                reply
            };
            return self.cuttable(replies.map(late).buffered(1000).boxed());
        }
        if !matches!(fate, Fate::Pass | Fate::Delay(_)) {
            let error = Error::new(ErrorKind::Unavailable, "injected: no connection");
            return futures_util::stream::once(async { Err(error) }).boxed();
        }
        self.cuttable(self.etcd.lease_keep_alive(leases))
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.shared.watches.fetch_add(1, SeqCst);
        let deaf = self.shared.deaf.subscribe();
        let responses = self.etcd.watch(requests);
        let heard = responses.filter(move |response| {
            let deaf = deaf.borrow();
            let is_lost = response.as_ref().is_ok_and(|response| {
                let WatchBody::Events(events) = &response.body else {
                    return false;
                };
                let lost = |prefix: &Bytes| events.iter().any(|e| e.kv.key.starts_with(prefix));
                deaf.as_ref().is_some_and(lost)
            });
            std::future::ready(!is_lost)
        });
        self.cuttable(heard.boxed())
    }
}

impl Probe {
    fn cuttable<T: Send + 'static>(&self, stream: BoxStream<Result<T>>) -> BoxStream<Result<T>> {
        let mut cuts = self.shared.cuts.subscribe();
        cuts.mark_unchanged();
        let cut = async move {
            let _ = cuts.changed().await;
        };
        stream.take_until(cut).boxed()
    }
}

pub(crate) const INFINITE: CallOptions = CallOptions::new(Timeout::Infinity);

pub(crate) fn seconds(secs: u64) -> CallOptions {
    CallOptions::new(Timeout::After(Duration::from_secs(secs)))
}

pub(crate) async fn grant(transport: &impl Transport, secs: i64) -> LeaseId {
    let request = LeaseGrantRequest::new(Ttl::from_secs(secs).unwrap());
    transport.lease_grant(request, INFINITE).await.unwrap().id
}

/// A request with a lease of its own.
pub(crate) async fn request(transport: &impl Transport, name: &str) -> LockRequest {
    let lease = grant(transport, 60).await;
    LockRequest::new(LockName::new(name.to_owned()).unwrap(), lease)
}

/// The keys of a queue, oldest first.
pub(crate) async fn keys(etcd: &MemoryEtcd, name: &str) -> Vec<Bytes> {
    let request = RangeRequest::prefix(format!("{name}/"));
    let mut kvs = etcd.range(request, INFINITE).await.unwrap().kvs;
    kvs.sort_by_key(|kv| kv.create_revision);
    kvs.into_iter().map(|kv| kv.key).collect()
}

/// Waits until a queue has this many keys.
pub(crate) async fn until_keys(etcd: &MemoryEtcd, name: &str, count: usize) {
    let enough = async {
        while keys(etcd, name).await.len() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), enough).await;
    assert!(
        reached.is_ok(),
        "{name} has {:?}, not {count} keys",
        keys(etcd, name).await
    );
}

pub(crate) async fn unlock(transport: &impl Transport, key: LockKey) {
    transport
        .unlock(UnlockRequest::new(key), INFINITE)
        .await
        .unwrap();
}

pub(crate) fn client(transport: impl Transport) -> Client {
    Client::new(transport)
}
