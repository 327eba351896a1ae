//! How watches fail: as those of real etcds do, and only where that is asked for.

use bytes::Bytes;
use etcd_lock_proto::mvccpb::Event;

use super::streams::{StreamId, Watches};
use crate::model::{Model, Version};

/// Why the watches of a stream are refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WatchRefusal {
    /// The login that the stream was opened with has ended.
    LoginEnded,
    /// The user may not read these keys.
    PermissionDenied,
}

impl WatchRefusal {
    /// etcd's reason (`api/v3rpc/watch.go`); older versions have one for both.
    pub(super) const fn reason(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::LoginEnded, Version::V3_6) => {
                "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
            }
            _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        }
    }
}

/// The faults of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    starts_behind: bool,
    refusal: Option<WatchRefusal>,
    dropped: Option<Bytes>,
    lost: Vec<Event>,
}

/// Faults of watches.
impl Model {
    /// Has the watches of a stream fall behind, as those of a stream that is read slowly do: they are told nothing until
    /// etcd's next visit, which is at the next multiple of 100 ms, and then of all that they missed.
    pub fn delay_watches(&mut self, stream: StreamId) {
        let next = self.history.revision() + 1;
        self.each_watch(stream, |watches, watch| {
            if let Some(watch) = watches.get_mut(watch) {
                watch.next = watch.next.max(next);
            }
        });
        self.restart_watches(stream);
    }

    /// Has the watches of a stream fall behind as they do when their member has caught up by a snapshot
    /// (`watchableStore.Restore`): each goes on from the last revision that it was told of, or from its creation. Where that
    /// is compacted, the watch is cancelled with the compacted revision at the next visit.
    pub fn restart_watches(&mut self, stream: StreamId) {
        let now = self.now;
        self.each_watch(stream, |watches, watch| watches.fall_behind(watch, now));
    }

    /// Decides whether watches that are created on a stream from now on start behind, as those do that a write overtakes.
    pub fn delay_new_watches(&mut self, stream: StreamId, delay: bool) {
        self.with_faults(stream, |faults| faults.starts_behind = delay);
    }

    /// Decides whether watches are refused that are created on a stream from now on. etcd looks at permissions and logins
    /// only then: watches that are on stay on.
    pub fn refuse_watches(&mut self, stream: StreamId, refusal: Option<WatchRefusal>) {
        self.with_faults(stream, |faults| faults.refusal = refusal);
    }

    /// Loses the events of keys that begin with `prefix` from now on, on one stream; `None` loses none. etcds before 3.4.31
    /// and 3.5.13 are known for this.
    pub fn drop_events(&mut self, stream: StreamId, prefix: Option<Bytes>) {
        self.with_faults(stream, |faults| faults.dropped = prefix);
    }

    /// Takes out the events that were lost on a stream.
    pub fn take_dropped_events(&mut self, stream: StreamId) -> Vec<Event> {
        let mut lost = Vec::new();
        self.with_faults(stream, |faults| lost = std::mem::take(&mut faults.lost));
        lost
    }

    fn with_faults(&mut self, stream: StreamId, change: impl FnOnce(&mut Faults)) {
        if let Some(stream) = self.watches.stream_mut(stream) {
            change(stream.faults.get_or_insert_default());
        }
    }

    fn each_watch(&mut self, stream: StreamId, mut act: impl FnMut(&mut Watches, (StreamId, i64))) {
        let ids = self.watches.stream(stream).map(|stream| {
            let ids = stream.watches.keys().copied();
            ids.collect::<Vec<_>>()
        });
        for id in ids.unwrap_or_default() {
            act(&mut self.watches, (stream, id));
        }
    }
}

impl Watches {
    pub(super) fn starts_behind(&self, stream: StreamId) -> bool {
        self.faults(stream)
            .is_some_and(|faults| faults.starts_behind)
    }

    pub(super) fn refusal(&self, stream: StreamId) -> Option<WatchRefusal> {
        self.faults(stream)?.refusal
    }

    /// The events that are not lost.
    pub(super) fn delivered(&mut self, stream: StreamId, events: Vec<Event>) -> Vec<Event> {
        let faults = self
            .stream_mut(stream)
            .and_then(|stream| stream.faults.as_mut());
        let Some(faults) = faults.filter(|faults| faults.dropped.is_some()) else {
            return events;
        };
        let is_lost = |event: &Event| {
            let key = event.kv.as_ref().map(|kv| &kv.key);
            let prefix = faults.dropped.as_ref();
            key.zip(prefix)
                .is_some_and(|(key, prefix)| key.starts_with(prefix))
        };
        let (lost, delivered) = events.into_iter().partition(is_lost);
        faults.lost.extend::<Vec<_>>(lost);
        delivered
    }

    fn faults(&self, stream: StreamId) -> Option<&Faults> {
        self.stream(stream)?.faults.as_deref()
    }
}
