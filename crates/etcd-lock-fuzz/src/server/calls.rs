//! The calls that a server answers.

use std::time::Duration;

use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::{LeaseGrantRequest, LeaseTimeToLiveRequest};
use etcd_lock_core::watch::{WatchCreate, WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, Result, Timeout, Transport, Ttl,
};
use futures_util::stream::{self, StreamExt};
use tokio::time::timeout;

/// Every call ends within this time, also where a server never answers.
const BOUND: Duration = Duration::from_secs(10);

/// Runs something on a clock that passes over every wait. Nothing takes longer than it may.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let bounded = async { timeout(BOUND * 6, future).await.expect("it hangs") };
    runtime.unwrap().block_on(bounded)
}

pub(crate) fn options() -> CallOptions {
    CallOptions::new(Timeout::After(BOUND))
}

pub(crate) fn lease() -> LeaseId {
    LeaseId::new(7).unwrap()
}

pub(crate) fn read() -> RangeRequest {
    RangeRequest::key("k")
}

pub(crate) fn write() -> TxnRequest {
    TxnRequest::new().and_then(PutRequest::new("k", "v"))
}

pub(crate) fn grant() -> LeaseGrantRequest {
    LeaseGrantRequest::new(Ttl::from_secs(10).unwrap())
}

pub(crate) fn left() -> LeaseTimeToLiveRequest {
    LeaseTimeToLiveRequest::new(lease())
}

/// What a watch of one key is told, up to so much.
pub(crate) async fn watched(transport: &dyn Transport) -> Vec<Result<WatchResponse>> {
    let create = WatchRequest::Create(WatchCreate::key(1, "k"));
    said(transport.watch(Box::pin(stream::iter([create]).chain(stream::pending())))).await
}

/// What a stream says, until it ends or says nothing for long.
pub(crate) async fn said<T>(mut replies: BoxStream<Result<T>>) -> Vec<Result<T>> {
    let mut said = Vec::new();
    while said.len() < 100
        && let Ok(Some(reply)) = timeout(BOUND / 2, replies.next()).await
    {
        let is_error = reply.is_err();
        said.push(reply);
        if is_error {
            break;
        }
    }
    said
}

/// An error that a server can cause. Only what may change something can have an outcome that isn't known.
pub(crate) fn is_by_a_server(error: &Error, is_read: bool) {
    assert!(!(is_read && error.is_outcome_unknown()), "{error:?}");
    assert!(
        !matches!(
            error.kind(),
            ErrorKind::AlreadyOpen | ErrorKind::Closed | ErrorKind::Lost | ErrorKind::NotOpen
        ),
        "{error:?}"
    );
}
