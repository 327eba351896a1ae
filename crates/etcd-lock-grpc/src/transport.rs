//! The transport over gRPC.

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

use crate::Options;
use crate::layers::{RetryPolicy, Unary, stack};
use crate::lock::{Locks, Watching};
use crate::peers::Peers;
use crate::wire::Wire;

/// Carries requests to an etcd over gRPC. Clones share their connections.
///
/// Its [`lock`](Transport::lock) uses etcd's `Lock` RPC, with the grant read back and the clean-up done by ourselves. A
/// queue over transactions, as `etcd-lock-session` has it, is faster and safer.
#[derive(Clone)]
pub struct GrpcTransport {
    wire: Wire,
    unary: Unary,
    locks: Locks<Wire>,
}

impl GrpcTransport {
    /// A transport to the etcd whose members listen at `endpoints`: URLs like `http://127.0.0.1:2379`, or `host:port`.
    /// Nothing is sent before the first request.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no endpoint, one isn't a URL, or the options can't work.
    pub fn connect(
        endpoints: impl IntoIterator<Item = impl AsRef<str>>,
        options: Options,
    ) -> Result<Self> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        let options = options.checked()?;
        options.check_endpoints(&endpoints)?;
        let wire = Wire(Arc::new(Peers::new(endpoints, &options)?));
        let unary = Unary(stack(wire.clone(), RetryPolicy::new(options.max_attempts)));
        Ok(Self {
            locks: Locks::new(unary.clone(), wire.clone()),
            wire,
            unary,
        })
    }
}

impl fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcTransport").field(&self.wire.0).finish()
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.locks.lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.locks.unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.unary.range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.unary.txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.unary.lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.unary.lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.unary.lease_time_to_live(request, options).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.unary.lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        self.wire.lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.wire.open_watch(requests)
    }
}
