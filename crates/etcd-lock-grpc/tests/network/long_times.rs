//! Times that are longer than any clock can count to.

use std::time::Duration;

use etcd_lock_core::watch::{WatchBody, WatchCreate, WatchRequest};
use etcd_lock_core::{CallOptions, Timeout, Transport};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_memory::{MemoryEtcd, Server};
use futures_util::stream::{self, StreamExt};

use crate::calls::{every_call, is_usable};

#[tokio::test]
async fn every_call_works_with_the_longest_times() {
    let server = Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap();
    let options = ConnectOptions::from([server.endpoint()])
        .with_connect_timeout(Duration::MAX)
        .with_keep_alive_interval(Duration::MAX)
        .with_keep_alive_timeout(Duration::MAX)
        .with_attempt_timeout(Duration::MAX)
        .with_member_sync(Duration::MAX);
    let transport = GrpcTransport::connect(options).unwrap();
    is_usable(&transport).await;
    for bound in [Timeout::Infinity, Timeout::After(Duration::MAX)] {
        every_call(&transport, bound).await;
        let key = etcd_lock_core::kv::RangeRequest::key("key");
        let read = transport.range(key, CallOptions::new(bound)).await;
        assert_eq!(read.unwrap().kvs.len(), 1);
    }
    for (_, status) in transport.member_status(Duration::MAX).await {
        assert!(status.is_ok(), "{status:?}");
    }
    let create = WatchRequest::Create(WatchCreate::key(1, "key"));
    let asked = stream::iter([create]).chain(stream::pending());
    let told = transport.watch(Box::pin(asked)).next().await.unwrap();
    assert_eq!(told.unwrap().body, WatchBody::Created);
}
