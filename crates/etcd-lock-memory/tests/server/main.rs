//! The server over the wire: what it refuses, what it holds at the most, and how it stops.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

mod explore;
mod limits;
mod shutdown;

use std::future::Future;
use std::time::Duration;

use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb::LockRequest;
use etcd_lock_proto::v3lockpb::lock_client::LockClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use tonic::transport::{Channel, Endpoint};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn serve() -> Server {
    Server::bind("127.0.0.1:0", MemoryEtcd::new())
        .await
        .unwrap()
}

async fn connect(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(server.endpoint()).unwrap();
    endpoint.connect().await.unwrap()
}

async fn in_time<T>(coming: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, coming).await;
    came.expect("it did not come in time")
}

async fn put(channel: &Channel, key: &'static str) {
    let request = pb::PutRequest {
        key: key.into(),
        ..pb::PutRequest::default()
    };
    KvClient::new(channel.clone()).put(request).await.unwrap();
}

async fn grant(channel: &Channel) -> i64 {
    let request = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    let mut leases = LeaseClient::new(channel.clone());
    let granted = leases.lease_grant(request).await.unwrap();
    granted.into_inner().id
}

/// Asks for one lock with a lease of its own.
async fn lock(channel: &Channel) -> Result<(), tonic::Status> {
    let request = LockRequest {
        name: "lock".into(),
        lease: grant(channel).await,
    };
    LockClient::new(channel.clone()).lock(request).await?;
    Ok(())
}

/// How many keys begin with a prefix.
async fn count(channel: &Channel, prefix: &'static [u8]) -> i64 {
    let request = pb::RangeRequest {
        key: prefix.into(),
        range_end: etcd_lock_core::kv::prefix_end(prefix),
        count_only: true,
        ..pb::RangeRequest::default()
    };
    let reply = KvClient::new(channel.clone()).range(request).await;
    reply.unwrap().into_inner().count
}
