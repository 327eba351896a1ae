//! A member comes back so late that it gets a snapshot instead of the entries of the log that it missed.

use etcd_lock_proto::etcdserverpb as pb;
use futures_util::future::join_all;
use pb::kv_client::KvClient;
use pb::watch_client::WatchClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::support::{PATIENCE, connect};
use crate::{Fault, History, Report, Stage, Version};

scenarios! {
    member_that_catches_up_by_snapshot_waiter_is_granted_although_its_watch_is_cancelled
}

/// Entries that a member may be behind before it gets a snapshot instead of them: etcd keeps 5000, and trims them with each
/// snapshot.
const BEHIND: usize = 5200;

async fn member_that_catches_up_by_snapshot_waiter_is_granted_although_its_watch_is_cancelled(
    version: Version,
) {
    let report = Report::of("member caught up by a snapshot, history compacted", version);
    let mut stage = Stage::with(version.setup().flags(&["--snapshot-count", "100"])).await;
    let member = stage.follower().await;
    let other = (member + 1) % 3;
    let (waiter, holder) = (stage.caller_on(member).await, stage.caller_on(other).await);
    let (holding, first) = holder.mutex("a").await;
    let (waiting, second) = waiter.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;
    let mut control = Watch::open(&stage.etcd.endpoints()[member]).await;

    stage.begin(Fault::Stop(member));
    write(&stage.etcd.endpoints()[other], BEHIND).await;
    let revision = stage.revision().await;
    stage.etcd.etcdctl(other, &["compact", &revision]).await;
    stage.end(Fault::Stop(member)).await;
    let fault = Instant::now();
    assert!(control.is_cancelled_as_compacted().await);
    held.unlock().await.unwrap();

    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    let recovery = fault.elapsed();
    history.granted(granted).unlock().await.unwrap();
    history.check();
    assert!(holding.is_alive() && waiting.is_alive());
    stage.has_entries("a", 0).await;
    report.recovered("released, and granted in turn", recovery);
}

/// Puts a key so many times, several at once.
async fn write(endpoint: &str, times: usize) {
    const AT_ONCE: usize = 50;
    let client = KvClient::new(connect(endpoint).await);
    let writers = (0..AT_ONCE).map(async |_| {
        let mut client = client.clone();
        for _ in 0..times / AT_ONCE {
            let request = pb::PutRequest {
                key: "written".into(),
                ..pb::PutRequest::default()
            };
            client.put(request).await.unwrap();
        }
    });
    join_all(writers).await;
}

/// A watch without the code under test: the control that watches of that member do end.
struct Watch {
    _requests: mpsc::Sender<pb::WatchRequest>,
    events: Streaming<pb::WatchResponse>,
}

impl Watch {
    async fn open(endpoint: &str) -> Self {
        let create = pb::WatchCreateRequest {
            key: "written".into(),
            ..pb::WatchCreateRequest::default()
        };
        let (requests, sent) = mpsc::channel(1);
        let request = pb::watch_request::RequestUnion::CreateRequest(create);
        let request = pb::WatchRequest {
            request_union: Some(request),
        };
        requests.send(request).await.unwrap();
        let mut client = WatchClient::new(connect(endpoint).await);
        let events = client.watch(ReceiverStream::new(sent)).await.unwrap();
        let mut events = events.into_inner();
        assert!(events.message().await.unwrap().unwrap().created);
        Self {
            _requests: requests,
            events,
        }
    }

    async fn is_cancelled_as_compacted(&mut self) -> bool {
        let cancelled = async {
            loop {
                let response = self.events.message().await.unwrap().unwrap();
                if response.canceled {
                    return response.compact_revision > 0;
                }
            }
        };
        timeout(PATIENCE, cancelled).await.unwrap()
    }
}
