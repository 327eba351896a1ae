//! From a transport to a service and back.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, LockRequest, LockResponse, Result,
    Transport, Ttl, UnlockRequest, UnlockResponse,
};
use futures_util::future::BoxFuture;
use tower::{Service, ServiceExt};

use super::{Call, Reply, Request, RetryPolicy, Stack, stack};
use crate::Options;
use crate::lock::{Locks, Watching};

/// Any transport with the layers over its requests, and its `Lock` made as safe as that of gRPC is. Streams are passed
/// through.
#[derive(Clone, Debug)]
pub struct Layered {
    unary: Unary,
    locks: Locks<Arc<dyn Transport>>,
    inner: Arc<dyn Transport>,
}

impl Layered {
    /// Puts the layers over a transport.
    ///
    /// # Errors
    /// `InvalidArgument` for options that can't work.
    pub fn new(transport: impl Transport, options: Options) -> Result<Self> {
        let inner: Arc<dyn Transport> = Arc::new(transport);
        let policy = RetryPolicy::new(options.checked()?.max_attempts);
        let unary = Unary(stack(TransportService(inner.clone()), policy));
        Ok(Self {
            locks: Locks::new(unary.clone(), inner.clone()),
            unary,
            inner,
        })
    }
}

#[async_trait]
impl Transport for Layered {
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
        self.inner.lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.inner.watch(requests)
    }
}

impl Watching for Arc<dyn Transport> {
    fn open_watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.watch(requests)
    }
}

/// A transport as a tower service.
#[derive(Clone, Debug)]
pub struct TransportService(pub Arc<dyn Transport>);

impl Service<Request> for TransportService {
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let transport = self.0.clone();
        let options = CallOptions::new(request.left());
        Box::pin(async move {
            Ok(match request.call {
                Call::LeaseGrant(call) => {
                    Reply::LeaseGrant(transport.lease_grant(call, options).await?)
                }
                Call::LeaseLeases => Reply::LeaseLeases(transport.lease_leases(options).await?),
                Call::LeaseRevoke(id) => {
                    Reply::LeaseRevoke(transport.lease_revoke(id, options).await?)
                }
                Call::LeaseTimeToLive(call) => {
                    Reply::LeaseTimeToLive(transport.lease_time_to_live(call, options).await?)
                }
                Call::Lock(call) => Reply::Lock(transport.lock(call, options).await?),
                Call::Range(call) => Reply::Range(transport.range(call, options).await?),
                Call::Txn(call) => Reply::Txn(transport.txn(call, options).await?),
                Call::Unlock(call) => Reply::Unlock(transport.unlock(call, options).await?),
            })
        })
    }
}

/// The methods of a transport over a service.
#[derive(Clone, Debug)]
pub(crate) struct Unary(pub(crate) Stack);

/// A method that puts its request into the one variant of `Call` and takes its reply from the one of `Reply`.
macro_rules! method {
    ($name:ident($request:ty) -> $reply:ty, $variant:ident) => {
        pub(crate) async fn $name(
            &self,
            request: $request,
            options: CallOptions,
        ) -> Result<$reply> {
            match self.call(Call::$variant(request), options).await? {
                Reply::$variant(reply) => Ok(reply),
                _ => Err(mismatch()),
            }
        }
    };
}

impl Unary {
    method!(lease_revoke(LeaseId) -> LeaseRevokeResponse, LeaseRevoke);
    method!(lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse, LeaseTimeToLive);
    method!(lock(LockRequest) -> LockResponse, Lock);
    method!(range(RangeRequest) -> RangeResponse, Range);
    method!(txn(TxnRequest) -> TxnResponse, Txn);

    pub(crate) async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        match self.call(Call::LeaseGrant(request), options).await? {
            Reply::LeaseGrant(reply) => Ok(reply),
            Reply::LeaseGrantedBefore(id) => {
                let asked = LeaseTimeToLiveRequest::new(id);
                let reply = self.lease_time_to_live(asked, options).await?;
                let granted = i64::try_from(reply.granted).unwrap_or(Ttl::MAX_SECS);
                Ok(LeaseGrantResponse::new(
                    reply.header,
                    id,
                    Ttl::from_secs(granted)?,
                ))
            }
            _ => Err(mismatch()),
        }
    }

    pub(crate) async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        match self.call(Call::LeaseLeases, options).await? {
            Reply::LeaseLeases(reply) => Ok(reply),
            _ => Err(mismatch()),
        }
    }

    async fn call(&self, call: Call, options: CallOptions) -> Result<Reply> {
        options.timeout.checked()?;
        self.0.clone().oneshot(Request::new(call, options)).await
    }
}

fn mismatch() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the answer is to another kind of request",
    )
}
