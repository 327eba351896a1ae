//! grpc-go's words for what tonic refuses by itself: clients like eetcd match on them.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::limits::MAX_MESSAGE;

/// Words refusals as etcd's own server does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wording;

impl<S> Layer<S> for Wording {
    type Service = Worded<S>;

    fn layer(&self, inner: S) -> Worded<S> {
        Worded(inner)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worded<S>(S);

impl<S, In, Out> Service<Request<In>> for Worded<S>
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
            reword(reply.headers_mut(), &service);
            Ok(reply)
        })
    }
}

/// Replaces a refusal of tonic's in the headers of a reply. Any other reply stays as it is.
fn reword(headers: &mut HeaderMap, service: &str) {
    let Some(refusal) = Status::from_header_map(headers) else {
        return;
    };
    let worded = match refusal.code() {
        Code::Unimplemented if refusal.message().is_empty() => {
            Status::unimplemented(format!("unknown service {service}"))
        }
        Code::OutOfRange => match too_large(refusal.message()) {
            Some(size) => Status::resource_exhausted(format!(
                "grpc: received message larger than max ({size} vs. {MAX_MESSAGE})"
            )),
            None => return,
        },
        _ => return,
    };
    // An error leaves the headers without a part of the status, which no reply of ours can come to: both texts are plain.
    let _ = worded.add_header(headers);
}

/// The size of a message that tonic found too large, from its words.
fn too_large(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("message length too large: found ")?;
    rest.split(' ').next()?.parse().ok()
}
