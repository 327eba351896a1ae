//! Helpers that the tests of this crate share.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::lease::LeaseGrantRequest;
use etcd_lock_core::{
    CallOptions, Client, LeaseId, LockKey, LockName, LockRequest, LockResponse, Timeout, Transport,
    Ttl, UnlockRequest,
};
use etcd_lock_memory::MemoryEtcd;

pub(crate) const INFINITE: CallOptions = CallOptions::new(Timeout::Infinity);

pub(crate) fn seconds(secs: u64) -> CallOptions {
    CallOptions::new(Timeout::After(Duration::from_secs(secs)))
}

pub(crate) async fn grant(transport: &impl Transport, secs: i64) -> LeaseId {
    let request = LeaseGrantRequest::new(Ttl::from_secs(secs).unwrap());
    transport.lease_grant(request, INFINITE).await.unwrap().id
}

/// A request with a lease of its own.
pub(crate) async fn request(transport: &impl Transport, name: &str) -> LockRequest {
    let lease = grant(transport, 60).await;
    LockRequest::new(LockName::new(name.to_owned()).unwrap(), lease)
}

/// Takes a lock with a lease of its own.
pub(crate) async fn lock(transport: &impl Transport, name: &str) -> LockResponse {
    let request = request(transport, name).await;
    transport.lock(request, INFINITE).await.unwrap()
}

/// The keys of a queue, oldest first.
pub(crate) async fn keys(etcd: &MemoryEtcd, name: &str) -> Vec<Bytes> {
    let request = RangeRequest::prefix(format!("{name}/"));
    let mut kvs = etcd.range(request, INFINITE).await.unwrap().kvs;
    kvs.sort_by_key(|kv| kv.create_revision);
    kvs.into_iter().map(|kv| kv.key).collect()
}

/// Waits until a queue has this many keys.
pub(crate) async fn until_keys(etcd: &MemoryEtcd, name: &str, count: usize) {
    let enough = async {
        while keys(etcd, name).await.len() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), enough).await;
    assert!(
        reached.is_ok(),
        "{name} has {:?}, not {count} keys",
        keys(etcd, name).await
    );
}

pub(crate) async fn unlock(transport: &impl Transport, key: LockKey) {
    transport
        .unlock(UnlockRequest::new(key), INFINITE)
        .await
        .unwrap();
}

pub(crate) fn client(queue: impl Into<Client>) -> Client {
    queue.into()
}
