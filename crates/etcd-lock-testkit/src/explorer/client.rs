//! A client of the explorer: the real state machine, what it has asked for, and the callers that want the lock.

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::{LeaseId, LockKey, Revision};
use etcd_lock_queue::{
    CallerId, Input, Limits, LockQueue, Observation, Output, Reply, Request, Stamp, Ticket, Timer,
    Validity,
};

use super::{Bounds, Bug, lock_name};

/// How many ticks after its confirmation an entry may be granted.
pub(super) const FRESH: u64 = 0;
/// How many ticks after its confirmation a hold may be relied on.
pub(super) const VALID: u64 = 1;

/// A client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Client {
    pub(super) queue: LockQueue,
    pub(super) limits: Limits,
    pub(super) callers: Vec<Caller>,
    /// The requests under way.
    pub(super) wire: BTreeMap<Ticket, Wire>,
    /// Copies that nobody waits for, and that may still be executed.
    pub(super) late: Vec<Request>,
    /// Heartbeats that were read and not heard of.
    pub(super) beats: BTreeMap<LeaseId, (Stamp, Vec<Observation>)>,
    pub(super) watches: BTreeMap<LockKey, Channel>,
    pub(super) timers: BTreeSet<Timer>,
    /// The sessions that have ended, as far as the client knows.
    pub(super) ended: BTreeSet<LeaseId>,
    pub(super) writes: bool,
}

/// A task, which wants the lock a few times.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Caller {
    pub(super) session: LeaseId,
    /// How often it wants the lock in all.
    pub(super) plan: u8,
    /// How often it will want the lock yet.
    pub(super) wants: u8,
    pub(super) phase: Phase,
    /// A fenced write under way.
    pub(super) write: Option<Write>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Phase {
    Idle,
    Waiting,
    Holding { token: Token, may_write: bool },
    Releasing,
}

/// The create revision of the entry and the hand-overs since.
pub(super) type Token = (Revision, u64);

/// A fenced write, guarded by the create revision of the token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Write {
    pub(super) token: Token,
    pub(super) is_answered: bool,
    /// Its caller was told that the outcome is unknown.
    pub(super) is_in_doubt: bool,
}

/// A request, and its answer on the way back.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Wire {
    pub(super) request: Request,
    pub(super) sent: Stamp,
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Answer {
    Reply(Reply),
    LeaseNotFound,
}

/// The watch of one key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Channel {
    /// The server has not created it.
    Opening,
    /// It is on, and these deletions were not reported yet.
    On(Vec<Revision>),
}

/// What the clock of the explorer says.
pub(super) struct Clock<'a> {
    pub(super) now: u64,
    pub(super) ended: &'a BTreeSet<LeaseId>,
    pub(super) bug: Option<Bug>,
}

impl Validity for Clock<'_> {
    fn is_fresh(&self, _: LeaseId, confirmed: Stamp) -> bool {
        self.bug == Some(Bug::GrantWithoutOwnEntry) || self.now <= confirmed.0 + FRESH
    }

    fn is_valid(&self, session: LeaseId, confirmed: Stamp) -> bool {
        let is_confirmed = self.now <= confirmed.0 + VALID;
        !self.ended.contains(&session)
            && (is_confirmed || self.bug == Some(Bug::HandOverUnconfirmed))
    }
}

impl Caller {
    pub(super) const fn has_begun(&self) -> bool {
        self.wants < self.plan
    }
}

impl Client {
    pub(super) fn new(sessions: &[(LeaseId, Vec<u8>)], bounds: &Bounds) -> Self {
        let callers = sessions.iter().flat_map(|(session, tasks)| {
            tasks.iter().map(|wants| Caller {
                session: *session,
                plan: *wants,
                wants: *wants,
                phase: Phase::Idle,
                write: None,
            })
        });
        Self {
            queue: LockQueue::new(lock_name()),
            limits: Limits::new(bounds.handovers),
            callers: callers.collect(),
            wire: BTreeMap::new(),
            late: Vec::new(),
            beats: BTreeMap::new(),
            watches: BTreeMap::new(),
            timers: BTreeSet::new(),
            ended: BTreeSet::new(),
            writes: bounds.writes,
        }
    }

    pub(super) fn sessions(&self) -> BTreeSet<LeaseId> {
        self.callers.iter().map(|caller| caller.session).collect()
    }

    /// Feeds the machine and does what it says at once, but for what takes time. Returns what it told callers.
    pub(super) fn feed(&mut self, input: Input, now: u64, bug: Option<Bug>) -> Vec<Output> {
        let clock = Clock {
            now,
            ended: &self.ended,
            bug,
        };
        self.queue.handle(input, &clock);
        let mut told = Vec::new();
        while let Some(output) = self.queue.poll_output() {
            self.obey(&output, now);
            told.push(output);
        }
        told
    }

    fn obey(&mut self, output: &Output, now: u64) {
        match output {
            Output::Send(request) => {
                let wire = Wire {
                    request: request.clone(),
                    sent: Stamp(now),
                    answer: None,
                };
                let other = self.wire.insert(request.ticket(), wire);
                assert!(other.is_none(), "two requests of one kind: {request:?}");
            }
            Output::Watch(key) => {
                self.watches.insert(key.clone(), Channel::Opening);
            }
            Output::Unwatch(key) => {
                self.watches.remove(key);
            }
            Output::Granted {
                caller,
                created,
                handover,
                ..
            } => {
                let token = (*created, *handover);
                let may_write = true;
                self.caller(*caller).phase = Phase::Holding { token, may_write };
            }
            Output::Failed(caller, _) | Output::Released(caller) | Output::Lost(caller) => {
                self.caller(*caller).phase = Phase::Idle;
            }
            Output::Start(timer) => {
                self.timers.insert(*timer);
            }
            _ => {}
        }
    }

    /// Whether another client's tasks want the same.
    pub(super) fn is_twin_of(&self, other: &Self) -> bool {
        let plans = |client: &Self| -> Vec<_> {
            let callers = client.callers.iter();
            callers
                .map(|caller| {
                    (
                        caller.session.get() - client.callers[0].session.get(),
                        caller.plan,
                    )
                })
                .collect()
        };
        plans(self) == plans(other)
    }

    /// Whether time has passed since an entry was confirmed, so that a heartbeat is due.
    pub(super) fn is_due(&self, session: LeaseId, now: u64) -> bool {
        let confirmed = self.queue.confirmed(session);
        confirmed.is_some_and(|confirmed| confirmed.0 < now)
    }

    pub(super) fn caller(&mut self, caller: CallerId) -> &mut Caller {
        &mut self.callers[caller.0 as usize]
    }

    /// The callers that believe to hold the lock, with their sessions.
    pub(super) fn claims(&self, now: u64) -> impl Iterator<Item = (LeaseId, CallerId)> {
        let clock = Clock {
            now,
            ended: &self.ended,
            bug: None,
        };
        let sessions = self.sessions().into_iter();
        sessions.filter_map(move |session| {
            let (caller, confirmed) = self.queue.holder(session)?;
            clock
                .is_valid(session, confirmed)
                .then_some((session, caller))
        })
    }
}
