//! The other side: a real etcd, over plain tonic stubs.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_memory::model::Version;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use v3lockpb::lock_client::LockClient;

use super::call::{Answer, Call, Refusal, Reply, Start};
use super::memory::PAST;
use super::watch_log::{BARRIER, STREAMS, barrier_watch};
use crate::RealEtcd;

/// How long etcd may take for what it is sure to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A running etcd, with the streams of the sequence under way.
#[derive(Debug)]
pub(super) struct Etcd {
    etcd: RealEtcd,
    channel: Channel,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    requests: UnboundedSender<pb::WatchRequest>,
    replies: Streaming<pb::WatchResponse>,
}

impl Etcd {
    pub(super) async fn connect(etcd: RealEtcd) -> Self {
        Self {
            channel: channel(&etcd).await,
            etcd,
            streams: Vec::new(),
        }
    }

    /// The version that it says that it is, and the model's version for that.
    pub(super) async fn version(&self) -> (String, Version) {
        let mut client = MaintenanceClient::new(self.channel.clone());
        let status = client.status(pb::StatusRequest {}).await.unwrap();
        let version = status.into_inner().version;
        let like = if version.starts_with("3.4.") {
            Version::V3_4
        } else {
            Version::V3_5
        };
        (version, like)
    }

    /// Empties it, and opens the streams anew. The header is that of the last reply.
    pub(super) async fn begin(&mut self, start: Start) -> pb::ResponseHeader {
        self.streams.clear();
        let member = &mut self.etcd.members()[0];
        // A call of the sequence before may have been the end of it.
        if start == Start::New || !member.is_healthy().await {
            member.restart_empty().await;
            self.channel = channel(&self.etcd).await;
        }
        self.until("no call of Lock and no watch is left", async |metrics| {
            metrics.locks() == 0 && metrics.watches() == 0
        })
        .await;
        let header = match start {
            Start::New => self.header().await,
            Start::Compacted => self.forget_all().await,
        };
        for _ in 0..STREAMS {
            let stream = self.open_stream().await;
            self.streams.push(stream);
        }
        header
    }

    pub(super) async fn call(&self, call: Call) -> Answer {
        // Several large values are more than a client takes by itself.
        let kv = KvClient::new(self.channel.clone());
        let mut kv = kv.max_decoding_message_size(usize::MAX);
        let mut lease = LeaseClient::new(self.channel.clone());
        let mut lock = LockClient::new(self.channel.clone());
        Ok(match call {
            Call::Range(request) => Reply::Range(kv.range(request).await?.into_inner()),
            Call::Put(request) => Reply::Put(kv.put(request).await?.into_inner()),
            Call::Delete(request) => Reply::Delete(kv.delete_range(request).await?.into_inner()),
            Call::Txn(request) => Reply::Txn(kv.txn(request).await?.into_inner()),
            Call::Compact(request) => Reply::Compact(kv.compact(request).await?.into_inner()),
            Call::Grant(request) => Reply::Grant(lease.lease_grant(request).await?.into_inner()),
            Call::Revoke(request) => Reply::Revoke(lease.lease_revoke(request).await?.into_inner()),
            Call::KeepAlive(request) => Reply::KeepAlive(self.keep_alive(request).await?),
            Call::TimeToLive(request) => {
                Reply::TimeToLive(lease.lease_time_to_live(request).await?.into_inner())
            }
            Call::Leases(request) => Reply::Leases(lease.lease_leases(request).await?.into_inner()),
            Call::Unlock(request) => Reply::Unlock(lock.unlock(request).await?.into_inner()),
        })
    }

    /// Begins a call of `Lock`, which goes on by itself until it is aborted.
    pub(super) fn lock(
        &self,
        request: v3lockpb::LockRequest,
    ) -> JoinHandle<Answer<v3lockpb::LockResponse>> {
        let mut client = LockClient::new(self.channel.clone());
        tokio::spawn(async move {
            let reply = client.lock(request).await.map_err(Refusal::from)?;
            Ok(reply.into_inner())
        })
    }

    pub(super) fn watch(&self, stream: usize, request: pb::WatchRequest) {
        // A stream that has failed says so to who waits for its next reply.
        let _ = self.streams[stream].requests.send(request);
    }

