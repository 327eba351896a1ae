//! The etcds that are asked, and how: with plain stubs, so that codes and texts are those on the wire.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_memory::model::{ModelOptions, Version};
use etcd_lock_memory::{MemoryEtcd, Server};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::KeyValue;
use etcd_lock_proto::v3lockpb;
use etcd_lock_testkit::{RealEtcd, real_etcd};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::range_request::{SortOrder, SortTarget};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use v3lockpb::lock_client::LockClient;

/// How long is waited for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A reply, or the code and the text of a refusal.
pub(crate) type Answer<T> = Result<T, (Code, String)>;

/// Asks one etcd for a fact: it is an etcd of its own.
pub(crate) fn run(start: impl AsyncFnOnce() -> Etcd, fact: impl AsyncFnOnce(&Etcd)) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { fact(&start().await).await });
}

/// An etcd, in memory or real.
pub(crate) struct Etcd {
    pub(crate) version: Version,
    pub(crate) channel: Channel,
    /// Stops the etcd when it is dropped.
    _process: Box<dyn Any>,
}

impl Etcd {
    pub(crate) async fn memory_like_3_4() -> Self {
        Self::in_memory(Version::V3_4).await
    }

    pub(crate) async fn memory_like_3_5() -> Self {
        Self::in_memory(Version::V3_5).await
    }

    pub(crate) async fn real_3_4() -> Self {
        let program = real_etcd::default_program();
        Self::real(RealEtcd::of_program(&program).await, Version::V3_4).await
    }

    pub(crate) async fn real_3_5() -> Self {
        let program = real_etcd::program_35();
        Self::real(RealEtcd::of_program(&program).await, Version::V3_5).await
    }

    async fn in_memory(version: Version) -> Self {
        let etcd = MemoryEtcd::with_options(ModelOptions::new().with_version(version));
        let server = Server::bind("127.0.0.1:0", etcd).await.unwrap();
        Self {
            version,
            channel: connect(server.endpoint()).await,
            _process: Box::new(server),
        }
    }

    async fn real(etcd: RealEtcd, version: Version) -> Self {
        Self {
            version,
            channel: connect(etcd.endpoints().remove(0)).await,
            _process: Box::new(etcd),
        }
    }

    pub(crate) async fn range(&self, request: pb::RangeRequest) -> Answer<pb::RangeResponse> {
        answer(self.kv().range(request).await)
    }

    pub(crate) async fn put(&self, request: pb::PutRequest) -> Answer<pb::PutResponse> {
        answer(self.kv().put(request).await)
    }

