//! Watches: etcd's `Watch` service.

mod faults;
mod streams;
mod visits;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::Model;
use super::history::KeyRange;

pub use self::faults::WatchRefusal;
pub use self::streams::StreamId;

use self::streams::Watch;
pub(super) use self::streams::Watches;

impl Model {
    /// Opens a watch stream.
    pub fn open_watch_stream(&mut self) -> StreamId {
        self.watches.open(self.now)
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
            // Before 3.4.25 and 3.5.8 etcd answered although watches were behind.
            Some(RequestUnion::ProgressRequest(_)) if self.watches.is_behind(stream) => {}
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
        if let Some(refusal) = self.watches.refusal(stream) {
            let reason = refusal.reason(self.options.version);
            return self.watches.push(stream, refused(reason));
        }
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
            self.watches.keep_id(stream, watch_id);
            let reply = self.compacted_reply(watch_id);
            return self.watches.push(stream, reply);
        }
        let watch = Watch {
            no_put: request.filters.contains(&FilterType::Noput.into()),
            no_delete: request.filters.contains(&FilterType::Nodelete.into()),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            start,
            next: self.first_revision(start),
            behind: false,
            silent: request.progress_notify.then_some(true),
            range,
        };
        self.watches.add(stream, watch_id, watch, self.now);
        if self.watches.starts_behind(stream) {
            self.watches.fall_behind((stream, watch_id), self.now);
        } else {
            self.catch_up((stream, watch_id));
        }
    }

    /// The first revision that a watch from `start` is told of: zero stands for what comes next.
    const fn first_revision(&self, start: i64) -> i64 {
        if start > 0 {
            start
        } else {
            self.history.revision() + 1
        }
    }

    /// That a watch is over, since what it would have to be told next is compacted.
    fn compacted_reply(&self, watch_id: i64) -> pb::WatchResponse {
        pb::WatchResponse {
            watch_id,
            // By the compacted revision etcd tells that a watch is over, so it doesn't where that is zero.
            canceled: self.history.compacted() != 0,
            compact_revision: self.history.compacted(),
            header: Some(pb::ResponseHeader {
                revision: 0,
                ..self.header().unwrap_or_default()
            }),
            ..pb::WatchResponse::default()
        }
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
