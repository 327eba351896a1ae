//! The streams that watches are on, the watches, and the replies that wait to be taken out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::{Event, KeyValue, event::EventType};
use prost::Message;

use super::faults::Faults;
use super::visits::Visits;
use crate::model::history::{Change, KeyRange};

/// How many replies may wait to be taken out of a stream.
const MAX_REPLIES: usize = 10_000;

/// How large a reply may be to a watch that takes pieces: etcd's largest request and half a mebibyte for all around it.
const MAX_PIECE: usize = 2 * 1024 * 1024;

/// A watch stream.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(u64);

/// All watch streams.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Watches {
    streams: BTreeMap<StreamId, Stream>,
    last_stream: u64,
    /// Watches of one key are found by it; only those of ranges are looked through for each change.
    of_key: HashMap<Bytes, BTreeSet<WatchRef>>,
    of_range: BTreeSet<WatchRef>,
    pub(in crate::model) dirty: BTreeSet<StreamId>,
    pub(super) visits: Visits,
}

pub(super) type WatchRef = (StreamId, i64);

#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub(super) opened: Duration,
    /// Boxed, since hardly any stream has some.
    pub(super) faults: Option<Box<Faults>>,
    /// In boxes, as are the replies: most streams have few, and maps and queues have room for several from the start.
    pub(super) watches: BTreeMap<i64, Box<Watch>>,
    /// Watches that came too late for their start: their ids stay taken until they are cancelled.
    ended: BTreeSet<i64>,
    replies: VecDeque<Box<pb::WatchResponse>>,
    next_id: i64,
}

impl Stream {
    fn has_id(&self, id: i64) -> bool {
        self.watches.contains_key(&id) || self.ended.contains(&id)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) range: KeyRange,
    pub(super) start: i64,
    /// The first revision that it may have to be told of when it has fallen behind. As in etcd, what happens to other keys
    /// doesn't move it.
    pub(super) next: i64,
    /// Whether it is told nothing until it is visited.
    pub(super) behind: bool,
    /// Whether it was told nothing since progress was last told of, where that was asked for.
    pub(super) silent: Option<bool>,
    pub(super) no_put: bool,
    pub(super) no_delete: bool,
    pub(super) prev_kv: bool,
    /// Whether a reply may come in pieces.
    pub(super) fragment: bool,
}

impl Watch {
    /// The event that a change is to this watch, if it is one.
    pub(super) fn event(&self, change: &Change) -> Option<Event> {
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
    pub(super) fn open(&mut self, now: Duration) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let stream = Stream {
            opened: now,
            ..Stream::default()
        };
        self.streams.insert(id, stream);
        id
    }

