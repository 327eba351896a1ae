//! Which keys a transaction reads and writes.
//!
//! Two uses are made of it: transactions whose keys overlap never share a request, and the outer transaction names all of them
//! in a branch that is never taken, so that etcd checks the permissions for them.

use bytes::Bytes;
use etcd_lock_core::kv::{CompareTarget, DeleteRequest, Op, PutRequest, RangeRequest, TxnRequest};

/// A transaction with more comparisons, or operations in a branch, than this is sent alone.
const MAX_OPS: usize = 4;
/// A transaction with more bytes of keys and values than this is sent alone.
const MAX_BYTES: usize = 8 * 1024;
/// A read for more keys than this is sent alone.
const MAX_KEYS: u32 = 8;

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

/// What a transaction that may share a request reads and writes, in all of its branches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    reads: Vec<Interval>,
    puts: Vec<Bytes>,
    deletes: Vec<Interval>,
    /// The size of its keys and values.
    pub(crate) bytes: usize,
    /// The greatest number of its comparisons, or of its operations in a branch.
    pub(crate) ops: usize,
    /// How many values its reply may carry.
    pub(crate) values: usize,
}

impl Access {
    /// The accesses of a transaction, or `None` where it is to be sent alone.
    pub(crate) fn of(txn: &TxnRequest) -> Option<Self> {
        let lists = [txn.compare.len(), txn.success.len(), txn.failure.len()];
        let ops = lists.into_iter().max().unwrap_or(0);
        if ops > MAX_OPS {
            return None;
        }
        let mut access = Self {
            ops,
            ..Self::default()
        };
        for compare in &txn.compare {
            access.bytes += compare.key.len();
            access.read(Interval::single(&compare.key));
            if let CompareTarget::Value(value) = &compare.target {
                access.bytes += value.len();
            }
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Put(put) => access.put(put),
                Op::Delete(delete) => access.delete(delete)?,
                Op::Range(range) => access.range(range)?,
                _ => return None,
            }
        }
        let writes = !access.puts.is_empty() || !access.deletes.is_empty();
        (writes && access.bytes <= MAX_BYTES).then_some(access)
    }

    /// The intervals, disjoint and in order.
    pub(crate) fn intervals(&self) -> Vec<Interval> {
        let puts = self.puts.iter().map(|key| Interval {
            is_shared: false,
            ..Interval::single(key)
        });
        let mut all: Vec<_> = self.reads.iter().chain(&self.deletes).cloned().collect();
        all.extend(puts);
        all.sort_by(|a, b| (&a.start, &a.end).cmp(&(&b.start, &b.end)));
        let mut merged: Vec<Interval> = Vec::with_capacity(all.len());
        for next in all {
            match merged.last_mut() {
                Some(last) if last.overlaps(&next) => last.merge(next),
                _ => merged.push(next),
            }
        }
        merged
    }

    /// Operations that need the permissions which the transaction needs: each key that is put, each range that is deleted, each
    /// one that is read or compared. None is ever executed.
    pub(crate) fn permissions(&self) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for (place, range) in self.deletes.iter().enumerate() {
            if !covered(range, &self.deletes, place) {
                ops.push(range.request(DeleteRequest::key).into());
            }
        }
        for (place, key) in self.puts.iter().enumerate() {
            // etcd refuses a branch that writes a key twice. To delete a range needs the permission to write all of its keys.
            let is_deleted = self.deletes.iter().any(|range| range.contains(key));
            if !is_deleted && !self.puts[..place].contains(key) {
                ops.push(PutRequest::new(key.clone(), "").into());
            }
        }
        for (place, range) in self.reads.iter().enumerate() {
            if !covered(range, &self.reads, place) {
                ops.push(range.request(RangeRequest::key).into());
            }
        }
        ops
    }

    fn put(&mut self, put: &PutRequest) {
        self.bytes += put.key.len() + put.value.len();
        self.puts.push(put.key.clone());
        if put.prev_kv {
            self.values += 1;
            self.read(Interval::single(&put.key));
        }
    }

    fn delete(&mut self, delete: &DeleteRequest) -> Option<()> {
        self.bytes += delete.key.len() + delete.range_end.len();
        let range = Interval::new(&delete.key, &delete.range_end)?;
        if delete.prev_kv {
            if range.end != End::Single {
                return None;
            }
            self.values += 1;
            self.read(range.clone());
        }
        self.deletes.push(Interval {
            is_shared: false,
            ..range
        });
        Some(())
    }

    fn range(&mut self, range: &RangeRequest) -> Option<()> {
        self.bytes += range.key.len() + range.range_end.len();
        let keys = Interval::new(&range.key, &range.range_end)?;
        let limit = match keys.end {
            End::Single => 1,
            _ if (1..=MAX_KEYS).contains(&range.limit) => range.limit,
            _ => return None,
        };
        if range.count_only || range.revision.is_some() || range.serializable {
            return None;
        }
        if !range.keys_only {
            self.values += limit as usize;
        }
        self.read(keys);
        Some(())
    }

    fn read(&mut self, keys: Interval) {
        self.reads.push(keys);
    }
}

impl Interval {
    /// A range as requests write it: no end for a single key, a NUL byte for all keys from the start on. `None` for one that is
    /// empty, which etcd refuses or which has no keys in it.
    fn new(start: &Bytes, range_end: &Bytes) -> Option<Self> {
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

    fn single(key: &Bytes) -> Self {
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

    fn covers(&self, other: &Self) -> bool {
        let reaches = match (&self.end, &other.end) {
            (End::Single, end) => *end == End::Single,
            (_, End::Single) | (End::Never, _) => true,
            (End::Before(own), End::Before(end)) => own >= end,
            (End::Before(_), End::Never) => false,
        };
        reaches && self.contains(&other.start)
    }

    /// Extends over one that overlaps and does not start earlier.
    fn merge(&mut self, other: Self) {
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
    fn request<R: Ranged>(&self, single: impl FnOnce(Bytes) -> R) -> R {
        let request = single(self.start.clone());
        match &self.end {
            End::Single => request,
            End::Before(end) => request.up_to(end.clone()),
            End::Never => request.up_to(Bytes::from_static(b"\0")),
        }
    }
}

/// A request for one key that can be made one for a range.
trait Ranged {
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

/// Whether another of the ranges includes this one, or an equal one comes before it.
fn covered(range: &Interval, all: &[Interval], place: usize) -> bool {
    all.iter().enumerate().any(|(other_place, other)| {
        let is_first = other_place < place || !range.covers(other);
        other_place != place && is_first && other.covers(range)
    })
}
