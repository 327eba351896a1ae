//! Watches: etcd's `Watch` service.

mod streams;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::Model;
use super::history::KeyRange;

pub use self::streams::StreamId;

use self::streams::Watch;
pub(super) use self::streams::Watches;

impl Model {
    /// Opens a watch stream.
    pub fn open_watch_stream(&mut self) -> StreamId {
        self.watches.open()
    }

    /// Closes a watch stream, with all its watches.
    pub fn close_watch_stream(&mut self, stream: StreamId) {
        self.watches.close(stream);
    }

    /// Takes a request on a watch stream. A stream that isn't open takes none.
    pub fn watch(&mut self, stream: StreamId, request: pb::WatchRequest) {
        if !self.watches.is_open(stream) {
            return;
        }
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create_watch(stream, request),
            Some(RequestUnion::CancelRequest(request)) => {
                self.cancel_watch(stream, request.watch_id);
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                let reply = pb::WatchResponse {
                    watch_id: -1,
                    ..self.watch_reply()
                };
                self.watches.push(stream, reply);
            }
            None => {}
        }
    }

    /// Takes the next reply out of a watch stream.
    pub fn next_watch_response(&mut self, stream: StreamId) -> Option<pb::WatchResponse> {
        self.watches.next_reply(stream)
    }

    /// How many watches a stream has.
    #[must_use]
    pub fn watch_count(&self, stream: StreamId) -> usize {
        self.watches.count(stream)
    }

    fn create_watch(&mut self, stream: StreamId, request: pb::WatchCreateRequest) {
        let created = pb::WatchResponse {
            created: true,
            ..self.watch_reply()
        };
        let refused = |reason: &str| pb::WatchResponse {
            watch_id: -1,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..created.clone()
        };
        let range = watched(&request);
        if matches!(&range, KeyRange::Between(start, end) if start >= end) {
            return self
                .watches
                .push(stream, refused("mvcc: watcher range is empty"));
        }
        let Some(watch_id) = self.watches.pick_id(stream, request.watch_id) else {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            return self.watches.push(stream, refused(reason));
        };
        self.watches.push(
            stream,
            pb::WatchResponse {
                watch_id,
                ..created
            },
        );
        let start = request.start_revision;
        if start != 0 && start < self.history.compacted() {
            let compacted = pb::WatchResponse {
                watch_id,
                // By the compacted revision etcd tells that a watch is over, so it doesn't where that is zero.
                canceled: self.history.compacted() != 0,
                compact_revision: self.history.compacted(),
                header: Some(pb::ResponseHeader {
                    revision: 0,
                    ..self.header().unwrap_or_default()
                }),
                ..pb::WatchResponse::default()
            };
            self.watches.keep_id(stream, watch_id);
            return self.watches.push(stream, compacted);
        }
        let watch = Watch {
            no_put: request.filters.contains(&FilterType::Noput.into()),
            no_delete: request.filters.contains(&FilterType::Nodelete.into()),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            start,
            range,
        };
        let missed = if start > 0 {
            self.history.since(&watch.range, start)
        } else {
            Vec::new()
        };
        let events: Vec<_> = missed
            .iter()
            .filter_map(|change| watch.event(change))
            .collect();
        self.watches.add(stream, watch_id, watch);
        self.watches
            .tell_one((stream, watch_id), events, self.header());
    }

    fn cancel_watch(&mut self, stream: StreamId, watch_id: i64) {
        if self.watches.remove(stream, watch_id) {
            let reply = pb::WatchResponse {
                watch_id,
                canceled: true,
                ..self.watch_reply()
            };
            self.watches.push(stream, reply);
        }
    }

    fn watch_reply(&self) -> pb::WatchResponse {
        pb::WatchResponse {
            header: self.header(),
            ..pb::WatchResponse::default()
        }
    }
}

/// An empty key stands for the least one.
fn watched(request: &pb::WatchCreateRequest) -> KeyRange {
    let least = Bytes::from_static(b"\0");
    let key = if request.key.is_empty() {
        &least
    } else {
        &request.key
    };
    KeyRange::new(key, &request.range_end)
}
