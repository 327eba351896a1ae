//! Which keys are watched: the two nearest predecessors of an entry that waits, and an entry itself once it has existed for a
//! while.
//!
//! The second of them tells when to read the queue: it is deleted as a rule when its hold ends, and the first is granted the
//! lock. What the read shows is known by the time that the first is deleted, and no read stands between that deletion and
//! the grant.

use std::collections::BTreeMap;

use etcd_lock_core::{LeaseId, LockKey};

use crate::io::Output;
use crate::knowledge::EntryId;
use crate::machine::LockQueue;

/// The keys that are watched.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Watches {
    /// For how many reasons each key is watched: one entry may wait behind an earlier one of its own key.
    keys: BTreeMap<LockKey, u8>,
    /// For each session: its own key, and those of the two entries before it.
    of: BTreeMap<LeaseId, Wanted>,
}

/// The keys that one session needs to be watched.
type Wanted = [Option<LockKey>; 3];

const NONE: Wanted = [const { None }; 3];

impl Watches {
    pub(crate) const fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            of: BTreeMap::new(),
        }
    }

    pub(crate) fn has(&self, key: &LockKey) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether a session has a key watched.
    fn is_of(&self, session: LeaseId, key: &LockKey) -> bool {
        let keys = self.of.get(&session);
        keys.is_some_and(|keys| keys.iter().flatten().any(|other| other == key))
    }

    /// Begins and ends watches, so that a session has those that it needs.
    fn set(&mut self, session: LeaseId, wanted: Wanted, outputs: &mut impl Extend<Output>) {
        let old = if wanted == NONE {
            self.of.remove(&session)
        } else {
            self.of.insert(session, wanted.clone())
        };
        let old = old.unwrap_or(NONE);
        if old == wanted {
            return;
        }
        for key in wanted.into_iter().flatten() {
            let reasons = self.keys.entry(key.clone()).or_default();
            *reasons += 1;
            if *reasons == 1 {
                outputs.extend([Output::Watch(key)]);
            }
        }
        for key in old.into_iter().flatten() {
            if let Some(reasons) = self.keys.get_mut(&key) {
                *reasons -= 1;
                if *reasons == 0 {
                    self.keys.remove(&key);
                    outputs.extend([Output::Unwatch(key)]);
                }
            }
        }
    }
}

impl LockQueue {
    /// Sees to the watches of the sessions of which something has changed, of those right behind an entry of which something
    /// has, and of the oldest that waits.
    pub(crate) fn watch(&mut self) {
        let oldest = self.index.waiting.values().next().copied();
        for session in self.index.changed.clone().into_iter().chain(oldest) {
            self.watch_for(session);
        }
        let moved = std::mem::take(&mut self.index.moved);
        for entry in moved.into_iter().chain(self.knowledge.take_changes()) {
            let later = self.index.waiting.range(&entry..);
            let later = later.filter(|(id, _)| **id != entry).take(2);
            for session in later.map(|(_, session)| *session).collect::<Vec<_>>() {
                self.watch_for(session);
            }
        }
    }

    /// Whether the queue must be read for the oldest waiting entry, though it is behind another one: of its two nearest
    /// predecessors one is not known, or is stale and not watched.
    pub(crate) fn is_blind(&self, session: LeaseId, id: &EntryId) -> bool {
        let nearest: Vec<_> = self.nearest(id).collect();
        let is_unwatched =
            |entry: &&EntryId| self.is_foreign(entry) && !self.is_watchable(session, entry);
        let is_second_unknown = match nearest[..] {
            [only] => self.is_foreign(only) && !self.knowledge.knows_all_before(id),
            _ => false,
        };
        is_second_unknown || nearest.iter().any(is_unwatched)
    }

    fn watch_for(&mut self, session: LeaseId) {
        let wanted = self.wanted_watches(session);
        self.watches.set(session, wanted, &mut self.outputs);
    }

    /// A predecessor that is an entry of this client is not watched: the machine itself deletes it.
    fn wanted_watches(&self, session: LeaseId) -> Wanted {
        let Some(own) = self.own.get(&session) else {
            return NONE;
        };
        let aged = own.seen().filter(|seen| seen.is_aged);
        let waiting = own.id().filter(|_| own.is_waiting());
        let nearest = waiting.iter().flat_map(|id| self.nearest(id));
        let mut before = nearest
            .filter(|entry| self.is_foreign(entry) && self.is_watchable(session, entry))
            .map(|entry| entry.key.clone());
        [aged.map(|_| own.key.clone()), before.next(), before.next()]
    }

    /// The two nearest predecessors of an entry, as far as is known.
    fn nearest<'a>(&'a self, id: &EntryId) -> impl Iterator<Item = &'a EntryId> + use<'a> {
        self.knowledge.predecessors(id).rev().take(2)
    }

    fn is_foreign(&self, entry: &EntryId) -> bool {
        !self.index.entries.contains_key(entry)
    }

    /// Whether an entry is watched for a session, or is worth it: it was not found out of date.
    fn is_watchable(&self, session: LeaseId, entry: &EntryId) -> bool {
        self.watches.is_of(session, &entry.key) || !self.knowledge.is_stale(entry)
    }
}
