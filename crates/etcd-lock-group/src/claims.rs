//! The keys of the transactions that wait or are on their way together: no two of them overlap.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::interval::{End, Interval};

/// Disjoint intervals by their start. Single keys that are only read may be claimed more than once.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<Bytes, Claim>);

#[derive(Debug)]
struct Claim {
    end: End,
    /// How many transactions read the single key; 0 where the interval belongs to one alone.
    readers: usize,
}

impl Claims {
    /// Claims all of these intervals, which are disjoint, or none where one overlaps with a claim.
    pub(crate) fn claim(&mut self, intervals: &[Interval]) -> bool {
        if intervals.iter().any(|interval| self.conflicts(interval)) {
            return false;
        }
        for interval in intervals {
            let claim = self.0.entry(interval.start.clone()).or_insert(Claim {
                end: interval.end.clone(),
                readers: 0,
            });
            claim.readers += usize::from(interval.is_shared);
        }
        true
    }

    /// Ends claims that were made.
    pub(crate) fn release(&mut self, intervals: &[Interval]) {
        for interval in intervals {
            if let Some(claim) = self.0.get_mut(&interval.start) {
                claim.readers = claim.readers.saturating_sub(1);
                if claim.readers == 0 {
                    self.0.remove(&interval.start);
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Claims are disjoint, so that only two can overlap with the start or the inside of an interval first: the last one that
    /// starts no later, and the first one that starts later.
    fn conflicts(&self, interval: &Interval) -> bool {
        let start = &interval.start;
        let before = self.0.range::<Bytes, _>(..=start).next_back();
        let after = (Bound::Excluded(start), Bound::Unbounded);
        let after = self.0.range::<Bytes, _>(after).next();
        before.into_iter().chain(after).any(|(start, claim)| {
            let claimed = Interval {
                start: start.clone(),
                end: claim.end.clone(),
                is_shared: claim.readers > 0,
            };
            let both_read = claimed.is_shared && interval.is_shared;
            claimed.overlaps(interval) && !both_read
        })
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::Revision;
    use etcd_lock_core::kv::{Compare, DeleteRequest, PutRequest, RangeRequest, TxnRequest};
    use proptest::prelude::*;

    use super::*;
    use crate::access::Access;

    fn intervals(txn: &TxnRequest) -> Vec<Interval> {
        Access::of(txn).unwrap().keys
    }

    fn put(key: &'static str) -> TxnRequest {
        TxnRequest::new().and_then(PutRequest::new(key, ""))
    }

    #[test]
    fn a_key_that_is_written_is_claimed_once() {
        let mut claims = Claims::default();
        assert!(claims.claim(&intervals(&put("a"))));
        assert!(!claims.claim(&intervals(&put("a"))));
        claims.release(&intervals(&put("a")));
        assert!(claims.claim(&intervals(&put("a"))));
    }

    #[test]
    fn a_read_of_a_written_key_conflicts() {
        let mut claims = Claims::default();
        assert!(claims.claim(&intervals(&put("job/1"))));
        let reads = |range: RangeRequest| put("other").and_then(range.with_limit(4));
        assert!(!claims.claim(&intervals(&reads(RangeRequest::prefix("job/")))));
        assert!(claims.claim(&intervals(&reads(RangeRequest::prefix("job/2")))));
    }

    #[test]
    fn a_key_that_is_only_compared_is_shared() {
        let compares = |key: &'static str| {
            let is_there = Compare::create_revision("config", Revision::ZERO);
            put(key).when(is_there)
        };
        let mut claims = Claims::default();
        assert!(claims.claim(&intervals(&compares("a"))));
        assert!(claims.claim(&intervals(&compares("b"))));
        assert!(!claims.claim(&intervals(&put("config"))));
        claims.release(&intervals(&compares("a")));
        assert!(!claims.claim(&intervals(&put("config"))));
        claims.release(&intervals(&compares("b")));
        assert!(claims.is_empty());
    }

    fn txns() -> impl Strategy<Value = TxnRequest> {
        let key = || "[a-d]{1,2}";
        let put = key().prop_map(|key| TxnRequest::new().and_then(PutRequest::new(key, "")));
        let delete = key().prop_map(|key| TxnRequest::new().and_then(DeleteRequest::prefix(key)));
        let reads = (key(), key()).prop_map(|(written, read)| {
            TxnRequest::new()
                .when(Compare::create_revision(read.clone(), Revision::ZERO))
                .and_then(PutRequest::new(written, ""))
                .or_else(RangeRequest::prefix(read).with_limit(1))
        });
        let compares = (key(), key()).prop_map(|(written, read)| {
            TxnRequest::new()
                .when(Compare::create_revision(read, Revision::ZERO))
                .and_then(PutRequest::new(written, ""))
        });
        prop_oneof![put, delete, reads, compares]
    }

    proptest! {
        /// Against the definition: a transaction conflicts with a set of others where one of its intervals overlaps with one of
        /// theirs, unless both only read a single key.
        #[test]
        fn claims_conflict_where_intervals_overlap(txns in prop::collection::vec(txns(), 1..12)) {
            let mut claims = Claims::default();
            let mut taken: Vec<Vec<Interval>> = Vec::new();
            for txn in txns {
                let wanted = intervals(&txn);
                let overlaps = taken.iter().flatten().any(|claimed| {
                    wanted.iter().any(|interval| {
                        interval.overlaps(claimed) && !(interval.is_shared && claimed.is_shared)
                    })
                });
                prop_assert_eq!(claims.claim(&wanted), !overlaps);
                if !overlaps {
                    taken.push(wanted);
                }
            }
            for intervals in taken {
                claims.release(&intervals);
            }
            prop_assert!(claims.is_empty());
        }
    }
}
