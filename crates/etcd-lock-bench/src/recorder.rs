//! A transport that counts the requests that pass through it, and keeps the transactions where that is asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, LeaseId, LockRequest, LockResponse, Result, Transport, UnlockRequest,
    UnlockResponse,
};
use etcd_lock_memory::MemoryEtcd;
use tokio::task::yield_now;
use tokio_stream::StreamExt;

use crate::client::memory;

/// An etcd in memory behind a counter. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    etcd: MemoryEtcd,
    requests: AtomicU64,
    renewals: Arc<AtomicU64>,
    answers: Answers,
    /// The transactions so far, where they are kept.
    txns: Option<Mutex<Vec<TxnRequest>>>,
}

/// When reads and transactions are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answers {
    /// Before anything else runs.
    AtOnce,
    /// After other tasks had their turn, as over a network.
    Later,
}

impl Recorder {
    /// Counts only.
    pub(crate) fn counting(answers: Answers) -> Self {
        Self::new(answers, None)
    }

    /// Keeps the transactions, too.
    pub(crate) fn keeping(answers: Answers) -> Self {
        Self::new(answers, Some(Mutex::default()))
    }

    fn new(answers: Answers, txns: Option<Mutex<Vec<TxnRequest>>>) -> Self {
        Self(Arc::new(Inner {
            etcd: memory(),
            requests: AtomicU64::new(0),
            renewals: Arc::default(),
            answers,
            txns,
        }))
    }

    /// How many requests there were so far, those about leases not counted. Each message on a watch stream is one.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Relaxed)
    }

    /// How often leases were renewed so far.
    pub(crate) fn renewals(&self) -> u64 {
        self.0.renewals.load(Relaxed)
    }

    /// Takes the transactions that were kept.
    pub(crate) fn take_txns(&self) -> Vec<TxnRequest> {
        let kept = self.0.txns.as_ref();
        kept.map_or_else(Vec::new, |txns| std::mem::take(&mut *txns.lock().unwrap()))
    }

    fn count(&self) {
        self.0.requests.fetch_add(1, Relaxed);
    }

    async fn begin(&self) {
        self.count();
        if self.0.answers == Answers::Later {
            yield_now().await;
        }
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.count();
        self.0.etcd.lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.count();
        self.0.etcd.unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.begin().await;
        self.0.etcd.range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        if let Some(txns) = &self.0.txns {
            txns.lock().unwrap().push(request.clone());
        }
        self.begin().await;
        self.0.etcd.txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.0.etcd.lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.0.etcd.lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.0.etcd.lease_time_to_live(request, options).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.0.etcd.lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let renewals = self.0.renewals.clone();
        let counted = leases.map(move |lease| {
            renewals.fetch_add(1, Relaxed);
            lease
        });
        self.0.etcd.lease_keep_alive(Box::pin(counted))
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        // The stream is kept by the client that it belongs to, so that it may keep the counter.
        let recorder = self.clone();
        let counted = requests.map(move |request| {
            recorder.count();
            request
        });
        self.0.etcd.watch(Box::pin(counted))
    }
}
