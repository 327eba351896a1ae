//! Replies and failures: what the machine learns of its own entries.

use etcd_lock_core::{LeaseId, Revision};

use crate::entry::{Call, OwnEntry, Seen, State};
use crate::io::{Failure, Output, RequestFailure, Stamp, Timer};
use crate::knowledge::{EntryId, Snapshot};
use crate::machine::LockQueue;
use crate::request::{Observation, Reply, Request, Ticket};
use crate::value::Nonce;

impl LockQueue {
    pub(crate) fn replied(&mut self, request: Ticket, sent: Stamp, reply: Reply) {
        match (request, reply) {
            (
                Ticket::Enter(session),
                Reply::Entered {
                    created,
                    nonce,
                    revision,
                    newest,
                },
            ) => {
                if let Some(newest) = newest {
                    self.apply(sent, &newest);
                }
                self.entered(session, Seen::new(created, sent), nonce, revision);
            }
            (Ticket::Delete(session), Reply::Deleted { .. }) => self.entry_deleted(session),
            (Ticket::Snapshot, Reply::Read(snapshot)) => {
                self.reads.snapshot_sent = false;
                self.apply(sent, &snapshot);
            }
            (Ticket::Check, Reply::Checked(observations)) => {
                self.reads.checking = None;
                self.observe(sent, &observations);
            }
            (Ticket::Others(session), Reply::Read(newest)) => {
                self.asked(session, Some(&newest));
                self.apply(sent, &newest);
            }
            _ => {}
        }
    }

    fn entered(&mut self, session: LeaseId, seen: Seen, nonce: Option<Nonce>, at: Revision) {
        let Some(own) = self.entering(session) else {
            return;
        };
        if nonce != Some(own.nonce) {
            return self.fail_callers(session, Failure::Foreign);
        }
        let created = seen.created;
        if created <= own.spent {
            return self.delete(session, created, None, false);
        }
        let id = EntryId::new(own.key.clone(), created);
        self.set_state(session, State::Waiting(seen));
        if !self.knowledge.note(&id, at) {
            self.entry_gone(session);
        }
        self.withdraw_if_unwanted(session);
    }

    /// The session whose request to enter is under way.
    fn entering(&mut self, session: LeaseId) -> Option<&mut OwnEntry> {
        let own = self.own.get_mut(&session)?;
        (own.state == State::Entering(Call::Sent)).then_some(own)
    }

    fn fail_callers(&mut self, session: LeaseId, failure: Failure) {
        if let Some(own) = self.own.get_mut(&session) {
            let callers = own.callers.drain(..);
            let failed = callers.map(|(caller, _)| Output::Failed(caller, failure));
            self.outputs.extend(failed);
            if matches!(own.state, State::Entering(_)) {
                self.set_state(session, State::Idle);
            }
        }
    }

    pub(crate) fn failed(&mut self, request: Ticket, failure: RequestFailure) {
        match request {
            Ticket::Enter(session) => self.enter_failed(session, failure),
            Ticket::Delete(session) => {
                if let Some(State::Releasing(release)) =
                    self.own.get_mut(&session).map(|own| &mut own.state)
                {
                    release.call = Call::Failed;
                    self.outputs.push_back(Output::Start(Timer::Retry(session)));
                }
            }
            Ticket::Snapshot => {
                self.reads.snapshot_sent = false;
                self.pause_reads();
                if failure == RequestFailure::Refused {
                    self.refuse_waiting();
                }
            }
            Ticket::Check => {
                let keys = self.reads.checking.take();
                self.reads.unchecked.extend(keys.into_iter().flatten());
                self.pause_reads();
            }
            Ticket::Others(session) => self.asked(session, None),
        }
    }

    fn enter_failed(&mut self, session: LeaseId, failure: RequestFailure) {
        let Some(own) = self.entering(session) else {
            return;
        };
        if failure == RequestFailure::Refused {
            return self.fail_callers(session, Failure::Refused);
        }
        own.in_doubt |= failure == RequestFailure::InDoubt;
        self.set_state(session, State::Entering(Call::Failed));
        self.outputs.push_back(Output::Start(Timer::Retry(session)));
        self.withdraw_if_unwanted(session);
    }

