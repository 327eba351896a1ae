//! The connection between a process and the in-memory etcd: every message takes a while, and none arrives while it is held up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use etcd_lock::core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock::core::watch::{WatchRequest, WatchResponse};
use etcd_lock::core::{BoxStream, CallOptions, LockRequest, LockResponse, UnlockRequest};
use etcd_lock::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock::memory::MemoryEtcd;
use etcd_lock::{LeaseId, Result, Timeout, Transport, UnlockResponse};
use etcd_lock_testkit::faults::{CallKind, unanswered};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// A transport over the in-memory etcd. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    etcd: MemoryEtcd,
    latency: Duration,
    is_open: watch::Sender<bool>,
    renewals: Arc<Mutex<Vec<Renewal>>>,
}

/// A renewal of a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    pub(crate) sent: Instant,
    pub(crate) executed: Option<Instant>,
    pub(crate) answered: Option<Instant>,
}

impl Link {
    pub(crate) fn new(etcd: &MemoryEtcd, latency: Duration) -> Self {
        Self {
            etcd: etcd.clone(),
            latency,
            is_open: watch::Sender::new(true),
            renewals: Arc::default(),
        }
    }

    /// Nothing arrives from now on, in either direction.
    pub(crate) fn hold_up(&self) {
        self.is_open.send_replace(false);
    }

    /// What was held up arrives now.
    pub(crate) fn go_on(&self) {
        self.is_open.send_replace(true);
    }

    /// The renewals that were sent, in order.
    pub(crate) fn renewals(&self) -> Vec<Renewal> {
        self.with_renewals(|renewals| renewals.clone())
    }

    async fn travel(&self) {
        sleep(self.latency).await;
        // The sender is this one, so that there is always one.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    async fn carry<T>(self, message: T) -> T {
        self.travel().await;
        message
    }

    async fn call<T>(
        &self,
        kind: CallKind,
        options: CallOptions,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let answered = async {
            self.travel().await;
            let reply = call.await;
            self.travel().await;
            reply
        };
        match options.timeout {
            Timeout::After(bound) => timeout(bound, answered)
                .await
                .unwrap_or_else(|_| Err(unanswered(kind))),
            Timeout::Infinity => answered.await,
        }
    }

    fn with_renewals<T>(&self, access: impl FnOnce(&mut Vec<Renewal>) -> T) -> T {
        access(&mut self.renewals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a renewal, and notes when.
    async fn renew(self, lease: LeaseId) -> LeaseId {
        let number = self.with_renewals(|renewals| {
            renewals.push(Renewal {
                sent: Instant::now(),
                executed: None,
                answered: None,
            });
            renewals.len() - 1
        });
        self.travel().await;
        self.with_renewals(|renewals| renewals[number].executed = Some(Instant::now()));
        lease
    }

    /// Brings the answer to the oldest renewal that has none.
    async fn renewed(
        self,
        reply: Result<LeaseKeepAliveResponse>,
    ) -> Result<LeaseKeepAliveResponse> {
        self.travel().await;
        self.with_renewals(|renewals| {
            let mut unanswered = renewals.iter_mut().filter(|it| it.answered.is_none());
            if let Some(renewal) = unanswered.next() {
                renewal.answered = Some(Instant::now());
            }
        });
        reply
    }
}

#[async_trait]
impl Transport for Link {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let call = self.etcd.lock(request, options);
        self.call(CallKind::Lock, options, call).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        let call = self.etcd.unlock(request, options);
        self.call(CallKind::TxnDelete, options, call).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        let call = self.etcd.range(request, options);
        self.call(CallKind::Range, options, call).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        let kind = CallKind::of_txn(&request);
        let call = self.etcd.txn(request, options);
        self.call(kind, options, call).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        let call = self.etcd.lease_grant(request, options);
        self.call(CallKind::LeaseGrant, options, call).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        let call = self.etcd.lease_revoke(lease, options);
        self.call(CallKind::LeaseRevoke, options, call).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        let call = self.etcd.lease_time_to_live(request, options);
        self.call(CallKind::LeaseTimeToLive, options, call).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        let call = self.etcd.lease_leases(options);
        self.call(CallKind::LeaseLeases, options, call).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let (there, back) = (self.clone(), self.clone());
        let renewals = leases.then(move |lease| there.clone().renew(lease));
        let replies = self.etcd.lease_keep_alive(renewals.boxed());
        replies
            .then(move |reply| back.clone().renewed(reply))
            .boxed()
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        let (there, back) = (self.clone(), self.clone());
        let requests = requests.then(move |request| there.clone().carry(request));
        let replies = self.etcd.watch(requests.boxed());
        replies.then(move |reply| back.clone().carry(reply)).boxed()
    }
}
