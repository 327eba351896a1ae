//! A process of the model: how far its attempt has come, and what it has on the wire.

use super::Bug;
use super::server::{Reply, Request, Revision};

/// A process with one lease, whose tasks want the lock a few times, one after the other.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Process {
    /// How many attempts it has not begun yet.
    pub(super) attempts: u8,
    pub(super) phase: Phase,
    /// The request that it waits for.
    pub(super) call: Option<Call>,
    /// Requests that it no longer waits for, and that may still be executed. In order, so that equal states are equal.
    pub(super) late: Vec<Request>,
    /// A request to make its entry may be executed yet, after its attempt is over: it looks after the key.
    pub(super) in_doubt: bool,
    /// Its hold that is over for good, until its entry is known to be gone.
    pub(super) over: Option<Revision>,
}

/// What a process is busy with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Phase {
    Idle,
    /// The entry is being made; `dropped` when the caller has gone meanwhile.
    Entering {
        dropped: bool,
    },
    /// It stands in the queue.
    Waiting(Revision),
    /// It has become the first, and is about to be told.
    Next(Revision),
    Holding {
        created: Revision,
        may_write: bool,
    },
    /// Its entry is being deleted, again and again until that is confirmed.
    Leaving(Revision),
}

/// A request on its way to the server, or its reply on the way back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Call {
    Asked(Request),
    Answered(Reply),
}

impl Process {
    pub(super) const fn new(attempts: u8) -> Self {
        Self {
            attempts,
            phase: Phase::Idle,
            call: None,
            late: Vec::new(),
            in_doubt: false,
            over: None,
        }
    }

    /// Its callers have what they wanted, or were told that they don't get it.
    pub(super) fn is_done(&self) -> bool {
        self.attempts == 0 && self.phase == Phase::Idle
    }

    pub(super) const fn holds(&self) -> Option<Revision> {
        match self.phase {
            Phase::Holding { created, .. } => Some(created),
            _ => None,
        }
    }

    /// The revision at which it thinks its entry stands in the queue, until it deletes it.
    pub(super) const fn stands(&self) -> Option<Revision> {
        match self.phase {
            Phase::Waiting(created) | Phase::Next(created) => Some(created),
            _ => self.holds(),
        }
    }

    /// `Attempt::enter`.
    pub(super) fn enter(&mut self) {
        self.attempts -= 1;
        self.phase = Phase::Entering { dropped: false };
        self.call = Some(Call::Asked(Request::Enter));
    }

    /// `FencedTxn::commit`: once for each hold.
    pub(super) fn write(&mut self) {
        if let Some(created) = self.holds() {
            self.phase = Phase::Holding {
                created,
                may_write: false,
            };
            self.call = Some(Call::Asked(Request::Write(created)));
        }
    }

    /// `LockGuard::unlock`.
    pub(super) fn release(&mut self, bug: Option<Bug>) {
        if let Some(created) = self.holds() {
            if bug == Some(Bug::PassedOnInDoubt) || !self.late.contains(&Request::Write(created)) {
                self.over = Some(created);
            }
            self.leave(created);
        }
    }

    /// `Inner::delete`, as `Release`, `clean_up` and `linger` repeat it.
    pub(super) fn leave(&mut self, created: Revision) {
        self.abandon_call();
        self.phase = Phase::Leaving(created);
        self.call = Some(Call::Asked(Request::Delete(created)));
    }

    /// The caller drops its future: `Drop for Attempt`, `Drop for LockGuard`.
    pub(super) fn give_up(&mut self, bug: Option<Bug>) {
        match self.phase {
            Phase::Entering { .. } => self.phase = Phase::Entering { dropped: true },
            Phase::Waiting(_) | Phase::Next(_) if bug == Some(Bug::WithdrawalForgotten) => {
                self.phase = Phase::Idle;
            }
            Phase::Waiting(created) | Phase::Next(created) => self.leave(created),
            _ => {}
        }
    }

    /// Its entry is gone, and it notices: by its watches, a read, or the end of its session.
    pub(super) fn notice(&mut self) {
        self.abandon_call();
        self.phase = Phase::Idle;
    }

    /// A request fails so that nobody knows whether it was executed.
    pub(super) fn fail(&mut self, bug: Option<Bug>) {
        let made_by_etcd = bug == Some(Bug::RetryUnsettled);
        match self.phase {
            Phase::Entering { .. } => {
                self.abandon_call();
                self.phase = Phase::Idle;
                if made_by_etcd {
                    self.send_late(Request::Sweep);
                } else {
                    self.in_doubt = true;
                }
            }
            Phase::Leaving(created) => self.leave(created),
            _ => self.abandon_call(),
        }
    }

    /// Takes a reply: `Attempt::entered` and what follows it.
    pub(super) fn hear(&mut self, reply: Reply) {
        self.call = None;
        match (self.phase, reply) {
            (Phase::Entering { dropped: true }, Reply::Entered { created, .. }) => {
                self.leave(created);
            }
            (Phase::Entering { .. }, Reply::Entered { created, first }) => {
                self.phase = if first {
                    granted(created)
                } else {
                    Phase::Waiting(created)
                };
            }
            (Phase::Entering { .. }, _) => self.phase = Phase::Idle,
            (Phase::Leaving(_), Reply::Deleted) => {
                self.phase = Phase::Idle;
                self.over = None;
            }
            _ => {}
        }
    }

    /// The transport sends the request again: the first copy may be executed after the second.
    pub(super) fn repeat(&mut self, bug: Option<Bug>) {
        self.send_late(Request::Enter);
        self.in_doubt |= bug != Some(Bug::RepeatForgotten);
    }

    /// A request that the process no longer waits for is on its way.
    pub(super) fn send_late(&mut self, request: Request) {
        self.late.push(request);
        self.late.sort_unstable();
    }

    /// A request that was not executed yet goes on without its caller; a reply is lost.
    fn abandon_call(&mut self) {
        if let Some(Call::Asked(request)) = self.call.take() {
            self.send_late(request);
        }
    }
}

/// `Attempt::granted`.
pub(super) const fn granted(created: Revision) -> Phase {
    Phase::Holding {
        created,
        may_write: true,
    }
}
