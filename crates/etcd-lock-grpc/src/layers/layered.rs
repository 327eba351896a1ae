//! From a transport to a service and back.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, LockRequest, LockResponse, Result, Timeout,
    Transport, UnlockRequest, UnlockResponse,
};
use futures_util::future::BoxFuture;
use tower::{Service, ServiceExt};

use super::{Call, Reply, Request, RetryPolicy, Stack, stack};
use crate::lock::Locks;
use crate::options::MAX_ATTEMPTS;

/// A transport made of a service for its requests and of what opens its streams. Its `Lock` is made as safe as the RPC can
/// be. Streams pass no layer.
///
/// ```
/// use etcd_lock_core::{CallOptions, Transport, kv::RangeRequest};
/// use etcd_lock_grpc::layers::Layered;
/// use etcd_lock_memory::MemoryEtcd;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> etcd_lock_core::Result<()> {
/// let transport = Layered::new(MemoryEtcd::new());
/// let reply = transport.range(RangeRequest::key("key"), CallOptions::default()).await?;
/// assert_eq!(reply.count, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Layered<S = TransportService> {
    unary: Unary,
    locks: Locks<S>,
    pub(crate) streams: S,
}

impl Layered {
    /// Puts all layers over a transport. A request is sent 5 times at most, where it may be retried at all.
    #[must_use]
    pub fn new(transport: impl Transport) -> Self {
        let policy = RetryPolicy::new(MAX_ATTEMPTS);
        let service = TransportService(Arc::new(transport));
        Self::over(stack(service.clone(), policy), service)
    }
}

impl<S: Streams> Layered<S> {
    /// A transport over a service, which may have any layers, and what opens the streams beside it.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use etcd_lock_grpc::layers::{Layered, RetryPolicy, TraceLayer, TransportService};
    /// use etcd_lock_memory::MemoryEtcd;
    /// use tower::ServiceBuilder;
    ///
    /// let etcd = TransportService(Arc::new(MemoryEtcd::new()));
    /// let service = ServiceBuilder::new()
    ///     .layer(TraceLayer::new())
    ///     .retry(RetryPolicy::new(3))
    ///     .service(etcd.clone());
    /// let transport = Layered::over(service, etcd);
    /// ```
    pub fn over<T>(service: T, streams: S) -> Self
    where
        T: Service<Request, Response = Reply, Error = Error> + Clone + Send + Sync + 'static,
        T::Future: Send + 'static,
    {
        let unary = Unary(Stack::new(service));
        Self {
            locks: Locks::new(unary.clone(), streams.clone()),
            unary,
            streams,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layered").field(&self.streams).finish()
    }
}

/// Opens the streams of a [`Layered`] transport, as [`Transport`] says.
pub trait Streams: Clone + Send + Sync + 'static {
    /// Keeps leases alive: each item of `leases` renews one, each is answered in order.
    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>>;

    /// Watches keys: any number of watches on one stream.
    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>>;
}

#[async_trait]
impl<S: Streams + fmt::Debug> Transport for Layered<S> {
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
        self.streams.lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.streams.watch(requests)
    }
}

/// A transport as a tower service.
///
/// ```
/// use std::sync::Arc;
///
/// use etcd_lock_core::{CallOptions, kv::RangeRequest};
/// use etcd_lock_grpc::layers::{Call, DeadlineLayer, Reply, Request, TransportService};
/// use etcd_lock_memory::MemoryEtcd;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> etcd_lock_core::Result<()> {
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new())
///     .service(TransportService(Arc::new(MemoryEtcd::new())));
/// let call = Call::Range(RangeRequest::key("key"));
/// let reply = service.oneshot(Request::new(call, CallOptions::default())).await?;
/// assert!(matches!(reply, Reply::Range(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TransportService(pub Arc<dyn Transport>);

impl Streams for TransportService {
    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        self.0.lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.0.watch(requests)
    }
}

impl Service<Request> for TransportService {
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let transport = self.0.clone();
        // One that is repeated just as its time is up times out, and isn't taken for a caller's mistake.
        let left = match request.left() {
            Timeout::After(left) => Timeout::After(left.max(Duration::from_millis(1))),
            Timeout::Infinity => Timeout::Infinity,
        };
        let options = CallOptions::new(left);
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
                let ttl = reply.granted.ok_or_else(|| {
                    let text = format!("the lease {id} has ended since it was granted");
                    Error::new(ErrorKind::LeaseNotFound, text)
                })?;
                Ok(LeaseGrantResponse::new(reply.header, id, ttl))
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
