//! Callers: they come, write and leave. The entry of their session is created for the first and withdrawn after the last.

use etcd_lock_core::LeaseId;

use crate::entry::{Call, OwnEntry, State};
use crate::handover::Limits;
use crate::io::{CallerId, Failure, Mode, Output, Validity};
use crate::machine::LockQueue;
use crate::request::Request;
use crate::value::Nonce;

/// With more waiters of one client than this, entering reads nothing: one shared snapshot serves all of them.
const CROWD: usize = 4;

impl LockQueue {
    pub(crate) fn acquire(
        &mut self,
        session: LeaseId,
        (caller, mode): (CallerId, Mode),
        nonce: Nonce,
        limits: Limits,
    ) {
        let name = &self.name;
        let own = self
            .own
            .entry(session)
            .or_insert_with(|| OwnEntry::new(name.key(session), nonce, limits));
        own.limits = limits;
        self.index.changed.insert(session);
        if mode == Mode::Try && own.is_busy() {
            let busy = Output::Failed(caller, Failure::Busy);
            return self.outputs.push_back(busy);
        }
        if own.state == State::Idle && !own.in_doubt {
            own.nonce = nonce;
        }
        own.callers.push_back((caller, mode));
        if mode == Mode::Try {
            self.index.trying.insert(session);
        }
        self.enter_if_wanted(session);
    }

    pub(crate) fn cancel(&mut self, session: LeaseId, caller: CallerId, validity: &dyn Validity) {
        self.release(session, caller, None, validity);
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        self.index.changed.insert(session);
        own.callers.retain(|(other, _)| *other != caller);
        if let State::Releasing(release) = &mut own.state {
            release.caller = release.caller.filter(|other| *other != caller);
        }
        self.withdraw_if_unwanted(session);
    }

    pub(crate) fn count_write(&mut self, session: LeaseId, caller: CallerId, change: i32) {
        let own = self.own.get_mut(&session);
        if let Some(hold) = own.and_then(|own| own.hold_of(caller)) {
            hold.unanswered = hold.unanswered.saturating_add_signed(change);
        }
    }

    /// Creates the entry of a session that has none and whose callers want the lock.
    pub(crate) fn enter_if_wanted(&mut self, session: LeaseId) {
        let waiting = self.index.waiting.len();
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        if own.state != State::Idle || own.callers.is_empty() {
            return;
        }
        self.outputs.push_back(Output::Send(Request::Enter {
            session,
            nonce: own.nonce,
            reads_newest: waiting <= CROWD,
        }));
        self.set_state(session, State::Entering(Call::Sent));
    }

    /// Removes the entry that no caller wants any more.
    pub(crate) fn withdraw_if_unwanted(&mut self, session: LeaseId) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        if !own.callers.is_empty() {
            return;
        }
        match &own.state {
            State::Waiting(seen) => {
                let created = seen.created;
                self.delete(session, created, None, false);
            }
            State::Entering(Call::Failed) => {
                if own.in_doubt {
                    self.reads.unchecked.insert(own.key.clone());
                }
                self.set_state(session, State::Idle);
            }
            _ => {}
        }
    }
}
