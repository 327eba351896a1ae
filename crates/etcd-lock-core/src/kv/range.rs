//! Reads of keys.

use bytes::Bytes;

use super::{KeyValue, prefix_range};
use crate::{ResponseHeader, Revision};

/// Asks for keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RangeRequest {
    /// The first key.
    pub key: Bytes,
    /// The end of the range, not included; empty for the one key alone.
    pub range_end: Bytes,
    /// How many keys at most; 0 for all.
    pub limit: u32,
    /// Read the store as it was at this revision, or now.
    pub revision: Option<Revision>,
    /// By what the keys are ordered; by key, ascending, by default.
    pub sort: Option<(SortTarget, SortOrder)>,
    /// Leave out keys created after this revision.
    pub max_create_revision: Option<Revision>,
    /// Leave the values out.
    pub keys_only: bool,
    /// Leave all keys out and count them.
    pub count_only: bool,
    /// Lets the member that is asked answer from its own data, which may be stale. Not for a decision on who holds a lock.
    pub serializable: bool,
}

impl RangeRequest {
    /// Asks for one key.
    #[must_use]
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    /// Asks for all keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let (first, range_end) = prefix_range(prefix.into());
        Self {
            range_end,
            ..Self::key(first)
        }
    }

    /// Bounds how many keys are answered.
    #[must_use]
    pub const fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Reads the store as it was at a revision.
    #[must_use]
    pub const fn at_revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Orders the keys.
    #[must_use]
    pub const fn sorted_by(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.sort = Some((target, order));
        self
    }

    /// Leaves out keys created after a revision.
    #[must_use]
    pub const fn with_max_create_revision(mut self, revision: Revision) -> Self {
        self.max_create_revision = Some(revision);
        self
    }

    /// Leaves the values out.
    #[must_use]
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Leaves all keys out and counts them.
    #[must_use]
    pub const fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }

    /// Lets a member answer by itself, possibly with old data.
    #[must_use]
    pub const fn serializable(mut self) -> Self {
        self.serializable = true;
        self
    }
}

/// By what keys are ordered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "etcd has these five")]
pub enum SortTarget {
    /// The revision that created them: the order of a lock's queue.
    CreateRevision,
    /// Their bytes.
    Key,
    /// The revision that changed them last.
    ModRevision,
    /// Their values' bytes.
    Value,
    /// How often they were put.
    Version,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum SortOrder {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// Keys that were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RangeResponse {
    /// The member that answered, and its revision. Inside a transaction only its revision is set.
    pub header: ResponseHeader,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// How many keys are in the range, before the limit and before `max_create_revision`.
    pub count: u64,
}

impl RangeResponse {
    /// A reply, for transports.
    #[must_use]
    pub const fn new(header: ResponseHeader, kvs: Vec<KeyValue>, more: bool, count: u64) -> Self {
        Self {
            header,
            kvs,
            more,
            count,
        }
    }
}
