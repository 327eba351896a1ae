//! Ranges of keys.

use bytes::Bytes;
use etcd_lock_core::kv::{DeleteRequest, RangeRequest};

/// The keys from `start` to `end`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Interval {
    pub(crate) start: Bytes,
    pub(crate) end: End,
    /// Only read, and a single key: any number of transactions that share may read it.
    pub(crate) is_shared: bool,
}

/// The end of an interval.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum End {
    /// The start is the only key.
    Single,
    /// This key is the first one that is not included.
    Before(Bytes),
    /// No key is greater than the interval.
    Never,
}

impl Interval {
    /// A range as requests write it: no end for a single key, a NUL byte for all keys from the start on. `None` for one that is
    /// empty, which etcd refuses or which has no keys in it.
    pub(crate) fn new(start: &Bytes, range_end: &Bytes) -> Option<Self> {
        let end = match &range_end[..] {
            b"" => return (!start.is_empty()).then(|| Self::single(start)),
            b"\0" => End::Never,
            _ => End::Before(range_end.clone()),
        };
        let is_empty = start.is_empty() || (end != End::Never && range_end <= start);
        (!is_empty).then(|| Self {
            start: start.clone(),
            end,
            is_shared: false,
        })
    }

    /// The same keys, as one that belongs to one transaction alone.
    pub(crate) fn written(self) -> Self {
        Self {
            is_shared: false,
            ..self
        }
    }

    pub(crate) fn single(key: &Bytes) -> Self {
        Self {
            start: key.clone(),
            end: End::Single,
            is_shared: true,
        }
    }

    pub(crate) fn contains(&self, key: &Bytes) -> bool {
        match &self.end {
            End::Single => self.start == key,
            End::Before(end) => self.start <= *key && key < end,
            End::Never => self.start <= *key,
        }
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.contains(&other.start) || other.contains(&self.start)
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        let reaches = match (&self.end, &other.end) {
            (End::Single, end) => *end == End::Single,
            (_, End::Single) | (End::Never, _) => true,
            (End::Before(own), End::Before(end)) => own >= end,
            (End::Before(_), End::Never) => false,
        };
        reaches && self.contains(&other.start)
    }

    /// Extends over one that overlaps and does not start earlier.
    pub(crate) fn merge(&mut self, other: Self) {
        self.is_shared &= other.is_shared;
        let reaches_further = match (&self.end, &other.end) {
            (End::Single, end) => *end != End::Single,
            (End::Before(own), End::Before(end)) => end > own,
            (own, end) => *own != End::Never && *end == End::Never,
        };
        if reaches_further {
            self.end = other.end;
        }
    }

    /// A request of some kind for these keys.
    pub(crate) fn request<R: Ranged>(&self, single: impl FnOnce(Bytes) -> R) -> R {
        let request = single(self.start.clone());
        match &self.end {
            End::Single => request,
            End::Before(end) => request.up_to(end.clone()),
            End::Never => request.up_to(Bytes::from_static(b"\0")),
        }
    }
}

/// A request for one key that can be made one for a range.
pub(crate) trait Ranged {
    fn up_to(self, end: Bytes) -> Self;
}

impl Ranged for DeleteRequest {
    fn up_to(mut self, end: Bytes) -> Self {
        self.range_end = end;
        self
    }
}

impl Ranged for RangeRequest {
    fn up_to(mut self, end: Bytes) -> Self {
        self.range_end = end;
        self
    }
}
