//! The transport.

use std::fmt;
use std::sync::Arc;

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

use crate::group::Group;
use crate::slots::FIRST;

/// A transport that sends small transactions together while others are on their way. All other calls are passed through.
///
/// The [page of the crate](crate) says which transactions share a request and what their callers can rely on.
///
/// Clones share all state.
#[derive(Clone)]
pub struct GroupCommit(Arc<Group>);

impl GroupCommit {
    /// Group commit over a transport.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        Self::from(Arc::new(transport) as Arc<dyn Transport>)
    }

    /// The same with another number of slots at first.
    #[doc(hidden)]
    #[must_use]
    pub fn with_slots(transport: impl Transport, slots: usize) -> Self {
        Self(Arc::new(Group::new(Arc::new(transport), slots)))
    }
}

impl From<Arc<dyn Transport>> for GroupCommit {
    fn from(transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Group::new(transport, FIRST)))
    }
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupCommit")
            .field(self.0.transport())
            .finish()
    }
}

#[async_trait]
impl Transport for GroupCommit {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.0.transport().lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.0.transport().unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.0.transport().range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.0.txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.0.transport().lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.0.transport().lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.0
            .transport()
            .lease_time_to_live(request, options)
            .await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.0.transport().lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        self.0.transport().lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.0.transport().watch(requests)
    }
}
