//! The entry of one session: the states between the first caller that wants the lock and the entry's deletion.

use std::collections::VecDeque;

use etcd_lock_core::{LockKey, Revision};

use crate::handover::{Limits, Turn};
use crate::io::{CallerId, Mode, Stamp};
use crate::knowledge::EntryId;
use crate::value::Nonce;

/// The state of one session in the queue of the lock.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct OwnEntry {
    pub(crate) key: LockKey,
    pub(crate) state: State,
    /// The callers that want the lock, in the order in which they came. The holder is not among them.
    pub(crate) callers: VecDeque<(CallerId, Mode)>,
    /// How far its tasks may go before others, as the latest caller said.
    pub(crate) limits: Limits,
    /// The nonce of the attempt. While an older attempt may still be executed, later ones continue its nonce, so that
    /// an entry that it creates is known for ours.
    pub(crate) nonce: Nonce,
    /// A request to enter may still be executed, for as long as the lease lives: no read proves that it is not.
    pub(crate) in_doubt: bool,
    /// The greatest create revision of an entry that was released, withdrawn or lost. It is never held again.
    pub(crate) spent: Revision,
    /// Somebody asked for the position, and what was answered last.
    pub(crate) position: Option<Option<usize>>,
    /// A read of the newest entries is under way.
    pub(crate) is_asking: bool,
}

/// How far the entry of a session has come, for those who look on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Stage {
    /// There is no entry, and none may appear.
    Idle,
    /// A request to enter is under way, or will be sent again.
    Entering,
    /// A request to enter may still be executed, and none is under way.
    InDoubt,
    /// The entry waits for its predecessors.
    Waiting,
    /// A caller holds the lock.
    Held,
    /// The entry is being deleted.
    Releasing,
}

/// The states of an entry. `Gone` and `Lost` of the diagram are `Idle`: what is left is to enter again or to be forgotten.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum State {
    /// There is no entry, as far as is known.
    Idle,
    /// The entry is being created.
    Entering(Call),
    /// It exists, and is not the head.
    Waiting(Seen),
    /// A caller holds the lock.
    Held(Hold),
    /// It is being deleted.
    Releasing(Release),
}

/// Whether a request that must succeed is under way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Call {
    /// It was sent and not answered.
    Sent,
    /// It failed. It is sent again when the timer fires.
    Failed,
}

/// An entry that was seen to exist.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Seen {
    pub(crate) created: Revision,
    /// When the latest request was sent whose reply showed the entry.
    pub(crate) confirmed: Stamp,
    /// It is old enough to be watched itself.
    pub(crate) is_aged: bool,
}

impl Seen {
    pub(crate) const fn new(created: Revision, confirmed: Stamp) -> Self {
        Self {
            created,
            confirmed,
            is_aged: false,
        }
    }
}

/// A hold.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Hold {
    pub(crate) seen: Seen,
    pub(crate) holder: CallerId,
    pub(crate) handover: u64,
    /// Fenced writes that were sent and not answered: they may still be executed, for as long as the entry exists.
    pub(crate) unanswered: u32,
    pub(crate) turn: Turn,
}

/// A deletion.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Release {
    pub(crate) created: Revision,
    pub(crate) call: Call,
    /// The caller that waits for the deletion.
    pub(crate) caller: Option<CallerId>,
    /// The hold was true to its end and nothing that was done under it can still have an effect: for sessions of this
    /// client the entry counts as deleted.
    pub(crate) is_over: bool,
}

impl OwnEntry {
    pub(crate) const fn new(key: LockKey, nonce: Nonce, limits: Limits) -> Self {
        Self {
            key,
            limits,
            state: State::Idle,
            callers: VecDeque::new(),
            nonce,
            in_doubt: false,
            spent: Revision::ZERO,
            position: None,
            is_asking: false,
        }
    }

    /// Whether another task is before one that does not wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.callers.is_empty() || matches!(self.state, State::Held(_))
    }

    /// Nothing is left to do: it can be forgotten.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Idle && self.callers.is_empty() && !self.in_doubt && !self.is_asking
    }

    /// The entry that exists, as far as is known.
    pub(crate) fn id(&self) -> Option<EntryId> {
        let created = match &self.state {
            State::Waiting(seen) => seen.created,
            State::Held(hold) => hold.seen.created,
            State::Releasing(release) => release.created,
            State::Idle | State::Entering(_) => return None,
        };
        Some(EntryId::new(self.key.clone(), created))
    }

    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// The confirmation of an entry that waits or is held.
    pub(crate) const fn seen(&self) -> Option<&Seen> {
        match &self.state {
            State::Waiting(seen) => Some(seen),
            State::Held(hold) => Some(&hold.seen),
            _ => None,
        }
    }

    /// The entry was seen to exist by a request that was sent at `sent`.
    pub(crate) fn confirm(&mut self, created: Revision, sent: Stamp) {
        if let Some(seen) = self.seen_mut().filter(|seen| seen.created == created) {
            seen.confirmed = sent.max(seen.confirmed);
        }
    }

    pub(crate) const fn seen_mut(&mut self) -> Option<&mut Seen> {
        match &mut self.state {
            State::Waiting(seen) => Some(seen),
            State::Held(hold) => Some(&mut hold.seen),
            _ => None,
        }
    }

    /// The hold of this caller.
    pub(crate) fn hold_of(&mut self, caller: CallerId) -> Option<&mut Hold> {
        match &mut self.state {
            State::Held(hold) if hold.holder == caller => Some(hold),
            _ => None,
        }
    }
}
