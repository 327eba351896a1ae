//! The replies of watch streams, in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::Event;
use pb::watch_request::RequestUnion;

/// How many streams each sequence has.
pub(super) const STREAMS: usize = 2;

/// A key that no step names, and the id of the watch that each stream has on it.
pub(super) const BARRIER: Bytes = Bytes::from_static(b"~barrier");
const BARRIER_ID: i64 = 1_000;

/// The replies of one stream: those of each watch by themselves, since etcd visits the watches of a revision in no order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WatchLog {
    /// All replies without events, in order.
    notices: Vec<pb::WatchResponse>,
    events: BTreeMap<i64, Vec<Batch>>,
    /// The start of the watch that was last asked for.
    start: i64,
    /// The watches that did not start with what comes next.
    late: BTreeSet<i64>,
}

/// The events of one revision in one reply.
#[derive(Clone, Debug, PartialEq)]
struct Batch {
    /// None for a watch that catches up: etcd gathers what it has missed by the clock.
    header: Option<pb::ResponseHeader>,
    events: Vec<Event>,
}

impl WatchLog {
    /// Notes what the next replies are to.
    pub(super) fn asked(&mut self, request: &pb::WatchRequest) {
        if let Some(RequestUnion::CreateRequest(create)) = &request.request_union {
            self.start = create.start_revision;
        }
    }

    pub(super) fn add(&mut self, reply: pb::WatchResponse) {
        if reply.created {
            self.late.remove(&reply.watch_id);
            if self.start != 0 {
                self.late.insert(reply.watch_id);
            }
        }
        if reply.events.is_empty() {
            return self.notices.push(reply);
        }
        let is_late = self.late.contains(&reply.watch_id);
        let batches = self.events.entry(reply.watch_id).or_default();
        for events in reply.events.chunk_by(|a, b| revision(a) == revision(b)) {
            if is_late
                && let Some(last) = batches.last_mut()
                && last.events.last().map(revision) == events.first().map(revision)
            {
                // How it is cut into pieces depends on what else etcd has gathered.
                last.events.extend_from_slice(events);
                continue;
            }
            batches.push(Batch {
                header: reply.header.filter(|_| !is_late),
                events: events.to_vec(),
            });
        }
    }

    /// Whether this has said as much as the other, or more.
    pub(super) fn has_reached(&self, other: &Self) -> bool {
        let told = |log: &Self, id| log.events.get(id).map_or(0, Vec::len);
        self.notices.len() >= other.notices.len()
            && other
                .events
                .keys()
                .all(|id| told(self, id) >= told(other, id))
    }
}

/// The watch that each stream begins with: once it tells of the barrier, the stream has nothing more to tell.
pub(super) fn barrier_watch() -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: BARRIER,
        watch_id: BARRIER_ID,
        ..pb::WatchCreateRequest::default()
    };
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

fn revision(event: &Event) -> Option<i64> {
    event.kv.as_ref().map(|kv| kv.mod_revision)
}
