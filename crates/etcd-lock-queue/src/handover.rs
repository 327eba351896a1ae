//! The end of a hold: the lock is handed over to the next task of the session, or its entry is deleted.

use etcd_lock_core::{LeaseId, Revision};

use crate::entry::{Call, OwnEntry, Release, State};
use crate::io::{CallerId, Failure, Mode, Output, Timer, Validity};
use crate::knowledge::Snapshot;
use crate::machine::LockQueue;
use crate::request::Request;

/// How a session hands the lock over inside its client, before others that wait in etcd's queue.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// How often in a row a session hands the lock over between its tasks while others wait, or may wait. With 0 it never
    /// does.
    pub handovers: u32,
    /// Whether the session may be granted the lock while the entry of another session of this client, which has released
    /// it, is still being deleted. A bare lease waits for the deletion: nobody here knows whether it is alive.
    pub joins_handovers: bool,
}

impl Limits {
    /// At most this many hand-overs in a row.
    #[must_use]
    pub const fn new(handovers: u32) -> Self {
        Self {
            handovers,
            joins_handovers: true,
        }
    }

    /// A lease that no session keeps alive takes no part in hand-overs.
    #[must_use]
    pub const fn bare() -> Self {
        Self {
            handovers: 0,
            joins_handovers: false,
        }
    }

    /// Every so many hand-overs a session asks whether anybody else waits.
    const fn asks_every(self) -> u32 {
        self.handovers.div_ceil(8)
    }
}

/// The hand-overs of one hold, since nobody else was known to wait.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Turn {
    in_a_row: u32,
    others_wait: bool,
    /// The time since others were known to wait is up.
    is_over: bool,
}

impl LockQueue {
    /// Ends the hold of a caller, which wants to hear of the deletion or doesn't.
    pub(crate) fn release(
        &mut self,
        session: LeaseId,
        caller: CallerId,
        hears: Option<CallerId>,
        validity: &dyn Validity,
    ) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let limits = own.limits;
        let Some(hold) = own.hold_of(caller) else {
            return;
        };
        let created = hold.seen.created;
        let is_intact = validity.is_valid(session, hold.seen.confirmed) && hold.unanswered == 0;
        let may_stay = !hold.turn.is_over && hold.turn.in_a_row < limits.handovers;
        if is_intact
            && may_stay
            && let Some((next, _)) = own.callers.pop_front()
        {
            self.outputs.extend(hears.map(Output::Released));
            self.hand_over(session, next);
        } else {
            self.delete(session, created, hears, is_intact);
        }
    }

    fn hand_over(&mut self, session: LeaseId, next: CallerId) {
        let others_wait = self.index.waiting.values().any(|other| *other != session);
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let limits = own.limits;
        let State::Held(hold) = &mut own.state else {
            return;
        };
        hold.holder = next;
        hold.handover += 1;
        hold.turn.in_a_row += 1;
        let in_a_row = hold.turn.in_a_row;
        self.outputs.push_back(Output::Granted {
            session,
            caller: next,
            created: hold.seen.created,
            handover: hold.handover,
        });
        if others_wait {
            self.others_wait(session);
        }
        if in_a_row == 1 {
            self.outputs.push_back(Output::Start(Timer::Ask(session)));
        }
        if in_a_row % limits.asks_every() == 0 {
            self.ask(session);
        }
    }

    /// Asks whether anybody waits behind a hold that tasks hand over, unless that is known.
    pub(crate) fn ask(&mut self, session: LeaseId) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        let State::Held(hold) = &own.state else {
            return;
        };
        if own.is_asking || hold.turn.others_wait || hold.turn.in_a_row == 0 {
            return;
        }
        own.is_asking = true;
        self.outputs
            .push_back(Output::Send(Request::Others { session }));
    }

    /// The newest entries were read. Only a snapshot that shows our own entry and no other is a sign that nobody waits.
    pub(crate) fn asked(&mut self, session: LeaseId, newest: Option<&Snapshot>) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        self.index.changed.insert(session);
        own.is_asking = false;
        let (Some(newest), Some(id)) = (newest, own.id()) else {
            return;
        };
        if newest.entries.iter().any(|entry| entry.key != id.key) {
            return self.others_wait(session);
        }
        if let State::Held(hold) = &mut own.state
            && newest.entries.contains(&id)
        {
            hold.turn = Turn::default();
        }
    }

    /// Others wait: from now on, time is limited, too.
    fn others_wait(&mut self, session: LeaseId) {
        if let Some(State::Held(hold)) = self.own.get_mut(&session).map(|own| &mut own.state)
            && !hold.turn.others_wait
        {
            hold.turn.others_wait = true;
            self.outputs.push_back(Output::Start(Timer::Turn(session)));
        }
    }

    /// The time since others were known to wait is up.
    pub(crate) fn end_turn(&mut self, session: LeaseId) {
        if let Some(State::Held(hold)) = self.own.get_mut(&session).map(|own| &mut own.state) {
            hold.turn.is_over = hold.turn.others_wait;
        }
    }

    /// Deletes the entry of a session, until that is known to be done.
    pub(crate) fn delete(
        &mut self,
        session: LeaseId,
        created: Revision,
        caller: Option<CallerId>,
        is_over: bool,
    ) {
        let Some(own) = self.own.get_mut(&session) else {
            return;
        };
        own.spent = own.spent.max(created);
        let release = Release {
            created,
            call: Call::Sent,
            caller,
            is_over,
        };
        self.set_state(session, State::Releasing(release));
        let request = Request::Delete { session, created };
        self.outputs.push_back(Output::Send(request));
    }

    /// The hold can't be confirmed any more: the caller is told, and the entry is deleted where it still exists.
    pub(crate) fn expire(&mut self, session: LeaseId, validity: &dyn Validity) {
        let Some(State::Held(hold)) = self.own.get(&session).map(|own| &own.state) else {
            return;
        };
        if !validity.is_valid(session, hold.seen.confirmed) {
            let (holder, created) = (hold.holder, hold.seen.created);
            self.outputs.push_back(Output::Lost(holder));
            self.delete(session, created, None, false);
        }
    }
}

/// Ends the callers that do not wait.
pub(crate) fn refuse_tries(own: &mut OwnEntry, outputs: &mut impl Extend<Output>) {
    own.callers.retain(|(caller, mode)| {
        let stays = *mode == Mode::Wait;
        if !stays {
            outputs.extend([Output::Failed(*caller, Failure::Busy)]);
        }
        stays
    });
}
