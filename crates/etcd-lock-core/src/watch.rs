//! Watches: many on one stream, told apart by their id.

use bytes::Bytes;

use crate::kv::KeyValue;
use crate::{ResponseHeader, Revision};

/// A message of a client on a watch stream.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WatchRequest {
    /// Start a watch.
    Create(WatchCreate),
    /// End the watch with this id.
    Cancel(i64),
    /// Ask for a reply without events once every watch of the stream is up to date.
    Progress,
}

/// Which keys to watch, and from when.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WatchCreate {
    /// The id that replies will carry. Ids are the caller's to choose, each once a stream.
    pub id: i64,
    /// The first key.
    pub key: Bytes,
    /// The end of the range, not included; empty for the one key alone.
    pub range_end: Bytes,
    /// The first revision whose events are wanted, or `None` for those after the watch was created. Only the
    /// latter keeps a watch on etcd's fast path: one that starts in the past is visited every 100 ms.
    pub start_revision: Option<Revision>,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletes.
    pub no_delete: bool,
    /// Send along what a key was before the event.
    pub prev_kv: bool,
}

impl WatchCreate {
    /// Watches one key from now on.
    #[must_use]
    pub fn key(id: i64, key: impl Into<Bytes>) -> Self {
        Self {
            id,
            key: key.into(),
            range_end: Bytes::new(),
            start_revision: None,
            no_put: false,
            no_delete: false,
            prev_kv: false,
        }
    }

    /// Watches all keys that begin with `prefix` from now on.
    #[must_use]
    pub fn prefix(id: i64, prefix: impl Into<Bytes>) -> Self {
        let (first, range_end) = crate::kv::prefix_range(prefix.into());
        Self {
            range_end,
            ..Self::key(id, first)
        }
    }

    /// Starts at this revision instead.
    #[must_use]
    pub const fn from_revision(mut self, revision: Revision) -> Self {
        self.start_revision = Some(revision);
        self
    }

    /// Leaves out puts.
    #[must_use]
    pub const fn without_puts(mut self) -> Self {
        self.no_put = true;
        self
    }

    /// Leaves out deletes.
    #[must_use]
    pub const fn without_deletes(mut self) -> Self {
        self.no_delete = true;
        self
    }

    /// Asks for what each key was before.
    #[must_use]
    pub const fn with_prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// A message of a server on a watch stream.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WatchResponse {
    /// The member that answered. The revision is zero on some cancellations.
    pub header: ResponseHeader,
    /// Which watch it is about; negative where it is about none or all of them.
    pub id: i64,
    /// The news.
    pub body: WatchBody,
}

impl WatchResponse {
    /// A reply.
    #[must_use]
    pub const fn new(header: ResponseHeader, id: i64, body: WatchBody) -> Self {
        Self { header, id, body }
    }
}

/// The three things that a watch stream tells.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WatchBody {
    /// The watch is on: events after the header's revision will follow, unless it started earlier.
    Created,
    /// The watch has ended and will send nothing more.
    Canceled {
        /// The server's words, empty after a cancel by the client.
        reason: String,
        /// Where a watch asked for revisions that are compacted: the first that can still be had.
        compact_revision: Option<Revision>,
    },
    /// Events, those of one revision together and in order. None at all is a sign of progress: nothing happened up
    /// to the header's revision.
    Events(Vec<Event>),
}

/// One change of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Put or deleted.
    pub kind: EventKind,
    /// The key as it is now. Of a deleted key only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The key as it was before, where that was asked for and is not compacted.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// An event.
    #[must_use]
    pub const fn new(kind: EventKind, kv: KeyValue, prev_kv: Option<KeyValue>) -> Self {
        Self { kind, kv, prev_kv }
    }
}

/// The change of a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "etcd has had these two since its first release"
)]
pub enum EventKind {
    /// The key was deleted, or its lease ended.
    Delete,
    /// The key was created or changed.
    Put,
}