    /// The next reply on a stream, or nothing where none comes in time.
    pub(super) async fn next_watch_response(
        &mut self,
        stream: usize,
        patience: Duration,
    ) -> Option<Answer<pb::WatchResponse>> {
        let next = timeout(patience, self.streams[stream].replies.next()).await;
        let ended = || tonic::Status::unknown("the stream ended");
        let reply = next.ok()?.unwrap_or_else(|| Err(ended()));
        Some(reply.map_err(Refusal::from))
    }

    pub(super) async fn revision(&self) -> i64 {
        self.header().await.revision
    }

    async fn header(&self) -> pb::ResponseHeader {
        let barrier = pb::RangeRequest {
            key: BARRIER,
            ..pb::RangeRequest::default()
        };
        let mut client = KvClient::new(self.channel.clone());
        let reply = client.range(barrier).await.unwrap().into_inner();
        reply.header.unwrap_or_default()
    }

    pub(super) async fn metrics(&self) -> Metrics {
        Metrics(self.etcd.metrics().await)
    }

    /// Waits for something that can only be seen from outside of etcd's API.
    ///
    /// # Panics
    /// When it doesn't come true.
    pub(super) async fn until(&self, what: &str, reached: impl AsyncFn(&Metrics) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(&self.metrics().await).await {
            assert!(Instant::now() < deadline, "etcd did not get to: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Answer<pb::LeaseKeepAliveResponse> {
        let mut client = LeaseClient::new(self.channel.clone());
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let mut replies = client.lease_keep_alive(requests).await?.into_inner();
        let ended = || tonic::Status::unknown("the stream ended").into();
        replies.message().await?.ok_or_else(ended)
    }

    /// Ends all leases, deletes all keys, and compacts all that was.
    async fn forget_all(&self) -> pb::ResponseHeader {
        let leases = self.call(Call::Leases(pb::LeaseLeasesRequest {})).await;
        if let Ok(Reply::Leases(leases)) = leases {
            for pb::LeaseStatus { id } in leases.leases {
                let revoke = pb::LeaseRevokeRequest { id };
                self.call(Call::Revoke(revoke)).await.unwrap();
            }
        }
        let put = pb::PutRequest {
            key: BARRIER,
            ..pb::PutRequest::default()
        };
        self.call(Call::Put(put.clone())).await.unwrap();
        while self.revision().await < PAST {
            self.call(Call::Put(put.clone())).await.unwrap();
        }
        let all = Bytes::from_static(b"\0");
        let delete = pb::DeleteRangeRequest {
            key: all.clone(),
            range_end: all,
            prev_kv: false,
        };
        self.call(Call::Delete(delete)).await.unwrap();
        let compact = pb::CompactionRequest {
            revision: self.revision().await,
            physical: true,
        };
        match self.call(Call::Compact(compact)).await.unwrap() {
            Reply::Compact(reply) => reply.header.unwrap_or_default(),
            other => unreachable!("a compaction is not answered with {other:?}"),
        }
    }

    async fn open_stream(&self) -> Stream {
        let (requests, outgoing) = unbounded_channel();
        // etcd sends no headers before its first reply, so the first request must be there already.
        requests.send(barrier_watch()).unwrap();
        let client = WatchClient::new(self.channel.clone());
        let mut client = client.max_decoding_message_size(usize::MAX);
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let replies = client.watch(outgoing).await.unwrap().into_inner();
        Stream { requests, replies }
    }
}

async fn channel(etcd: &RealEtcd) -> Channel {
    let endpoint = Channel::from_shared(etcd.endpoints().remove(0)).unwrap();
    endpoint.connect().await.unwrap()
}

/// The metrics of etcd.
#[derive(Debug)]
pub(super) struct Metrics(String);

impl Metrics {
    /// How many watches there are, those of waiting calls of `Lock` included.
    pub(super) fn watches(&self) -> u64 {
        self.sum("etcd_debugging_mvcc_watcher_total", "")
    }

    /// How many of them have not been told yet of all that they have missed.
    pub(super) fn late_watches(&self) -> u64 {
        self.sum("etcd_debugging_mvcc_slow_watcher_total", "")
    }

    /// How many calls of `Lock` are under way.
    pub(super) fn locks(&self) -> u64 {
        let method = r#"grpc_method="Lock""#;
        let started = self.sum("grpc_server_started_total", method);
        started.saturating_sub(self.sum("grpc_server_handled_total", method))
    }

    fn sum(&self, name: &str, label: &str) -> u64 {
        let lines = self.0.lines();
        let lines = lines.filter(|line| line.starts_with(name) && line.contains(label));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
