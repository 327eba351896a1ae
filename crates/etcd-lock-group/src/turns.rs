//! The transactions that wait for a slot.

use std::collections::{BTreeMap, VecDeque};

use etcd_lock_core::LockKey;
use etcd_lock_core::kv::{Op, TxnRequest};

/// Transactions in the order in which they are sent: sessions take turns, those of one session in order of arrival.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    sessions: BTreeMap<i64, VecDeque<T>>,
    order: VecDeque<i64>,
}

impl<T> Turns<T> {
    pub(crate) fn push(&mut self, session: i64, waiting: T) {
        let queue = self.sessions.entry(session).or_default();
        if queue.is_empty() {
            self.order.push_back(session);
        }
        queue.push_back(waiting);
    }

    /// Takes the next one, if it is as wanted.
    pub(crate) fn pop_if(&mut self, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let session = *self.order.front()?;
        let queue = self.sessions.get_mut(&session)?;
        if !queue.front().is_some_and(is_wanted) {
            return None;
        }
        let next = queue.pop_front();
        self.order.pop_front();
        if queue.is_empty() {
            self.sessions.remove(&session);
        } else {
            self.order.push_back(session);
        }
        next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }
}

/// The session that a transaction belongs to, by its lease: the one that it puts a key with, or the one in the name of the
/// entry that it compares. All other transactions count as one session.
pub(crate) fn session_of(txn: &TxnRequest) -> i64 {
    let put = txn.success.iter().find_map(|op| match op {
        Op::Put(put) => put.lease,
        _ => None,
    });
    let entry = || {
        let key = LockKey::new(txn.compare.first()?.key.clone()).ok()?;
        key.parts().map(|(_, lease)| lease)
    };
    put.or_else(entry).map_or(0, |lease| lease.get())
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::kv::{Compare, DeleteRequest, PutRequest};
    use etcd_lock_core::{LeaseId, Revision};

    use super::*;

    #[test]
    fn sessions_with_many_and_with_few_transactions_take_turns() {
        let mut turns = Turns::default();
        for (session, it) in [(7, "a"), (7, "b"), (7, "c"), (9, "x"), (8, "m")] {
            turns.push(session, it);
        }
        let order: Vec<_> = std::iter::from_fn(|| turns.pop_if(|_| true)).collect();
        assert_eq!(order, ["a", "x", "m", "b", "c"]);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_transaction_that_is_not_wanted_keeps_its_turn() {
        let mut turns = Turns::default();
        turns.push(7, "a");
        turns.push(8, "b");
        assert_eq!(turns.pop_if(|_| false), None);
        assert_eq!(turns.pop_if(|_| true), Some("a"));
    }

    #[test]
    fn entering_and_leaving_a_queue_belong_to_the_session_of_the_lease() {
        let lease = LeaseId::new(0x1f).unwrap();
        let enter = TxnRequest::new().and_then(PutRequest::new("job/1f", "").with_lease(lease));
        let leave = TxnRequest::new()
            .when(Compare::create_revision("job/1f", Revision::ZERO))
            .and_then(DeleteRequest::key("job/1f"));
        let other = TxnRequest::new().and_then(PutRequest::new("job/1f", ""));
        assert_eq!(session_of(&enter), 0x1f);
        assert_eq!(session_of(&leave), 0x1f);
        assert_eq!(session_of(&other), 0);
    }
}
