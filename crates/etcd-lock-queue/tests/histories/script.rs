//! A driver for scripts: it feeds one input at a time and returns what the machine does then.

use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};
use etcd_lock_queue::{
    CallerId, EntryId, Input, Limits, LockQueue, Mode, Nonce, Observation, Output, Reply, Request,
    RequestFailure, Snapshot, Stamp, Ticket, Timer, Validity,
};

/// How long after its confirmation an entry may be granted, in units of the script's clock.
pub(crate) const FRESH: u64 = 5;
/// How long after its confirmation a hold may be relied on.
pub(crate) const VALID: u64 = 9;

/// The machine of one lock `a` and a clock that the script sets.
pub(crate) struct Script {
    pub(crate) queue: LockQueue,
    limits: Limits,

    pub(crate) now: u64,
    /// The lease that is no longer valid.
    pub(crate) invalid: Option<i64>,
}

struct Clock(u64, Option<i64>);

impl Validity for Clock {
    fn is_fresh(&self, session: LeaseId, confirmed: Stamp) -> bool {
        self.is_valid(session, confirmed) && self.0 - confirmed.0 < FRESH
    }

    fn is_valid(&self, session: LeaseId, confirmed: Stamp) -> bool {
        self.0 - confirmed.0 < VALID && self.1 != Some(session.get())
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::with_handovers(512)
    }

    pub(crate) fn with_handovers(limit: u32) -> Self {
        Self {
            queue: LockQueue::new(name()),
            limits: Limits::new(limit),
            now: 100,
            invalid: None,
        }
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        self.queue.handle(input, &Clock(self.now, self.invalid));
        std::iter::from_fn(|| self.queue.poll_output()).collect()
    }

    pub(crate) fn acquire(&mut self, session: i64, caller: u32) -> Vec<Output> {
        self.acquire_as(session, caller, Mode::Wait)
    }

    pub(crate) fn try_acquire(&mut self, session: i64, caller: u32) -> Vec<Output> {
        self.acquire_as(session, caller, Mode::Try)
    }

    fn acquire_as(&mut self, session: i64, caller: u32, mode: Mode) -> Vec<Output> {
        self.input(Input::Acquire {
            session: lease(session),
            caller: CallerId(caller),
            mode,
            nonce: nonce(session),
            limits: self.limits,
        })
    }

    pub(crate) fn cancel(&mut self, session: i64, caller: u32) -> Vec<Output> {
        self.input(Input::Cancel(lease(session), CallerId(caller)))
    }

    pub(crate) fn release(&mut self, session: i64, caller: u32) -> Vec<Output> {
        self.input(Input::Release(lease(session), CallerId(caller)))
    }

    /// The request to enter has created the entry, and these were before it.
    pub(crate) fn entered(
        &mut self,
        session: i64,
        created: i64,
        before: &[(i64, i64)],
    ) -> Vec<Output> {
        self.entered_in((session, created), before, true)
    }

    /// The same in a queue of which only the newest entries were read.
    pub(crate) fn entered_a_long_queue(
        &mut self,
        session: i64,
        created: i64,
        before: &[(i64, i64)],
    ) -> Vec<Output> {
        self.entered_in((session, created), before, false)
    }

    fn entered_in(
        &mut self,
        (session, created): (i64, i64),
        before: &[(i64, i64)],
        is_complete: bool,
    ) -> Vec<Output> {
        let own = [(session, created)];
        let entries = before.iter().chain(&own).map(|(of, at)| entry(*of, *at));
        let newest = Snapshot::new(revision(created), revision(created), is_complete, entries);
        self.replied(
            Ticket::Enter(lease(session)),
            Reply::Entered {
                created: revision(created),
                nonce: Some(nonce(session)),
                revision: revision(created),
                newest: Some(newest),
            },
        )
    }

    /// The request to enter has found an entry.
    pub(crate) fn found(
        &mut self,
        session: i64,
        created: i64,
        nonce: Option<Nonce>,
    ) -> Vec<Output> {
        self.replied(
            Ticket::Enter(lease(session)),
            Reply::Entered {
                created: revision(created),
                nonce,
                revision: revision(created + 1),
                newest: None,
            },
        )
    }

    pub(crate) fn entry_deleted(&mut self, session: i64, at: i64) -> Vec<Output> {
        let revision = revision(at);
        self.replied(Ticket::Delete(lease(session)), Reply::Deleted { revision })
    }

