//! Watches: etcd's `Watch` service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::{Event, KeyValue, event::EventType};
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::Model;
use super::history::{Change, KeyRange};

/// How many replies may wait to be taken out of a stream.
const MAX_REPLIES: usize = 10_000;

/// A watch stream.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(u64);

impl Model {
    /// Opens a watch stream.
    pub fn open_watch_stream(&mut self) -> StreamId {
        self.watches.last_stream += 1;
        let id = StreamId(self.watches.last_stream);
        self.watches.streams.insert(id, Stream::default());
        id
    }

    /// Closes a watch stream, with all its watches.
    pub fn close_watch_stream(&mut self, stream: StreamId) {
        if let Some(closed) = self.watches.streams.remove(&stream) {
            for (id, watch) in closed.watches {
                self.watches.forget(&watch.range, (stream, id));
            }
        }
        self.watches.dirty.remove(&stream);
    }

    /// Takes a request on a watch stream. A stream that isn't open takes none.
    pub fn watch(&mut self, stream: StreamId, request: pb::WatchRequest) {
        if !self.watches.streams.contains_key(&stream) {
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
        self.watches.streams.get_mut(&stream)?.replies.pop_front()
    }

    /// How many watches a stream has.
    #[must_use]
    pub fn watch_count(&self, stream: StreamId) -> usize {
        self.watches
            .streams
            .get(&stream)
            .map_or(0, |stream| stream.watches.len())
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
        if start < 0 || (start > 0 && start < self.history.compacted()) {
            let compacted = pb::WatchResponse {
                watch_id,
                canceled: true,
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
        if !events.is_empty() {
            let reply = pb::WatchResponse {
                watch_id,
                events,
                ..self.watch_reply()
            };
            self.watches.push(stream, reply);
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

/// All watch streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    streams: BTreeMap<StreamId, Stream>,
    last_stream: u64,
    /// Watches of one key are found by it; only those of ranges are looked through for each change.
    of_key: BTreeMap<Bytes, BTreeSet<WatchRef>>,
    of_range: BTreeSet<WatchRef>,
    pub(super) dirty: BTreeSet<StreamId>,
}

type WatchRef = (StreamId, i64);

#[derive(Clone, Debug, Default)]
struct Stream {
    watches: BTreeMap<i64, Watch>,
    /// Watches that came too late for their start: their ids stay taken until they are cancelled.
    ended: BTreeSet<i64>,
    replies: VecDeque<pb::WatchResponse>,
    next_id: i64,
}

impl Stream {
    fn has_id(&self, id: i64) -> bool {
        self.watches.contains_key(&id) || self.ended.contains(&id)
    }
}

#[derive(Clone, Debug)]
struct Watch {
    range: KeyRange,
    start: i64,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
}

impl Watch {
    fn event(&self, change: &Change) -> Option<Event> {
        let wanted = match &change.now {
            Some(_) => !self.no_put,
            None => !self.no_delete,
        };
        if !wanted || change.revision < self.start || !self.range.contains(&change.key) {
            return None;
        }
        // Of a deleted key only its name and the revision are told.
        let gone = || KeyValue {
            key: change.key.clone(),
            mod_revision: change.revision,
            ..KeyValue::default()
        };
        let r#type = if change.now.is_some() {
            EventType::Put
        } else {
            EventType::Delete
        };
        Some(Event {
            r#type: r#type.into(),
            kv: Some(change.now.clone().unwrap_or_else(gone)),
            prev_kv: change.before.clone().filter(|_| self.prev_kv),
        })
    }
}

impl Watches {
    /// Tells everybody of the changes of one revision, each stream's watches in one reply each.
    pub(super) fn tell(&mut self, changes: &[Change], header: Option<pb::ResponseHeader>) {
        let mut told: BTreeMap<WatchRef, Vec<Event>> = BTreeMap::new();
        for change in changes {
            let of_key = self.of_key.get(&change.key).into_iter().flatten();
            for &(stream, id) in of_key.chain(&self.of_range) {
                let watch = self
                    .streams
                    .get(&stream)
                    .and_then(|stream| stream.watches.get(&id));
                if let Some(event) = watch.and_then(|watch| watch.event(change)) {
                    told.entry((stream, id)).or_default().push(event);
                }
            }
        }
        for ((stream, watch_id), events) in told {
            self.push(
                stream,
                pb::WatchResponse {
                    header,
                    watch_id,
                    events,
                    ..Default::default()
                },
            );
        }
    }

    fn push(&mut self, stream: StreamId, reply: pb::WatchResponse) {
        if self.waiting(stream) >= MAX_REPLIES {
            self.overrun(stream, &reply);
        }
        if let Some(to) = self.streams.get_mut(&stream) {
            to.replies.push_back(reply);
            self.dirty.insert(stream);
        }
    }

    fn waiting(&self, stream: StreamId) -> usize {
        self.streams
            .get(&stream)
            .map_or(0, |stream| stream.replies.len())
    }

    /// Cancels all watches of a stream that nobody reads, in place of what waits there.
    fn overrun(&mut self, stream: StreamId, reply: &pb::WatchResponse) {
        let Some(slow) = self.streams.get_mut(&stream) else {
            return;
        };
        let cancelled = |&watch_id: &i64| pb::WatchResponse {
            header: reply.header,
            watch_id,
            canceled: true,
            cancel_reason: "etcd-lock: the watch stream is read too slowly".to_owned(),
            ..pb::WatchResponse::default()
        };
        slow.replies = slow.watches.keys().map(cancelled).collect();
        for (id, watch) in std::mem::take(&mut slow.watches) {
            self.forget(&watch.range, (stream, id));
        }
    }

    /// The id asked for, or the next that is free for 0; `None` where it is taken.
    fn pick_id(&mut self, stream: StreamId, asked: i64) -> Option<i64> {
        let stream = self.streams.get_mut(&stream)?;
        if asked != 0 {
            return (!stream.has_id(asked)).then_some(asked);
        }
        while stream.has_id(stream.next_id) {
            stream.next_id += 1;
        }
        stream.next_id += 1;
        Some(stream.next_id - 1)
    }

    fn keep_id(&mut self, stream: StreamId, id: i64) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.ended.insert(id);
        }
    }

    fn add(&mut self, stream: StreamId, id: i64, watch: Watch) {
        match &watch.range {
            KeyRange::One(key) => {
                self.of_key
                    .entry(key.clone())
                    .or_default()
                    .insert((stream, id));
            }
            _ => {
                self.of_range.insert((stream, id));
            }
        }
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.watches.insert(id, watch);
        }
    }

    fn remove(&mut self, stream: StreamId, id: i64) -> bool {
        let Some(its) = self.streams.get_mut(&stream) else {
            return false;
        };
        let Some(watch) = its.watches.remove(&id) else {
            return its.ended.remove(&id);
        };
        self.forget(&watch.range, (stream, id));
        true
    }

    fn forget(&mut self, range: &KeyRange, watch: WatchRef) {
        let KeyRange::One(key) = range else {
            self.of_range.remove(&watch);
            return;
        };
        if let Some(watches) = self.of_key.get_mut(key) {
            watches.remove(&watch);
            if watches.is_empty() {
                self.of_key.remove(key);
            }
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
