//! Floor and peer: RPCs by bare tonic stubs, with nothing around them.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::event::EventType;
use etcd_lock_proto::v3lockpb;
use futures_util::stream::unfold;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::request_op::Request;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use v3lockpb::lock_client::LockClient;

use crate::ring;

/// A connection to etcd without any of our code.
#[derive(Clone)]
pub(crate) struct Bare {
    channel: Channel,
    lease: i64,
}

impl Bare {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        Self::connect_with(endpoint, 0).await
    }

    /// With a lease of this number, or 0 for one that etcd picks.
    pub(crate) async fn connect_with(endpoint: &str, lease: i64) -> Self {
        Self::on(Self::open(endpoint).await, lease).await
    }

    /// With a lease that was granted before.
    pub(crate) async fn adopt(endpoint: &str, lease: i64) -> Self {
        let channel = Self::open(endpoint).await;
        Self { channel, lease }
    }

    /// Another lease on the same connection.
    pub(crate) async fn another(&self) -> Self {
        Self::on(self.channel.clone(), 0).await
    }

    async fn open(endpoint: &str) -> Channel {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        endpoint.tcp_nodelay(true).connect().await.unwrap()
    }

    async fn on(channel: Channel, id: i64) -> Self {
        let grant = pb::LeaseGrantRequest { ttl: 600, id };
        let granted = LeaseClient::new(channel.clone()).lease_grant(grant).await;
        let lease = granted.unwrap().into_inner().id;
        Self { channel, lease }
    }

    pub(crate) const fn lease(&self) -> i64 {
        self.lease
    }

    /// Sends a transaction whose conditions hold, and returns its revision.
    pub(crate) async fn txn(&self, txn: pb::TxnRequest) -> i64 {
        let reply = KvClient::new(self.channel.clone()).txn(txn).await;
        let reply = reply.unwrap().into_inner();
        assert!(reply.succeeded);
        reply.header.unwrap().revision
    }

    /// Waits for a lock by etcd's own RPC, as `etcd-client` does, and returns its key.
    pub(crate) async fn lock(&self, name: &str) -> Result<Bytes, Status> {
        let request = v3lockpb::LockRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            lease: self.lease,
        };
        let reply = LockClient::new(self.channel.clone()).lock(request).await;
        Ok(reply?.into_inner().key)
    }

    /// Releases a lock by etcd's own RPC.
    pub(crate) async fn unlock(&self, key: Bytes) {
        let request = v3lockpb::UnlockRequest { key };
        let reply = LockClient::new(self.channel.clone()).unlock(request).await;
        reply.unwrap();
    }

    /// Renews leases over one stream, one after the other and each of them once in this time, until it is dropped.
    pub(crate) async fn keep_alive(&self, leases: Vec<i64>, every: Duration) {
        let due = tokio::time::interval(every / u32::try_from(leases.len()).unwrap());
        let requests = unfold(
            (due, leases.into_iter().cycle()),
            async |(mut due, mut ids)| {
                due.tick().await;
                let id = ids.next()?;
                Some((pb::LeaseKeepAliveRequest { id }, (due, ids)))
            },
        );
        let mut client = LeaseClient::new(self.channel.clone());
        let replies = client.lease_keep_alive(requests).await;
        let mut replies = replies.unwrap().into_inner();
        while let Some(reply) = replies.next().await {
            assert!(reply.unwrap().ttl > 0);
        }
    }

    /// Ends the lease.
    pub(crate) async fn close(self) {
        let request = pb::LeaseRevokeRequest { id: self.lease };
        let reply = LeaseClient::new(self.channel).lease_revoke(request).await;
        reply.unwrap();
    }

    /// The key of this lease's entry.
    pub(crate) fn entry(&self, name: &str) -> Bytes {
        ring::entry(name, self.lease)
    }

    /// Makes an entry of a queue, and no more. Returns its create revision.
    pub(crate) async fn enter(&self, name: &str) -> i64 {
        let key = self.entry(name);
        let put = pb::PutRequest {
            key: key.clone(),
            lease: self.lease,
            ..Default::default()
        };
        let enter = guarded(&key, 0, Request::RequestPut(put));
        self.txn(enter).await
    }

    /// Deletes this lease's entry.
    pub(crate) async fn leave(&self, name: &str, created: i64) {
        self.txn(leave(&self.entry(name), created)).await;
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
        let key = self.entry(name);
        let mut events = self.watch_deletions(key.clone()).await;
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            let created = self.enter(name).await;
            // As long a pause as the other side needs to see that its waiter waits.
            tokio::time::sleep(Duration::from_millis(3)).await;
            let (deleter, leave) = (self.clone(), leave(&key, created));
            let begun = Instant::now();
            let deleted = tokio::spawn(async move { deleter.txn(leave).await });
            let seen = events.next().await.unwrap().unwrap();
            times.push(begun.elapsed());
            assert_eq!(seen.events[0].r#type(), EventType::Delete);
            deleted.await.unwrap();
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
}

/// How many deletions one call of [`Bare::notice`] times.
pub(crate) const SAMPLES: usize = 50;

fn leave(key: &Bytes, created: i64) -> pb::TxnRequest {
    let delete = pb::DeleteRangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    guarded(key, created, Request::RequestDeleteRange(delete))
}

/// Acts on a key only if it was created at this revision.
fn guarded(key: &Bytes, created: i64, request: Request) -> pb::TxnRequest {
    let unchanged = pb::Compare {
        key: key.clone(),
        target: CompareTarget::Create.into(),
        result: CompareResult::Equal.into(),
        target_union: Some(TargetUnion::CreateRevision(created)),
        ..Default::default()
    };
    pb::TxnRequest {
        compare: vec![unchanged],
        success: vec![pb::RequestOp {
            request: Some(request),
        }],
        failure: vec![],
    }
}
