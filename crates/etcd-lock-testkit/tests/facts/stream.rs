//! A stream of watches, and requests for them.

use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::etcd::{Etcd, in_time, prefix};

/// An open stream of watches.
pub(crate) struct Stream {
    requests: UnboundedSender<pb::WatchRequest>,
    replies: Streaming<pb::WatchResponse>,
}

impl Stream {
    /// With its first watch, and the answer to that: etcd says nothing before.
    pub(crate) async fn open(
        etcd: &Etcd,
        first: pb::WatchCreateRequest,
    ) -> (Self, pb::WatchResponse) {
        let (requests, outgoing) = unbounded_channel();
        let request_union = Some(RequestUnion::CreateRequest(first));
        requests.send(pb::WatchRequest { request_union }).unwrap();
        let outgoing = UnboundedReceiverStream::new(outgoing);
        let mut client = WatchClient::new(etcd.channel.clone());
        let replies = in_time(client.watch(outgoing)).await.unwrap().into_inner();
        let mut stream = Self { requests, replies };
        let created = stream.next().await;
        (stream, created)
    }

    pub(crate) fn ask(&self, request: RequestUnion) {
        let request_union = Some(request);
        self.requests
            .send(pb::WatchRequest { request_union })
            .unwrap();
    }

    pub(crate) async fn create(&mut self, request: pb::WatchCreateRequest) -> pb::WatchResponse {
        self.ask(RequestUnion::CreateRequest(request));
        self.next().await
    }

    pub(crate) async fn next(&mut self) -> pb::WatchResponse {
        in_time(self.replies.message()).await.unwrap().unwrap()
    }
}

pub(crate) fn watch(key: &'static str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: key.into(),
        ..pb::WatchCreateRequest::default()
    }
}

pub(crate) fn watch_all(key: &'static str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        range_end: prefix(key).range_end,
        ..watch(key)
    }
}
