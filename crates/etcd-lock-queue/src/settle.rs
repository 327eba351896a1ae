//! After each input: who is granted, what must be read, what is watched, and what can be forgotten.

use std::collections::BTreeSet;

use etcd_lock_core::{LeaseId, LockKey};

use crate::entry::{Hold, OwnEntry, Seen, State};
use crate::handover::{Turn, refuse_tries};
use crate::io::{Output, Validity};
use crate::knowledge::{EntryId, Verdict};
use crate::machine::LockQueue;
use crate::request::Request;

impl LockQueue {
    pub(crate) fn settle(&mut self, validity: &dyn Validity) {
        self.grant_head(validity);
        self.refuse_tries_behind();
        self.read(validity);
        self.tell_positions();
        self.watch();
        self.forget();
    }

    /// Grants the oldest waiting entry of this client, if it is the head of the queue and was seen to exist of late. Every
    /// other one is behind it.
    fn grant_head(&mut self, validity: &dyn Validity) {
        let Some((session, id)) = self.oldest_waiting() else {
            return;
        };
        if self.verdict(session, &id) != Verdict::Head {
            return;
        }
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let State::Waiting(seen) = &own.state else {
            return;
        };
        if !validity.is_fresh(session, seen.confirmed) {
            return;
        }
        let seen = seen.clone();
        let Some((caller, _)) = own.callers.pop_front() else {
            return;
        };
        self.outputs.push_back(Output::Granted {
            session,
            caller,
            created: seen.created,
            handover: 0,
        });
        own.state = State::Held(Hold::new(seen, caller));
        refuse_tries(own, &mut self.outputs);
    }

    /// Ends the attempts that do not wait, where an older entry is known.
    fn refuse_tries_behind(&mut self) {
        let behind: Vec<_> = self
            .waiting()
            .filter(|(session, id)| matches!(self.verdict(*session, id), Verdict::Behind(_)))
            .map(|(session, _)| session)
            .collect();
        for session in behind {
            if let Some(own) = self.own.get_mut(&session) {
                refuse_tries(own, &mut self.outputs);
            }
            self.withdraw_if_unwanted(session);
        }
    }

    fn read(&mut self, validity: &dyn Validity) {
        if self.reads.is_paused {
            return;
        }
        if !self.reads.snapshot_sent && self.needs_snapshot(validity) {
            let newest = self.waiting().map(|(_, id)| id.created).max();
            let request = newest.map(|up_to| Request::Snapshot { up_to });
            self.reads.snapshot_sent = request.is_some();
            self.outputs.extend(request.map(Output::Send));
        }
        if self.reads.checking.is_none() && !self.reads.unchecked.is_empty() {
            let keys: Vec<_> = std::mem::take(&mut self.reads.unchecked)
                .into_iter()
                .collect();
            self.reads.checking = Some(keys.clone());
            self.outputs
                .push_back(Output::Send(Request::Check { keys }));
        }
    }

    /// Whether the oldest waiting entry could be granted for all that is known, and more must be known. The snapshot shows
    /// the predecessors, and the entry itself.
    fn needs_snapshot(&self, validity: &dyn Validity) -> bool {
        let oldest = self.oldest_waiting();
        let is_unknown = oldest.is_some_and(|(session, id)| match self.verdict(session, &id) {
            Verdict::Unknown => true,
            Verdict::Head => {
                let seen = self.own.get(&session).and_then(OwnEntry::seen);
                seen.is_some_and(|seen| !validity.is_fresh(session, seen.confirmed))
            }
            Verdict::Behind(_) => false,
        });
        is_unknown
            || self.waiting().any(|(session, id)| {
                self.wants_position(session) && !self.knowledge.knows_all_before(&id)
            })
    }

    fn wants_position(&self, session: LeaseId) -> bool {
        let own = self.own.get(&session);
        own.is_some_and(|own| own.position.is_some())
    }

    fn tell_positions(&mut self) {
        let knowledge = &self.knowledge;
        for (session, own) in &mut self.own {
            let (true, Some(id), Some(told)) = (own.is_waiting(), own.id(), &mut own.position)
            else {
                continue;
            };
            if !knowledge.knows_all_before(&id) {
                continue;
            }
            let position = Some(knowledge.predecessors(&id).count());
            if *told != position {
                *told = position;
                let told = position.map(|position| Output::Position(*session, position));
                self.outputs.extend(told);
            }
        }
    }

    /// Asks for the watches that are wanted and not there, and ends the others.
    fn watch(&mut self) {
        let wanted = self.wanted_watches();
        if wanted == self.watched {
            return;
        }
        let ended = self.watched.difference(&wanted).cloned();
        self.outputs.extend(ended.map(Output::Unwatch));
        let begun = wanted.difference(&self.watched).cloned();
        self.outputs.extend(begun.map(Output::Watch));
        self.watched = wanted;
    }

    /// A waiting entry and its direct predecessor, and a hold that has lasted for a while. A predecessor that is an entry of
    /// this client is not watched: the machine itself deletes it.
    fn wanted_watches(&self) -> BTreeSet<LockKey> {
        let mut wanted = BTreeSet::new();
        for own in self.own.values() {
            match &own.state {
                State::Held(hold) if hold.is_aged => {
                    wanted.insert(own.key.clone());
                }
                State::Waiting(_) => {
                    wanted.insert(own.key.clone());
                    let id = own.id();
                    let predecessor =
                        id.and_then(|id| self.knowledge.predecessors(&id).next_back());
                    let foreign = predecessor.filter(|entry| !self.is_own(entry));
                    wanted.extend(foreign.map(|entry| entry.key.clone()));
                }
                _ => {}
            }
        }
        wanted
    }

    fn forget(&mut self) {
        self.own.retain(|_, own| !own.is_done());
        let newest = self.own.values().filter_map(OwnEntry::id).max();
        self.knowledge.forget_after(newest.as_ref());
    }

    fn verdict(&self, session: LeaseId, id: &EntryId) -> Verdict {
        let own = self.own.get(&session);
        let joins_handovers = own.is_some_and(|own| own.limits.joins_handovers);
        self.knowledge.verdict_without(id, |other| {
            let of = self.session_of(&other.key).filter(|_| joins_handovers);
            let own = of.and_then(|of| self.own.get(&of));
            own.is_some_and(|own| own.is_over(other))
        })
    }

    /// Whether an entry is one of this client's that exist, as far as is known. An earlier entry of the same key, which a
    /// stale snapshot shows, is not.
    fn is_own(&self, entry: &EntryId) -> bool {
        let own = self.session_of(&entry.key).and_then(|of| self.own.get(&of));
        own.and_then(OwnEntry::id).as_ref() == Some(entry)
    }

    fn oldest_waiting(&self) -> Option<(LeaseId, EntryId)> {
        self.waiting().min_by(|(_, one), (_, other)| one.cmp(other))
    }

    fn waiting(&self) -> impl Iterator<Item = (LeaseId, EntryId)> {
        let waiting = self.own.iter().filter(|(_, own)| own.is_waiting());
        waiting.filter_map(|(session, own)| Some((*session, own.id()?)))
    }
}

impl Hold {
    fn new(seen: Seen, holder: crate::io::CallerId) -> Self {
        Self {
            seen,
            holder,
            handover: 0,
            unanswered: 0,
            turn: Turn::default(),
            is_aged: false,
        }
    }
}

impl OwnEntry {
    /// Whether this entry's hold has ended in a way that lets other sessions of this client count it as deleted.
    fn is_over(&self, entry: &EntryId) -> bool {
        matches!(&self.state, State::Releasing(release) if release.is_over && release.created == entry.created)
    }
}
