//! A service for the layers' tests, that answers as it is told.

use etcd_lock_core::{CallOptions, Error, Result};
use tower::util::MapErr;
use tower::{BoxError, ServiceExt};
use tower_test::mock::{Handle, Mock};

use super::{Call, Reply, Request, RetryPolicy, stack};

/// The answers to the attempts of one request, one by one.
pub(super) type Answers = Vec<Result<Reply>>;

/// A service whose answers a test gives.
pub(super) type Service = MapErr<Mock<Request, Reply>, fn(BoxError) -> Error>;

/// A service, and what answers its requests.
pub(super) fn mock() -> (Service, Handle<Request, Reply>) {
    let (service, server) = tower_test::mock::pair();
    let service = service.map_err((|error| *error.downcast().unwrap()) as fn(BoxError) -> Error);
    (service, server)
}

/// Sends a request through all layers. All answers must be used, and no more asked for.
pub(super) async fn each(policy: RetryPolicy, call: Call, answers: Answers) -> Result<Reply> {
    let (service, mut server) = mock();
    let request = Request::new(call, CallOptions::default());
    let sent = stack(service, policy).oneshot(request);
    let answering = async move {
        for answer in answers {
            let (_, respond) = server.next_request().await.unwrap();
            match answer {
                Ok(reply) => respond.send_response(reply),
                Err(error) => respond.send_error(error),
            }
        }
        assert!(server.next_request().await.is_none(), "an attempt too many");
    };
    tokio::join!(sent, answering).0
}

/// Sends a request whose attempts all fail in the same way. Returns the error, and how many attempts there were.
pub(super) async fn always(policy: RetryPolicy, call: Call, error: Error) -> (Error, usize) {
    let (service, mut server) = mock();
    let request = Request::new(call, CallOptions::default());
    let sent = stack(service, policy).oneshot(request);
    let answering = async move {
        let mut attempts = 0;
        while let Some((_, respond)) = server.next_request().await {
            attempts += 1;
            respond.send_error(error.clone());
        }
        attempts
    };
    let (result, attempts) = tokio::join!(sent, answering);
    (result.unwrap_err(), attempts)
}
