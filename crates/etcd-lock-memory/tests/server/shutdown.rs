//! How the server stops: soon, and telling those who wait.

use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};

use crate::{connect, count, grant, in_time, lock, put, serve};

/// It is to be gone by then.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn those_who_wait_are_told_that_it_is_unavailable() {
    let server = serve().await;
    let channel = connect(&server).await;
    lock(&channel).await.unwrap();
    let waiting = channel.clone();
    let waiter = tokio::spawn(async move { lock(&waiting).await });
    in_time(async { while count(&channel, b"lock/").await < 2 {} }).await;
    let mut watch = watch(&channel).await;
    let mut renewals = keep_alive(&channel).await;

    let stopped = timeout(SOON, server.shutdown()).await;

    stopped.expect("it did not stop in time").unwrap();
    let waited = in_time(waiter).await.unwrap();
    assert_eq!(waited.unwrap_err().code(), Code::Unavailable);
    assert_eq!(end_of(&mut watch).await, Code::Unavailable);
    assert_eq!(end_of(&mut renewals).await, Code::Unavailable);
}

#[tokio::test]
async fn who_neither_speaks_nor_listens_does_not_hold_it_up() {
    let server = serve().await;
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let channel = connect(&server).await;
    let _unread = watch(&channel).await;
    // More than the stream's window takes, so that its end can't be sent.
    for _ in 0..5_000 {
        put(&channel, "watched").await;
    }

    let stopped = timeout(SOON, server.shutdown()).await;

    stopped.expect("it did not stop in time").unwrap();
    drop(silent);
}

#[tokio::test]
async fn nobody_is_served_any_more() {
    let server = serve().await;
    let address = server.address();
    server.shutdown().await.unwrap();
    if let Ok(mut late) = TcpStream::connect(address).await {
        assert_eq!(late.read(&mut [0]).await.unwrap_or(0), 0);
    }
}

/// An open watch, that has said that it is.
async fn watch(channel: &tonic::transport::Channel) -> Streaming<pb::WatchResponse> {
    let create = pb::WatchCreateRequest {
        key: "watched".into(),
        ..pb::WatchCreateRequest::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    let asked = tokio_stream::once(request).chain(tokio_stream::pending());
    let replies = WatchClient::new(channel.clone()).watch(asked).await;
    let mut replies = replies.unwrap().into_inner();
    assert!(in_time(replies.message()).await.unwrap().unwrap().created);
    replies
}

/// An open stream of renewals, with one done.
async fn keep_alive(channel: &tonic::transport::Channel) -> Streaming<pb::LeaseKeepAliveResponse> {
    let request = pb::LeaseKeepAliveRequest {
        id: grant(channel).await,
    };
    let asked = tokio_stream::once(request).chain(tokio_stream::pending());
    let mut leases = LeaseClient::new(channel.clone());
    let mut replies = leases.lease_keep_alive(asked).await.unwrap().into_inner();
    assert_eq!(in_time(replies.message()).await.unwrap().unwrap().ttl, 60);
    replies
}

/// The code with which a stream ends.
async fn end_of<T>(replies: &mut Streaming<T>) -> Code {
    loop {
        match in_time(replies.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}
