//! The limits on the calls, watches and replies that one client can make the server hold.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_memory::model::{Model, ModelOptions};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::{connect, count, in_time, lock, serve};

const MAX_CALLS: usize = 4_096;
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

    // A client that gives up makes room again.
    waits.shutdown().await;
    in_time(async { while count(&other, b"lock/").await > 1 {} }).await;
    let waits_again = tokio::time::timeout(Duration::from_millis(200), lock(&full));
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

/// HTTP/2 has the client keep to it: one call more waits until another has ended.
#[tokio::test]
async fn the_calls_that_are_open_on_one_connection_are_limited() {
    let server = serve().await;
    let (full, other) = (connect(&server).await, connect(&server).await);
    let mut open = Vec::new();
    for _ in 0..MAX_CALLS {
        open.push(in_time(watch(&full)).await);
    }
    let mut one_more = tokio::spawn({
        let full = full.clone();
        async move { count(&full, b"watched").await }
    });
    // The server is not too busy: on another connection it answers.
    assert_eq!(in_time(count(&other, b"watched")).await, 0);
    let waits = tokio::time::timeout(Duration::from_millis(200), &mut one_more);
    assert!(waits.await.is_err());

    open.pop();

    assert_eq!(in_time(one_more).await.unwrap(), 0);
}

/// The replies that the wire takes come; then, in place of thousands of others, one that says that the watch is over.
#[tokio::test]
async fn who_does_not_read_a_watch_has_it_cancelled() {
    let etcd = MemoryEtcd::new();
    let server = Server::bind("127.0.0.1:0", etcd.clone()).await.unwrap();
    let mut unread = watch(&connect(&server).await).await;
    for _ in 0..2 * MAX_REPLIES {
        put_watched(&etcd);
        tokio::task::yield_now().await;
    }
    let mut events = 0;
    let cancelled = loop {
        let reply = in_time(unread.replies.message()).await.unwrap().unwrap();
        events += reply.events.len();
        if reply.canceled {
            break reply;
        }
    };
    assert!(cancelled.cancel_reason.contains("read too slowly"));
    assert!(events < MAX_REPLIES, "{events}");
}

/// Otherwise the test above would prove nothing of those who do.
#[tokio::test]
async fn who_reads_a_watch_is_told_everything() {
    let etcd = MemoryEtcd::new();
    let server = Server::bind("127.0.0.1:0", etcd.clone()).await.unwrap();
    let mut read = watch(&connect(&server).await).await;
    for _ in 0..MAX_REPLIES + 10 {
        put_watched(&etcd);
        let reply = in_time(read.replies.message()).await.unwrap().unwrap();
        assert!(!reply.canceled && reply.events.len() == 1);
    }
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

/// An open stream of one watch. The call ends when both halves are dropped.
struct Watch {
    _requests: UnboundedSender<pb::WatchRequest>,
    replies: Streaming<pb::WatchResponse>,
}

/// A watch that has said that it is on.
async fn watch(channel: &Channel) -> Watch {
    let (requests, asked) = unbounded_channel();
    requests.send(a_watch()).unwrap();
    let mut client = WatchClient::new(channel.clone());
    let replies = client.watch(UnboundedReceiverStream::new(asked)).await;
    let mut replies = replies.unwrap().into_inner();
    assert!(replies.message().await.unwrap().unwrap().created);
    Watch {
        _requests: requests,
        replies,
    }
}

/// Large enough to fill what the wire takes soon: a client hangs up when it is sent very many small frames.
fn put_watched(etcd: &MemoryEtcd) {
    let put = pb::PutRequest {
        key: "watched".into(),
        value: Bytes::from_static(&[0; 4_096]),
        ..pb::PutRequest::default()
    };
    etcd.with(|model| model.put(&put)).unwrap();
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
