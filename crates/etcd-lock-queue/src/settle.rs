//! After each input: which entry is granted, what must be read, and what can be forgotten.

use etcd_lock_core::LeaseId;

use crate::entry::{Hold, OwnEntry, Seen, State};
use crate::handover::{Turn, refuse_tries};
use crate::io::{Output, Validity};
use crate::knowledge::{EntryId, Verdict};
use crate::machine::LockQueue;
use crate::request::Request;

impl LockQueue {
    pub(crate) fn settle(&mut self, validity: &dyn Validity) {
        if !self.index.waiting.is_empty() {
            self.grant_head(validity);
            self.refuse_tries_behind();
        }
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
        refuse_tries(own, &mut self.outputs);
        self.index.trying.remove(&session);
        self.set_state(session, State::Held(Hold::new(seen, caller)));
    }

    /// Ends the attempts that do not wait, where an older entry is known.
    fn refuse_tries_behind(&mut self) {
        let is_behind = |session: &LeaseId| {
            let own = self.own.get(session).filter(|own| own.is_waiting());
            let id = own.and_then(OwnEntry::id);
            id.is_some_and(|id| matches!(self.verdict(*session, &id), Verdict::Behind(_)))
        };
        let behind: Vec<_> = self
            .index
            .trying
            .iter()
            .copied()
            .filter(is_behind)
            .collect();
        for session in behind {
            if let Some(own) = self.own.get_mut(&session) {
                refuse_tries(own, &mut self.outputs);
            }
            self.index.trying.remove(&session);
            self.withdraw_if_unwanted(session);
        }
    }

    fn read(&mut self, validity: &dyn Validity) {
        if self.reads.is_paused {
            return;
        }
        if !self.reads.snapshot_sent && self.needs_snapshot(validity) {
            let newest = self.index.waiting.last_key_value();
            let request = newest.map(|(id, _)| Request::Snapshot { up_to: id.created });
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
            Verdict::Behind(_) => self.is_blind(session, &id),
        });
        let is_position_unknown = |session| {
            let own = self.own.get(session).filter(|own| own.is_waiting());
            let id = own.and_then(OwnEntry::id);
            id.is_some_and(|id| !self.knowledge.knows_all_before(&id))
        };
        is_unknown || self.index.asking.iter().any(is_position_unknown)
    }

    fn tell_positions(&mut self) {
        let knowledge = &self.knowledge;
        for session in &self.index.asking {
            let Some(own) = self.own.get_mut(session) else {
                continue;
            };
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

    /// Forgets the sessions that have nothing to do with the lock any more, and what was known for their sake.
    fn forget(&mut self) {
        while let Some(session) = self.index.changed.pop_first() {
            if self.own.get(&session).is_none_or(OwnEntry::is_done) {
                self.own.remove(&session);
                self.index.trying.remove(&session);
                self.index.asking.remove(&session);
            }
        }
        let newest = self.index.entries.last_key_value();
        self.knowledge.forget_after(newest.map(|(id, _)| id));
        // Nobody is behind what is forgotten.
        self.knowledge.take_changes();
    }

    fn verdict(&self, session: LeaseId, id: &EntryId) -> Verdict {
        let own = self.own.get(&session);
        let joins_handovers = own.is_some_and(|own| own.limits.joins_handovers);
        self.knowledge.verdict_without(id, |other| {
            let of = self.index.entries.get(other).filter(|_| joins_handovers);
            let own = of.and_then(|of| self.own.get(of));
            own.is_some_and(|own| own.is_over(other))
        })
    }

    fn oldest_waiting(&self) -> Option<(LeaseId, EntryId)> {
        let (id, session) = self.index.waiting.first_key_value()?;
        Some((*session, id.clone()))
    }
}

impl Hold {
    pub(crate) fn new(seen: Seen, holder: crate::io::CallerId) -> Self {
        Self {
            seen,
            holder,
            handover: 0,
            unanswered: 0,
            turn: Turn::default(),
        }
    }
}

impl OwnEntry {
    /// Whether this entry's hold has ended in a way that lets other sessions of this client count it as deleted.
    fn is_over(&self, entry: &EntryId) -> bool {
        matches!(&self.state, State::Releasing(release) if release.is_over && release.created == entry.created)
    }
}
