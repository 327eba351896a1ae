//! A client of the explorer: the real state machine, what it has asked for, and the callers that want the lock.

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::{LeaseId, LockKey, Revision};
use etcd_lock_queue::{
    CallerId, Input, Limits, LockQueue, Observation, Output, Reply, Request, Stamp, Ticket, Timer,
    Validity,
};

use super::pace::Pace;
use super::{Bounds, Bug, lock_name};

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
    pub(super) pace: Pace,
    pub(super) trouble: Trouble,
}

/// The trouble of a client in walks alone: its requests take long, it stands still, and its leases are kept alive or not.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Trouble {
    /// Nothing that it sends needs to be answered before that tick.
    pub(super) lags_until: u64,
    /// It does nothing before that tick.
    pub(super) sleeps_until: u64,
    /// The tick of the last heartbeat of each session.
    pub(super) beaten: BTreeMap<LeaseId, u64>,
    /// The tick in which each lease was kept alive last.
    pub(super) renewed: BTreeMap<LeaseId, u64>,
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

/// The validity of sessions by the clock of the explorer.
pub(super) struct Clock<'a> {
    now: u64,
    ended: &'a BTreeSet<LeaseId>,
    renewed: &'a BTreeMap<LeaseId, u64>,
    pace: Pace,
    bug: Option<Bug>,
}

impl Validity for Clock<'_> {
    fn is_fresh(&self, _: LeaseId, confirmed: Stamp) -> bool {
        self.bug == Some(Bug::GrantWithoutOwnEntry) || self.now <= confirmed.0 + self.pace.fresh()
    }

    fn is_valid(&self, session: LeaseId, confirmed: Stamp) -> bool {
        let until = |since: u64| since + self.pace.valid();
        let renewed = self.renewed.get(&session).copied();
        let is_confirmed = self.now <= until(confirmed.0);
        !self.ended.contains(&session)
            && renewed.is_none_or(|renewed| self.now <= until(renewed))
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
            pace: bounds.pace,
            trouble: Trouble::default(),
        }
    }

    /// The sessions, whose callers stand side by side.
    pub(super) fn sessions(&self) -> impl Iterator<Item = LeaseId> {
        let mut last = None;
        let all = self.callers.iter().map(|caller| caller.session);
        all.filter(move |session| last.replace(*session) != Some(*session))
    }

    /// Feeds the machine and does what it says at once, but for what takes time. Returns what it told callers.
    pub(super) fn feed(&mut self, input: Input, now: u64, bug: Option<Bug>) -> Vec<Output> {
        let clock = Clock {
            now,
            ended: &self.ended,
            renewed: &self.trouble.renewed,
            pace: self.pace,
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

    /// Whether a heartbeat is due: in the explorer when time has passed since an entry was confirmed, in a walk so many
    /// ticks after the last one.
    pub(super) fn is_due(&self, session: LeaseId, now: u64) -> bool {
        let Some(heartbeat) = self.pace.heartbeat() else {
            let confirmed = self.queue.confirmed(session);
            return confirmed.is_some_and(|confirmed| confirmed.0 < now);
        };
        let beaten = self.trouble.beaten.get(&session);
        let is_time = beaten.is_none_or(|beaten| beaten + heartbeat <= now);
        is_time && self.queue.heartbeat(session).next().is_some()
    }

    pub(super) fn caller(&mut self, caller: CallerId) -> &mut Caller {
        &mut self.callers[caller.0 as usize]
    }

    /// The callers that believe to hold the lock, with their sessions.
    pub(super) fn claims(&self, now: u64) -> impl Iterator<Item = (LeaseId, CallerId)> {
        let clock = Clock {
            now,
            ended: &self.ended,
            renewed: &self.trouble.renewed,
            pace: self.pace,
            bug: None,
        };
        self.sessions().filter_map(move |session| {
            let (caller, confirmed) = self.queue.holder(session)?;
            clock
                .is_valid(session, confirmed)
                .then_some((session, caller))
        })
    }
}