    pub(crate) fn snapshot(&mut self, at: i64, up_to: i64, entries: &[(i64, i64)]) -> Vec<Output> {
        let entries = entries.iter().map(|(of, at)| entry(*of, *at));
        let snapshot = Snapshot::new(revision(at), revision(up_to), true, entries);
        self.replied(Ticket::Snapshot, Reply::Read(snapshot))
    }

    pub(crate) fn newest(&mut self, session: i64, at: i64, entries: &[(i64, i64)]) -> Vec<Output> {
        let entries = entries.iter().map(|(of, at)| entry(*of, *at));
        let snapshot = Snapshot::new(revision(at), revision(at), true, entries);
        self.replied(Ticket::Others(lease(session)), Reply::Read(snapshot))
    }

    /// The reply to a request that was sent just now.
    pub(crate) fn replied(&mut self, request: Ticket, reply: Reply) -> Vec<Output> {
        let sent = Stamp(self.now);
        self.input(Input::Replied {
            request,
            sent,
            reply,
        })
    }

    pub(crate) fn failed(&mut self, request: Ticket, failure: RequestFailure) -> Vec<Output> {
        self.input(Input::Failed(request, failure))
    }

    /// A heartbeat that was sent just now has read a key.
    pub(crate) fn heartbeat(&mut self, at: i64, of: i64, found: Option<i64>) -> Vec<Output> {
        let sent = Stamp(self.now);
        let observations = vec![observation(at, of, found)];
        self.input(Input::Observed { sent, observations })
    }

    pub(crate) fn checked(&mut self, at: i64, of: i64, found: Option<i64>) -> Vec<Output> {
        let reply = Reply::Checked(vec![observation(at, of, found)]);
        self.replied(Ticket::Check, reply)
    }

    /// A watch has reported a deletion.
    pub(crate) fn deleted(&mut self, of: i64, at: i64) -> Vec<Output> {
        self.input(Input::Deleted(key(of), revision(at)))
    }

    pub(crate) fn fired(&mut self, timer: Timer) -> Vec<Output> {
        self.input(Input::Fired(timer))
    }

    /// A caller holds the lock whose entry was created at this revision.
    pub(crate) fn hold(&mut self, session: i64, caller: u32, created: i64) {
        self.acquire(session, caller);
        let outputs = self.entered(session, created, &[]);
        assert_eq!(outputs, [granted(session, caller, created, 0)]);
    }

    pub(crate) fn holder(&self, session: i64) -> Option<CallerId> {
        let holder = self.queue.holder(lease(session));
        holder.map(|(caller, _)| caller)
    }
}

pub(crate) fn name() -> LockName {
    LockName::new("a").unwrap()
}

pub(crate) fn lease(of: i64) -> LeaseId {
    LeaseId::new(of).unwrap()
}

pub(crate) fn key(of: i64) -> LockKey {
    name().key(lease(of))
}

pub(crate) fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}

pub(crate) fn entry(of: i64, created: i64) -> EntryId {
    EntryId::new(key(of), revision(created))
}

/// The nonce of all attempts of a session.
pub(crate) fn nonce(of: i64) -> Nonce {
    Nonce::new(of.unsigned_abs())
}

fn observation(at: i64, of: i64, found: Option<i64>) -> Observation {
    let found = found.map(|created| (revision(created), Some(nonce(of))));
    Observation::new(key(of), revision(at), found)
}

pub(crate) fn granted(session: i64, caller: u32, created: i64, handover: u64) -> Output {
    Output::Granted {
        session: lease(session),
        caller: CallerId(caller),
        created: revision(created),
        handover,
    }
}

pub(crate) fn enter(session: i64) -> Output {
    Output::Send(Request::Enter {
        session: lease(session),
        nonce: nonce(session),
        reads_newest: true,
    })
}

pub(crate) fn delete(session: i64, created: i64) -> Output {
    Output::Send(Request::Delete {
        session: lease(session),
        created: revision(created),
    })
}

pub(crate) fn read(up_to: i64) -> Output {
    let up_to = revision(up_to);
    Output::Send(Request::Snapshot { up_to })
}

pub(crate) fn check(of: i64) -> Output {
    let keys = vec![key(of)];
    Output::Send(Request::Check { keys })
}

pub(crate) fn retry(session: i64) -> Output {
    Output::Start(Timer::Retry(lease(session)))
}
