//! A request ends in time: while it waits for a name, a connection, a login, a permit or a reply.

use std::task::{Context, Poll};

use etcd_lock_core::{Error, ErrorKind};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt};

use super::{Reply, Request};

/// Makes [`Deadline`]s.
///
/// ```
/// use std::time::Duration;
///
/// use etcd_lock_core::{CallOptions, Error, ErrorKind, kv::RangeRequest};
/// use etcd_lock_grpc::layers::{Call, DeadlineLayer, Reply, Request};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let silent = service_fn(|_: Request| std::future::pending::<Result<Reply, Error>>());
/// let service = ServiceBuilder::new().layer(DeadlineLayer::new()).service(silent);
/// let call = Call::Range(RangeRequest::key("key"));
/// let options = CallOptions::new(Duration::from_millis(10).into());
/// let error = service.oneshot(Request::new(call, options)).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer(());

impl DeadlineLayer {
    /// A layer that reads each request's own deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// Ends a request at its deadline, also while the service below isn't ready.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<S> Service<Request> for Deadline<S>
where
    S: Service<Request, Response = Reply, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Being ready is waited for inside the call, where the deadline counts.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Request {
            timeout, deadline, ..
        } = request;
        let is_read = request.call.is_read();
        let reply: Oneshot<S, Request> = self.inner.clone().oneshot(request);
        Box::pin(async move {
            let Some(deadline) = deadline else {
                return reply.await;
            };
            let late = || {
                let text = format!("no answer from etcd within the timeout of {timeout}");
                Error::new(ErrorKind::Timeout, text)
            };
            match timeout_at(deadline, reply).await {
                // A server that gives up at our deadline calls it a failure of its own.
                Ok(Err(error)) if error.is_unavailable() && Instant::now() >= deadline => {
                    let unknown = error.is_outcome_unknown();
                    let late = late().with_source(error);
                    Err(if unknown {
                        late.with_outcome_unknown()
                    } else {
                        late
                    })
                }
                Ok(result) => result,
                Err(_) if is_read => Err(late()),
                Err(_) => Err(late().with_outcome_unknown()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
    use etcd_lock_core::lease::LeaseLeasesResponse;
    use etcd_lock_core::{CallOptions, ResponseHeader, Timeout};
    use tokio::time::{Instant, advance, sleep};

    use super::*;
    use crate::layers::Call;
    use crate::layers::test::mock;

    const BOUND: Duration = Duration::from_secs(3);

    fn request(call: Call, bound: impl Into<Timeout>) -> Request {
        Request::new(call, CallOptions::new(bound.into()))
    }

    fn reply() -> Reply {
        Reply::LeaseLeases(LeaseLeasesResponse::new(
            ResponseHeader::default(),
            Vec::new(),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_deadline() {
        let put = TxnRequest::new().and_then(PutRequest::new("key", "value"));
        for (call, is_read) in [
            (Call::Range(RangeRequest::key("key")), true),
            (Call::Txn(put), false),
        ] {
            let (service, mut server) = mock();
            let began = Instant::now();
            let bounded = DeadlineLayer::new().layer(service);
            let answer = async {
                let answer = bounded.oneshot(request(call, BOUND)).await;
                assert_eq!(began.elapsed(), BOUND);
                answer
            };
            let (answer, received) = tokio::join!(answer, async {
                let (request, respond) = server.next_request().await.unwrap();
                sleep(2 * BOUND).await;
                drop(respond);
                request
            });
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert!(error.to_string().contains("3s"), "{error}");
            assert_eq!(error.is_outcome_unknown(), !is_read, "{error:?}");
            // The layers below are told the same deadline.
            assert_eq!(received.deadline, Some(began + BOUND));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_never_ready_ends_too() {
        let (service, mut server) = mock();
        server.allow(0);
        let began = Instant::now();
        let bounded = DeadlineLayer::new().layer(service);
        let answer = bounded.oneshot(request(Call::LeaseLeases, BOUND)).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(began.elapsed(), BOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_is_passed_on() {
        for bound in [
            Timeout::After(BOUND),
            Timeout::Infinity,
            Timeout::After(Duration::MAX),
        ] {
            let (service, mut server) = mock();
            let bounded = DeadlineLayer::new().layer(service);
            let answer = bounded.oneshot(request(Call::LeaseLeases, bound));
            let (answer, ()) = tokio::join!(answer, async {
                let (_, respond) = server.next_request().await.unwrap();
                advance(BOUND - Duration::from_millis(1)).await;
                respond.send_response(reply());
            });
            assert!(answer.is_ok(), "{bound}");
        }
    }

    /// Time that was spent before counts: on waiting for other things, or on an attempt that failed.
    #[tokio::test(start_paused = true)]
    async fn a_late_request_has_less_time_left() {
        let late = request(Call::LeaseLeases, BOUND);
        advance(BOUND / 3).await;
        assert_eq!(late.left(), Timeout::After(BOUND - BOUND / 3));
        advance(BOUND).await;
        assert_eq!(late.left(), Timeout::After(Duration::ZERO));
        assert_eq!(
            request(Call::LeaseLeases, Timeout::Infinity).left(),
            Timeout::Infinity
        );
        assert_eq!(
            request(Call::LeaseLeases, Duration::MAX).left(),
            Timeout::Infinity
        );
    }
}
