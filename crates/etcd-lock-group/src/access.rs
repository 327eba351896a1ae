//! Which keys a transaction reads and writes.
//!
//! Two uses are made of it: transactions whose keys overlap never share a request, and the outer transaction names all of them
//! in a branch that is never taken, so that etcd checks the permissions for them.

use etcd_lock_core::kv::{CompareTarget, DeleteRequest, Op, PutRequest, RangeRequest, TxnRequest};

use crate::interval::{End, Interval};

/// A transaction with more comparisons, or operations in a branch, than this is sent alone.
const MAX_OPS: usize = 4;
/// A transaction with more bytes of keys and values than this is sent alone.
const MAX_BYTES: usize = 8 * 1024;
/// A read for more keys than this is sent alone.
const MAX_KEYS: u32 = 8;

/// What a transaction that may share a request reads and writes, in all of its branches.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// All of the keys, as disjoint intervals in their order.
    pub(crate) keys: Vec<Interval>,
    /// Operations that need the permissions which the transaction needs: each write once more, without its value, and a read for
    /// each key that is read or compared. None is ever executed.
    pub(crate) permissions: Vec<Op>,
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
        let parts = Parts::of(txn)?;
        // The permissions of a put that asks for the previous value can't be told beside a deletion of its key.
        let mut puts = parts.writes.iter().filter(|put| put.is_put && put.prev_kv);
        let is_unclear = puts.any(|put| parts.includes(put));
        let only_reads = parts.writes.is_empty();
        let is_alone = only_reads || is_unclear || parts.bytes > MAX_BYTES;
        (!is_alone).then(|| Self {
            keys: parts.intervals(),
            permissions: parts.permissions(),
            bytes: parts.bytes,
            ops,
            values: parts.values,
        })
    }
}

/// The reads and writes of a transaction, one by one.
#[derive(Debug, Default)]
struct Parts {
    reads: Vec<Interval>,
    writes: Vec<Write>,
    bytes: usize,
    values: usize,
}

/// A put or a deletion, without the value.
#[derive(Debug, Eq, PartialEq)]
struct Write {
    keys: Interval,
    is_put: bool,
    prev_kv: bool,
}

