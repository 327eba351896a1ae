//! Floor and peer: RPCs by bare tonic stubs, with nothing around them.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::event::EventType;
use etcd_lock_proto::v3lockpb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::request_op::Request;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use v3lockpb::lock_client::LockClient;

/// A connection to etcd without any of our code.
#[derive(Clone)]
pub(crate) struct Bare {
    channel: Channel,
    lease: i64,
}

impl Bare {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        let channel = endpoint.tcp_nodelay(true).connect().await.unwrap();
        Self::on(channel).await
    }

    /// Another lease on the same connection.
    pub(crate) async fn another(&self) -> Self {
        Self::on(self.channel.clone()).await
    }

    async fn on(channel: Channel) -> Self {
        let grant = pb::LeaseGrantRequest { ttl: 600, id: 0 };
        let granted = LeaseClient::new(channel.clone()).lease_grant(grant).await;
        let lease = granted.unwrap().into_inner().id;
        Self { channel, lease }
    }

    /// Enters and leaves the queue of a free lock, by the two transactions that our queue sends. Returns what it took.
    pub(crate) async fn cycle(&self, name: &str) -> Duration {
        let mut kv = KvClient::new(self.channel.clone());
        let key = self.entry(name);
        let begun = Instant::now();
        let entered = kv.txn(self.enter(name, &key)).await.unwrap().into_inner();
        let created = entered.header.unwrap().revision;
        assert!(entered.succeeded);
        let left = kv.txn(leave(&key, created)).await.unwrap().into_inner();
        assert!(left.succeeded);
        begun.elapsed()
    }

    /// Waits for a lock by etcd's own RPC, as `etcd-client` does, and returns its key.
    pub(crate) async fn lock(&self, name: &str) -> Bytes {
        let request = v3lockpb::LockRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            lease: self.lease,
        };
        let reply = LockClient::new(self.channel.clone()).lock(request).await;
        reply.unwrap().into_inner().key
    }

    /// Releases a lock by etcd's own RPC.
    pub(crate) async fn unlock(&self, key: Bytes) {
        let request = v3lockpb::UnlockRequest { key };
        let reply = LockClient::new(self.channel.clone()).unlock(request).await;
        reply.unwrap();
    }

    /// Makes an entry of a queue, and no more.
    pub(crate) async fn put_entry(&self, name: &str) {
        let put = pb::PutRequest {
            key: Bytes::from(format!("{name}/{:x}", self.lease)),
            lease: self.lease,
            ..Default::default()
        };
        let reply = KvClient::new(self.channel.clone()).put(put).await;
        reply.unwrap();
    }

    /// Ends the lease.
    pub(crate) async fn close(self) {
        let request = pb::LeaseRevokeRequest { id: self.lease };
        let reply = LeaseClient::new(self.channel).lease_revoke(request).await;
        reply.unwrap();
    }

    /// The key of this lease's entry.
    pub(crate) fn entry(&self, name: &str) -> Bytes {
        Bytes::from(format!("{name}/{:x}", self.lease))
    }

    /// Enters the queue without looking who is in it.
    pub(crate) async fn enter_alone(&self, name: &str) -> i64 {
        let key = self.entry(name);
        let mut enter = self.enter(name, &key);
        enter.success.truncate(1);
        enter.failure.clear();
        let reply = KvClient::new(self.channel.clone()).txn(enter).await;
        let reply = reply.unwrap().into_inner();
        assert!(reply.succeeded);
        reply.header.unwrap().revision
    }

    /// Deletes this lease's entry.
    pub(crate) async fn leave(&self, name: &str, created: i64) {
        let leave = leave(&self.entry(name), created);
        let reply = KvClient::new(self.channel.clone()).txn(leave).await;
        assert!(reply.unwrap().into_inner().succeeded);
    }

    /// A watch of a key's deletions, which is on when this returns.
    pub(crate) async fn watch_deletions(&self, key: Bytes) -> Streaming<pb::WatchResponse> {
        let create = pb::WatchCreateRequest {
            key,
            filters: vec![pb::watch_create_request::FilterType::Noput.into()],
            ..Default::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        let request = tokio_stream::once(pb::WatchRequest { request_union });
        let outgoing = request.chain(tokio_stream::pending());
        let mut watcher = WatchClient::new(self.channel.clone());
        let mut events = watcher.watch(outgoing).await.unwrap().into_inner();
        assert!(events.next().await.unwrap().unwrap().created);
        events
    }

    /// How long after a deletion was sent an open watch tells of it.
    pub(crate) async fn notice(&self, name: &str) -> Vec<Duration> {
        let mut kv = KvClient::new(self.channel.clone());
        let key = self.entry(name);
        let mut events = self.watch_deletions(key.clone()).await;
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            let entered = kv.txn(self.enter(name, &key)).await.unwrap().into_inner();
            let created = entered.header.unwrap().revision;
            // As long a pause as the other side needs to see that its waiter waits.
            tokio::time::sleep(Duration::from_millis(3)).await;
            let (mut deleter, key) = (kv.clone(), key.clone());
            let begun = Instant::now();
            let deleted = tokio::spawn(async move { deleter.txn(leave(&key, created)).await });
            let seen = events.next().await.unwrap().unwrap();
            times.push(begun.elapsed());
            assert_eq!(seen.events[0].r#type(), EventType::Delete);
            deleted.await.unwrap().unwrap();
        }
        times
    }

    /// Writes so many keys a second until it is dropped.
    pub(crate) async fn write_at(self, rate: u32) {
        let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
        for number in 0_u64.. {
            due.tick().await;
            let mut kv = KvClient::new(self.channel.clone());
            let put = pb::PutRequest {
                key: Bytes::from(format!("written/{}", number % 1000)),
                value: Bytes::from_static(&[b'x'; 100]),
                ..Default::default()
            };
            tokio::spawn(async move { kv.put(put).await });
        }
    }

    fn enter(&self, name: &str, key: &Bytes) -> pb::TxnRequest {
        let put = pb::PutRequest {
            key: key.clone(),
            lease: self.lease,
            ..Default::default()
        };
        let queue = pb::RangeRequest {
            key: Bytes::from(format!("{name}/")),
            range_end: Bytes::from(format!("{name}0")),
            limit: 6,
            keys_only: true,
            sort_order: pb::range_request::SortOrder::Descend.into(),
            sort_target: pb::range_request::SortTarget::Create.into(),
            ..Default::default()
        };
        let own = pb::RangeRequest {
            key: key.clone(),
            keys_only: true,
            ..Default::default()
        };
        pb::TxnRequest {
            compare: vec![created_at(key, 0)],
            success: vec![
                op(Request::RequestPut(put)),
                op(Request::RequestRange(queue.clone())),
            ],
            failure: vec![
                op(Request::RequestRange(own)),
                op(Request::RequestRange(queue)),
            ],
        }
    }
}

/// How many deletions one call of [`Bare::notice`] times.
pub(crate) const SAMPLES: usize = 50;

fn leave(key: &Bytes, created: i64) -> pb::TxnRequest {
    let delete = pb::DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![created_at(key, created)],
        success: vec![op(Request::RequestDeleteRange(delete))],
        failure: vec![],
    }
}

fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        key: key.clone(),
        target: CompareTarget::Create.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}