    /// A request that failed is sent again.
    pub(crate) fn retry(&mut self, session: LeaseId) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        match &mut own.state {
            State::Entering(Call::Failed) => {
                self.set_state(session, State::Idle);
                self.enter_if_wanted(session);
            }
            State::Releasing(release) if release.call == Call::Failed => {
                release.call = Call::Sent;
                let created = release.created;
                let request = Request::Delete { session, created };
                self.outputs.push_back(Output::Send(request));
            }
            _ => {}
        }
    }

    fn pause_reads(&mut self) {
        if !self.reads.is_paused {
            self.reads.is_paused = true;
            self.outputs.push_back(Output::Start(Timer::Reads));
        }
    }

    /// The queue can't be read, so that nobody in it can be granted.
    fn refuse_waiting(&mut self) {
        let waiting: Vec<_> = self.index.waiting.values().copied().collect();
        for session in waiting {
            self.fail_callers(session, Failure::Refused);
            self.withdraw_if_unwanted(session);
        }
    }

    fn apply(&mut self, sent: Stamp, snapshot: &Snapshot) {
        self.knowledge.apply(snapshot);
        let complete_to = snapshot.complete_to();
        let mut gone = Vec::new();
        for (id, session) in &self.index.entries {
            if !snapshot.entries.contains(id) {
                if complete_to >= Some(id.created) {
                    gone.push(*session);
                }
            } else if let Some(own) = self.own.get_mut(session) {
                own.confirm(id.created, sent);
            }
        }
        for session in gone {
            self.entry_gone(session);
        }
    }

    pub(crate) fn observe(&mut self, sent: Stamp, observations: &[Observation]) {
        for observation in observations {
            let Observation { key, at, found } = observation;
            self.knowledge
                .observed(key, *at, found.map(|(created, _)| created));
            if let Some(session) = self.session_of(key) {
                self.observe_own(session, sent, observation);
            }
        }
    }

    fn observe_own(&mut self, session: LeaseId, sent: Stamp, observation: &Observation) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let id = own.id();
        match (id, observation.found) {
            (Some(id), Some((created, _))) if id.created == created => own.confirm(created, sent),
            (Some(id), _) if id.created <= observation.at => self.entry_gone(session),
            // An orphan: a request in doubt was executed, and nobody wants its entry any more.
            (None, Some((created, nonce)))
                if own.state == State::Idle && nonce == Some(own.nonce) =>
            {
                self.delete(session, created, None, false);
            }
            _ => {}
        }
    }

    /// The deletion that was asked for is done.
    fn entry_deleted(&mut self, session: LeaseId) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let Some(id) = own.id() else {
            return;
        };
        if let State::Releasing(release) = &own.state {
            self.outputs.extend(release.caller.map(Output::Released));
            self.set_state(session, State::Idle);
            self.knowledge.entry_deleted(&id);
            self.enter_if_wanted(session);
        }
    }

    /// The entry of a session was found to be deleted. Where it waited, the caller in front is told so, and the others
    /// enter again.
    pub(crate) fn entry_gone(&mut self, session: LeaseId) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let Some(id) = own.id() else {
            return;
        };
        match &own.state {
            // The reply to the request under way ends it.
            State::Releasing(release) if release.call == Call::Sent => return,
            State::Releasing(_) => return self.entry_deleted(session),
            State::Held(hold) => self.outputs.push_back(Output::Lost(hold.holder)),
            _ => {
                let front = own.callers.pop_front();
                let failed = |(caller, _)| Output::Failed(caller, Failure::Deleted);
                self.outputs.extend(front.map(failed));
            }
        }
        own.spent = own.spent.max(id.created);
        self.set_state(session, State::Idle);
        self.knowledge.entry_deleted(&id);
        self.enter_if_wanted(session);
    }
}
