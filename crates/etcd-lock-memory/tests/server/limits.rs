//! What one client can make the server hold.

use etcd_lock_memory::model::{Model, ModelOptions};
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::task::JoinSet;
use tonic::Code;

use crate::{connect, count, in_time, lock, serve};

const MAX_LOCKS: i64 = 1_024;
const MAX_WATCHES: usize = 10_000;
const MAX_REPLIES: usize = 10_000;

#[tokio::test]
async fn the_calls_of_lock_that_wait_on_one_connection_are_limited() {
    let server = serve().await;
    let (full, other) = (connect(&server).await, connect(&server).await);
    lock(&other).await.unwrap();
    let mut waits = JoinSet::new();
    for _ in 0..MAX_LOCKS {
        let full = full.clone();
        waits.spawn(async move { lock(&full).await });
    }
    in_time(async { while count(&other, b"lock/").await <= MAX_LOCKS {} }).await;

    let refused = in_time(lock(&full)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("calls of Lock"), "{refused}");
    // The refused call left nothing in the queue, and the connection still serves.
    assert_eq!(count(&full, b"lock/").await, MAX_LOCKS + 1);

    // Who gives up makes room again.
    waits.shutdown().await;
    in_time(async { while count(&other, b"lock/").await > 1 {} }).await;
    let waits_again = tokio::time::timeout(std::time::Duration::from_millis(200), lock(&full));
    assert!(waits_again.await.is_err());
}

#[tokio::test]
async fn the_watches_of_one_stream_are_limited() {
    let server = serve().await;
    let mut client = WatchClient::new(connect(&server).await);
    let asked = tokio_stream::iter((0..=MAX_WATCHES).map(|_| a_watch()));
    let open = tokio_stream::StreamExt::chain(asked, tokio_stream::pending());
    let mut replies = client.watch(open).await.unwrap().into_inner();
    let refused = in_time(async {
        loop {
            if let Err(refused) = replies.message().await {
                return refused;
            }
        }
    });
    let refused = refused.await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("too many watches"), "{refused}");
}

#[test]
fn a_stream_that_nobody_reads_loses_its_watches() {
    let mut model = Model::new(ModelOptions::new());
    let stream = model.open_watch_stream();
    model.watch(stream, a_watch());
    for _ in 0..MAX_REPLIES + 10 {
        let put = pb::PutRequest {
            key: "watched".into(),
            ..pb::PutRequest::default()
        };
        model.put(&put).unwrap();
    }
    assert_eq!(model.watch_count(stream), 0);
    let told: Vec<_> = std::iter::from_fn(|| model.next_watch_response(stream)).collect();
    assert!(told.len() < 10, "{}", told.len());
    assert!(told[0].canceled && told[0].cancel_reason.contains("read too slowly"));
}

fn a_watch() -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: "watched".into(),
        ..pb::WatchCreateRequest::default()
    };
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}
