//! One span an RPC.

use std::task::{Context, Poll};

use etcd_lock_core::Error;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};
use tracing::Instrument;
use tracing::field::Empty;

use super::{Reply, Request};

/// Makes [`Trace`]s.
///
/// ```
/// use std::sync::Arc;
///
/// use etcd_lock_core::{CallOptions, kv::RangeRequest};
/// use etcd_lock_grpc::layers::{Call, Request, TraceLayer, TransportService};
/// use etcd_lock_memory::MemoryEtcd;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> etcd_lock_core::Result<()> {
/// let service = ServiceBuilder::new()
///     .layer(TraceLayer::new())
///     .service(TransportService(Arc::new(MemoryEtcd::new())));
/// let call = Call::Range(RangeRequest::key("key"));
/// service.oneshot(Request::new(call, CallOptions::default())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer(());

impl TraceLayer {
    /// A layer that opens a span for each request.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

/// Opens a span for each request, named and filled as OpenTelemetry's conventions for RPCs say.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Service<Request> for Trace<S>
where
    S: Service<Request, Response = Reply, Error = Error>,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let method = request.call.method();
        let span = tracing::debug_span!(
            "rpc",
            otel.name = method,
            otel.kind = "client",
            rpc.system.name = "grpc",
            rpc.method = method,
            error.type = Empty,
        );
        let reply = span.in_scope(|| self.inner.call(request));
        let recorded = span.clone();
        let traced = async move {
            let result = reply.await;
            if let Err(error) = &result {
                recorded.record("error.type", error.kind().as_str());
            }
            result
        };
        Box::pin(traced.instrument(span))
    }
}
