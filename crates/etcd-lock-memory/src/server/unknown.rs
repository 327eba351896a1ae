//! A name for what is not served: clients like eetcd match on grpc-go's text, where tonic sends none.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tower::{Layer, Service};

/// Adds `unknown service a.B` to answers that say "unimplemented" and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameUnknown;

impl<S> Layer<S> for NameUnknown {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named(inner)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Named<S>(S);

impl<S, In, Out> Service<Request<In>> for Named<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let service = request
            .uri()
            .path()
            .split('/')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let reply = self.0.call(request);
        Box::pin(async move {
            let mut reply = reply.await?;
            let headers = reply.headers_mut();
            let unimplemented = headers
                .get("grpc-status")
                .is_some_and(|status| status == "12");
            if unimplemented && !headers.contains_key("grpc-message") {
                let text = format!("unknown service {service}");
                if let Ok(text) = HeaderValue::from_str(&text) {
                    headers.insert("grpc-message", text);
                }
            }
            Ok(reply)
        })
    }
}