impl Parts {
    fn of(txn: &TxnRequest) -> Option<Self> {
        let mut parts = Self::default();
        for compare in &txn.compare {
            parts.bytes += compare.key.len();
            parts.reads.push(Interval::single(&compare.key));
            if let CompareTarget::Value(value) = &compare.target {
                parts.bytes += value.len();
            }
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Put(put) => parts.put(put),
                Op::Delete(delete) => parts.delete(delete)?,
                Op::Range(range) => parts.range(range)?,
                _ => return None,
            }
        }
        Some(parts)
    }

    fn intervals(&self) -> Vec<Interval> {
        let mut all = self.reads.clone();
        all.extend(self.writes.iter().map(|write| write.keys.clone()));
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

    fn permissions(&self) -> Vec<Op> {
        let mut ops = Vec::with_capacity(self.writes.len() + self.reads.len());
        for (place, write) in self.writes.iter().enumerate() {
            // etcd refuses a branch that writes a key twice, which two branches of a transaction may do.
            let is_repeated = self.writes[..place].contains(write);
            if !is_repeated && !self.includes(write) {
                ops.push(write.permission());
            }
        }
        for (place, range) in self.reads.iter().enumerate() {
            if !covered(range, &self.reads, place) {
                ops.push(range.request(RangeRequest::key).into());
            }
        }
        ops
    }

    /// Whether another write needs all the permissions that a put needs.
    fn includes(&self, put: &Write) -> bool {
        let mut others = self.writes.iter().filter(|_| put.is_put);
        others.any(|other| {
            let needs_more = !other.is_put || (other.prev_kv && !put.prev_kv);
            needs_more && other.keys.contains(&put.keys.start)
        })
    }

    fn put(&mut self, put: &PutRequest) {
        self.bytes += put.key.len() + put.value.len();
        self.values += usize::from(put.prev_kv);
        self.writes.push(Write {
            keys: Interval::single(&put.key).written(),
            is_put: true,
            prev_kv: put.prev_kv,
        });
    }

    fn delete(&mut self, delete: &DeleteRequest) -> Option<()> {
        self.bytes += delete.key.len() + delete.range_end.len();
        let keys = Interval::new(&delete.key, &delete.range_end)?;
        if delete.prev_kv && keys.end != End::Single {
            return None;
        }
        self.values += usize::from(delete.prev_kv);
        self.writes.push(Write {
            keys: keys.written(),
            is_put: false,
            prev_kv: delete.prev_kv,
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
        self.reads.push(keys);
        Some(())
    }
}

impl Write {
    fn permission(&self) -> Op {
        if self.is_put {
            let mut put = PutRequest::new(self.keys.start.clone(), "");
            put.prev_kv = self.prev_kv;
            put.into()
        } else {
            let mut delete = self.keys.request(DeleteRequest::key);
            delete.prev_kv = self.prev_kv;
            delete.into()
        }
    }
}

/// Whether another of the ranges includes this one, or an equal one comes before it.
fn covered(range: &Interval, all: &[Interval], place: usize) -> bool {
    all.iter().enumerate().any(|(other_place, other)| {
        let is_first = other_place < place || !range.covers(other);
        other_place != place && is_first && other.covers(range)
    })
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::Revision;
    use etcd_lock_core::kv::Compare;

    use super::*;

    fn permissions(txn: &TxnRequest) -> Vec<Op> {
        Access::of(txn).unwrap().permissions
    }

    #[test]
    fn each_key_is_named_once() {
        let enter = TxnRequest::new()
            .when(Compare::create_revision("job/1f", Revision::ZERO))
            .and_then(PutRequest::new("job/1f", "value"))
            .and_then(RangeRequest::prefix("job/").with_limit(4))
            .or_else(RangeRequest::key("job/1f"));
        let mut prefix = RangeRequest::key("job/");
        prefix.range_end = "job0".into();
        assert_eq!(
            permissions(&enter),
            [PutRequest::new("job/1f", "").into(), prefix.into()]
        );
    }

    #[test]
    fn a_comparison_needs_a_read() {
        let leave = TxnRequest::new()
            .when(Compare::create_revision("job/1f", Revision::ZERO))
            .and_then(DeleteRequest::key("job/1f"));
        assert_eq!(
            permissions(&leave),
            [
                DeleteRequest::key("job/1f").into(),
                RangeRequest::key("job/1f").into()
            ]
        );
    }

    #[test]
    fn a_key_that_two_branches_write_is_written_once() {
        let txn = TxnRequest::new()
            .and_then(PutRequest::new("a", "then"))
            .and_then(PutRequest::new("b", "then"))
            .or_else(PutRequest::new("a", "else").with_prev_kv())
            .or_else(DeleteRequest::prefix("b"));
        assert_eq!(
            permissions(&txn),
            [
                PutRequest::new("a", "").with_prev_kv().into(),
                DeleteRequest::prefix("b").into()
            ]
        );
    }

    #[test]
    fn large_and_unbounded_transactions_go_alone() {
        let put = || TxnRequest::new().and_then(PutRequest::new("a", ""));
        assert!(Access::of(&put()).is_some());
        for alone in [
            TxnRequest::new().and_then(RangeRequest::key("a")),
            put().and_then(put()),
            put().and_then(RangeRequest::prefix("b")),
            put().and_then(RangeRequest::prefix("b").with_limit(1_000)),
            put().and_then(RangeRequest::key("b").count_only()),
            put().and_then(RangeRequest::key("b").serializable()),
            put().and_then(PutRequest::new("b", vec![0; 10_000])),
            put().and_then(DeleteRequest::prefix("b").with_prev_kv()),
            (0..9).fold(put(), |txn, key| {
                txn.and_then(PutRequest::new(key.to_string(), ""))
            }),
            put()
                .and_then(PutRequest::new("", ""))
                .and_then(DeleteRequest::key("")),
        ] {
            assert!(Access::of(&alone).is_none(), "{alone:?}");
        }
    }
}