    pub(crate) async fn delete(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Answer<pb::DeleteRangeResponse> {
        answer(self.kv().delete_range(request).await)
    }

    pub(crate) async fn txn(&self, request: pb::TxnRequest) -> Answer<pb::TxnResponse> {
        answer(self.kv().txn(request).await)
    }

    pub(crate) async fn compact(&self, revision: i64) -> Answer<pb::CompactionResponse> {
        let physical = true;
        let request = pb::CompactionRequest { revision, physical };
        answer(self.kv().compact(request).await)
    }

    pub(crate) async fn grant(&self, ttl: i64, id: i64) -> Answer<pb::LeaseGrantResponse> {
        let request = pb::LeaseGrantRequest { ttl, id };
        answer(self.leases().lease_grant(request).await)
    }

    pub(crate) async fn revoke(&self, id: i64) -> Answer<pb::LeaseRevokeResponse> {
        let request = pb::LeaseRevokeRequest { id };
        answer(self.leases().lease_revoke(request).await)
    }

    pub(crate) async fn time_to_live(&self, id: i64) -> pb::LeaseTimeToLiveResponse {
        let request = pb::LeaseTimeToLiveRequest { id, keys: true };
        answer(self.leases().lease_time_to_live(request).await).unwrap()
    }

    pub(crate) async fn lock(&self, name: &[u8], lease: i64) -> Answer<v3lockpb::LockResponse> {
        let name = Bytes::copy_from_slice(name);
        let request = v3lockpb::LockRequest { name, lease };
        answer(LockClient::new(self.channel.clone()).lock(request).await)
    }

    pub(crate) async fn unlock(&self, key: &[u8]) -> Answer<v3lockpb::UnlockResponse> {
        let key = Bytes::copy_from_slice(key);
        let request = v3lockpb::UnlockRequest { key };
        answer(LockClient::new(self.channel.clone()).unlock(request).await)
    }

    /// A lease that outlives the test.
    pub(crate) async fn lease(&self) -> i64 {
        self.grant(60, 0).await.unwrap().id
    }

    /// Writes a key, and returns the revision of that.
    pub(crate) async fn set(&self, key: &str, value: &str) -> i64 {
        let reply = self.put(put(key, value)).await.unwrap();
        reply.header.unwrap().revision
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.range(range(key)).await.unwrap().kvs.pop()
    }

    pub(crate) async fn revision(&self) -> i64 {
        let reply = self.range(range(b"~")).await.unwrap();
        reply.header.unwrap().revision
    }

    /// A lock's queue, oldest entry first.
    pub(crate) async fn queue(&self, name: &str) -> Vec<KeyValue> {
        let request = pb::RangeRequest {
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..prefix(&format!("{name}/"))
        };
        self.range(request).await.unwrap().kvs
    }

    /// Begins to wait for a lock that is held, and returns when the queue has one entry more.
    pub(crate) async fn waiting(
        &self,
        name: &'static str,
        lease: i64,
    ) -> JoinHandle<Answer<v3lockpb::LockResponse>> {
        let entries = self.queue(name).await.len();
        let waiting = self.begin_lock(name, lease);
        self.queue_has(name, entries + 1).await;
        waiting
    }

    pub(crate) fn begin_lock(
        &self,
        name: &'static str,
        lease: i64,
    ) -> JoinHandle<Answer<v3lockpb::LockResponse>> {
        let mut client = LockClient::new(self.channel.clone());
        let name = name.into();
        tokio::spawn(
            async move { answer(client.lock(v3lockpb::LockRequest { name, lease }).await) },
        )
    }

    pub(crate) async fn queue_has(&self, name: &str, entries: usize) {
        eventually(async || self.queue(name).await.len() == entries).await;
    }

    pub(crate) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }
}

/// The answer of a call, told the same way whether it was sent by a stub or a stream.
pub(crate) fn answer<T>(reply: Result<Response<T>, Status>) -> Answer<T> {
    let refused = |status: Status| (status.code(), status.message().to_owned());
    reply.map(Response::into_inner).map_err(refused)
}

pub(crate) fn refusal<T>(code: Code, text: &str) -> Answer<T> {
    Err((code, text.to_owned()))
}

/// Waits for what must come to be so.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    in_time(async {
        while !is_so().await {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) async fn in_time<T>(coming: impl Future<Output = T>) -> T {
    timeout(PATIENCE, coming).await.expect("it did not come")
}

/// The result of a call that was begun.
pub(crate) async fn outcome<T>(begun: JoinHandle<T>) -> T {
    in_time(begun).await.unwrap()
}

pub(crate) fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..pb::PutRequest::default()
    }
}

/// Of one key.
pub(crate) fn range(key: &[u8]) -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::copy_from_slice(key),
        ..pb::RangeRequest::default()
    }
}

/// Of all that begin so.
pub(crate) fn prefix(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        range_end: etcd_lock_core::kv::prefix_end(key.as_bytes()),
        ..range(key.as_bytes())
    }
}

/// Of one key.
pub(crate) fn deletion(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        ..pb::DeleteRangeRequest::default()
    }
}

async fn connect(endpoint: String) -> Channel {
    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    endpoint.connect().await.unwrap()
}
