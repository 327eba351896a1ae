//! Which keys are watched: a waiting entry and its direct predecessor, and a hold that has lasted for a while.

use std::collections::BTreeMap;

use etcd_lock_core::{LeaseId, LockKey};

use crate::entry::State;
use crate::io::Output;
use crate::machine::LockQueue;

/// The keys that are watched.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Watches {
    /// For how many reasons each key is watched: one entry may wait behind an earlier one of its own key.
    keys: BTreeMap<LockKey, u8>,
    /// For each session: its own key, and that of the entry before it.
    of: BTreeMap<LeaseId, Wanted>,
}

/// The keys that one session needs to be watched.
type Wanted = [Option<LockKey>; 2];

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

    /// Begins and ends watches, so that a session has those that it needs.
    fn set(&mut self, session: LeaseId, wanted: Wanted, outputs: &mut impl Extend<Output>) {
        let old = match wanted {
            [None, None] => self.of.remove(&session).unwrap_or_default(),
            _ => self.of.insert(session, wanted.clone()).unwrap_or_default(),
        };
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
    /// Sees to the watches of the sessions of which something has changed, and of those right behind an entry of which
    /// something has.
    pub(crate) fn watch(&mut self) {
        for session in self.index.changed.clone() {
            self.watch_for(session);
        }
        let moved = std::mem::take(&mut self.index.moved);
        for entry in moved.into_iter().chain(self.knowledge.take_changes()) {
            let behind = self
                .index
                .waiting
                .range(&entry..)
                .find(|(id, _)| **id != entry);
            if let Some((_, session)) = behind {
                self.watch_for(*session);
            }
        }
    }

    fn watch_for(&mut self, session: LeaseId) {
        let wanted = self.wanted_watches(session);
        self.watches.set(session, wanted, &mut self.outputs);
    }

    /// A predecessor that is an entry of this client is not watched: the machine itself deletes it.
    fn wanted_watches(&self, session: LeaseId) -> Wanted {
        let Some(own) = self.own.get(&session) else {
            return [None, None];
        };
        match &own.state {
            State::Held(hold) if hold.is_aged => [Some(own.key.clone()), None],
            State::Waiting(_) => {
                let id = own.id();
                let predecessor = id.and_then(|id| self.knowledge.predecessors(&id).next_back());
                let is_foreign = |entry: &&_| !self.index.entries.contains_key(*entry);
                let foreign = predecessor.filter(is_foreign);
                [
                    Some(own.key.clone()),
                    foreign.map(|entry| entry.key.clone()),
                ]
            }
            _ => [None, None],
        }
    }
}
