//! The calls of `Lock` that wait, and the answers of those that did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use etcd_lock_proto::v3lockpb;

use crate::Status;

/// A call of `Lock` that waits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LockCall(u64);

/// All calls that wait.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Locks {
    // Only looked up, never gone through: there the order of a map by hash doesn't show.
    waiting: HashMap<LockCall, Waiting>,
    by_ahead: HashMap<Bytes, BTreeSet<LockCall>>,
    pub(in crate::model) done: BTreeMap<LockCall, Result<v3lockpb::LockResponse, Status>>,
    last_call: u64,
}

/// An entry of a queue.
#[derive(Clone, Debug)]
pub(in crate::model) struct Entry {
    pub(super) prefix: Bytes,
    pub(super) key: Bytes,
    pub(super) created: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    pub(super) ahead: Bytes,
}

impl Locks {
    /// Forgets all calls. Their numbers are not used again.
    pub(in crate::model) fn clear(&mut self) {
        *self = Self {
            last_call: self.last_call,
            ..Self::default()
        };
    }

    pub(super) fn wait(&mut self, entry: Entry, ahead: Bytes) -> LockCall {
        self.last_call += 1;
        let call = LockCall(self.last_call);
        self.put_back(call, Waiting { entry, ahead });
        call
    }

    pub(super) fn put_back(&mut self, call: LockCall, waiting: Waiting) {
        self.by_ahead
            .entry(waiting.ahead.clone())
            .or_default()
            .insert(call);
        self.waiting.insert(call, waiting);
    }

    pub(super) fn remove(&mut self, call: LockCall) -> Option<Waiting> {
        let waiting = self.waiting.remove(&call)?;
        unlist(&mut self.by_ahead, &waiting.ahead, call);
        Some(waiting)
    }

    pub(super) fn waiting_for(&self, key: &Bytes) -> Vec<LockCall> {
        self.by_ahead
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

fn unlist(lists: &mut HashMap<Bytes, BTreeSet<LockCall>>, key: &Bytes, call: LockCall) {
    if let Some(calls) = lists.get_mut(key) {
        calls.remove(&call);
        if calls.is_empty() {
            lists.remove(key);
        }
    }
}