    pub(super) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    pub(super) fn stream_mut(&mut self, stream: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&stream)
    }

    pub(super) fn get_mut(&mut self, (stream, id): WatchRef) -> Option<&mut Watch> {
        let watch = self.streams.get_mut(&stream)?.watches.get_mut(&id)?;
        Some(watch)
    }

    pub(super) fn is_open(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        if let Some(closed) = self.streams.remove(&stream) {
            for (id, watch) in closed.watches {
                self.forget(&watch.range, (stream, id));
            }
        }
        self.dirty.remove(&stream);
        self.visits.forget(stream);
    }

    pub(in crate::model) fn close_all(&mut self) {
        let open: Vec<_> = self.streams.keys().copied().collect();
        for stream in open {
            self.close(stream);
        }
    }

    pub(super) fn next_reply(&mut self, stream: StreamId) -> Option<pb::WatchResponse> {
        let reply = self.streams.get_mut(&stream)?.replies.pop_front()?;
        Some(*reply)
    }

    pub(super) fn count(&self, stream: StreamId) -> usize {
        self.streams
            .get(&stream)
            .map_or(0, |stream| stream.watches.len())
    }

    /// Tells everybody of the changes of one revision, each stream's watches in one reply each.
    pub(in crate::model) fn tell(
        &mut self,
        changes: &[Change],
        header: Option<pb::ResponseHeader>,
    ) {
        let mut told: BTreeMap<WatchRef, Vec<Event>> = BTreeMap::new();
        for change in changes {
            let of_key = self.of_key.get(&change.key).into_iter().flatten();
            for &(stream, id) in of_key.chain(&self.of_range) {
                let watch = self
                    .streams
                    .get(&stream)
                    .and_then(|stream| stream.watches.get(&id));
                let watch = watch.filter(|watch| !watch.behind);
                if let Some(event) = watch.and_then(|watch| watch.event(change)) {
                    told.entry((stream, id)).or_default().push(event);
                }
            }
        }
        for (watch, events) in told {
            self.tell_one(watch, events, header);
        }
    }

    /// Tells one watch of events, if there are any: in pieces where they are many and the watch takes pieces.
    pub(super) fn tell_one(
        &mut self,
        (stream, watch_id): WatchRef,
        events: Vec<Event>,
        header: Option<pb::ResponseHeader>,
    ) {
        let (Some(last), Some(watch)) = (events.last(), self.get_mut((stream, watch_id))) else {
            return;
        };
        let revision = last.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        watch.next = watch.next.max(revision + 1);
        let events = self.delivered(stream, events);
        let Some(watch) = self
            .get_mut((stream, watch_id))
            .filter(|_| !events.is_empty())
        else {
            return;
        };
        watch.silent = watch.silent.map(|_| false);
        let in_pieces = watch.fragment;
        let whole = pb::WatchResponse {
            header,
            watch_id,
            events,
            ..pb::WatchResponse::default()
        };
        let replies = if in_pieces {
            pieces(whole)
        } else {
            vec![whole]
        };
        for reply in replies {
            self.push(stream, reply);
        }
    }

    pub(super) fn push(&mut self, stream: StreamId, reply: pb::WatchResponse) {
        if self.waiting(stream) >= MAX_REPLIES {
            self.overrun(stream, &reply);
        }
        if let Some(to) = self.streams.get_mut(&stream) {
            to.replies.push_back(Box::new(reply));
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
        slow.replies = slow.watches.keys().map(cancelled).map(Box::new).collect();
        for (id, watch) in std::mem::take(&mut slow.watches) {
            self.forget(&watch.range, (stream, id));
        }
    }

    /// The id asked for, or the next that is free for 0; `None` where it is taken.
    pub(super) fn pick_id(&mut self, stream: StreamId, asked: i64) -> Option<i64> {
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

    pub(super) fn keep_id(&mut self, stream: StreamId, id: i64) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.ended.insert(id);
        }
    }

    pub(super) fn add(&mut self, stream: StreamId, id: i64, watch: Watch, now: Duration) {
        if watch.silent.is_some() {
            let opened = self.stream(stream).map_or(now, |stream| stream.opened);
            self.visits.report(stream, opened, now);
        }
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
            stream.watches.insert(id, Box::new(watch));
        }
    }

    pub(super) fn remove(&mut self, stream: StreamId, id: i64) -> bool {
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

/// As many events in each as fit, but one at least (`sendFragments` in etcd's `watch.go`).
fn pieces(mut whole: pb::WatchResponse) -> Vec<pb::WatchResponse> {
    if whole.encoded_len() < MAX_PIECE {
        return vec![whole];
    }
    let empty = pb::WatchResponse {
        events: Vec::new(),
        fragment: true,
        ..whole.clone()
    };
    let mut pieces = vec![empty.clone()];
    for event in std::mem::take(&mut whole.events) {
        if let Some(last) = pieces.last_mut() {
            last.events.push(event);
            if last.events.len() > 1 && last.encoded_len() >= MAX_PIECE {
                let events = last.events.split_off(last.events.len() - 1);
                pieces.push(pb::WatchResponse {
                    events,
                    ..empty.clone()
                });
            }
        }
    }
    if let Some(last) = pieces.last_mut() {
        last.fragment = false;
    }
    pieces
}
