//! The state of one lock of a client: its machine, the sessions and callers that take part, and what is told to callers.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use etcd_lock_core::{Error, LeaseId, LockKey, ResponseHeader, Result, Revision};
use etcd_lock_queue::{CallerId, Failure, Input, LockQueue, Request, Stamp, Timer, Validity};

use super::callers::{Callers, Grant, Kind, Slot};
use super::failures::failure;
use crate::backoff::Backoff;
use crate::clock::{Clock, until};
use crate::validity::Lease;

/// The machine, and what the driver keeps beside it.
pub(super) struct State {
    pub(super) machine: LockQueue,
    pub(super) callers: Callers,
    pub(super) members: BTreeMap<LeaseId, Member>,
    /// Of the newest answer or event.
    pub(super) header: ResponseHeader,
    pub(super) reads_backoff: Option<Backoff>,
}

/// A session, or a bare lease, that takes part.
pub(super) struct Member {
    pub(super) lease: Arc<Lease>,
    /// The description of the owner in its next entry.
    pub(super) owner: Bytes,
    /// Why its last request to enter failed, and when.
    pub(super) failure: Option<(Stamp, Error)>,
    pub(super) backoff: Option<Backoff>,
    /// The entries before its own, where somebody asked.
    pub(super) position: Option<usize>,
    /// The hold of a bare lease, which no guard stands for.
    pub(super) bare_hold: Option<CallerId>,
}

impl State {
    /// A caller of a lease, which takes part from now on.
    ///
    /// # Errors
    /// When the lease has ended. That is looked at here, under the lock, so that the end of a session comes before or after
    /// all that its caller does.
    pub(super) fn add_caller(
        &mut self,
        lease: &Arc<Lease>,
        owner: &Bytes,
        kind: Kind,
    ) -> Result<CallerId> {
        if let Some(error) = lease.ended() {
            return Err(error.clone());
        }
        let member = self.members.entry(lease.id()).or_insert_with(|| Member {
            lease: lease.clone(),
            owner: Bytes::new(),
            failure: None,
            backoff: None,
            position: None,
            bare_hold: None,
        });
        member.owner = owner.clone();
        Ok(self.callers.add(lease.id(), kind))
    }

    /// Forgets a session that has nothing to do with the lock any more.
    pub(super) fn leave(&mut self, session: LeaseId) {
        if !self.machine.is_involved(session) && !self.callers.has_any_of(session) {
            self.members.remove(&session);
        }
    }

    /// An answer or an event of this header came.
    pub(super) fn saw(&mut self, header: ResponseHeader) {
        if header.revision >= self.header.revision {
            self.header = header;
        }
    }

    /// The reads of the queue are answered again.
    pub(super) fn reads_answered(&mut self) {
        self.reads_backoff = None;
    }

    pub(super) fn granted(
        &mut self,
        session: LeaseId,
        caller: CallerId,
        (created, handover): (Revision, u64),
        todo: &mut Todo,
    ) {
        let key = self.machine.key(session);
        let grant = Grant::new(key, created, handover, self.header);
        if let Some(member) = self.members.get_mut(&session) {
            member.failure = None;
            member.backoff = None;
        }
        todo.is_changed = true;
        self.callers
            .resolve(caller, Slot::Held(grant.clone()), todo);
        // A bare lease is granted a lock as one, however many callers wait with it, as etcd does it.
        if self.callers.is_bare(caller) {
            for other in self.callers.bare_waiters_of(session) {
                self.callers.resolve(other, Slot::Held(grant.clone()), todo);
                todo.cancelled.push(Input::Cancel(session, other));
            }
        }
    }

    pub(super) fn failed(&mut self, caller: CallerId, kind: Failure, todo: &mut Todo) {
        let session = self.callers.session_of(caller);
        let member = session.and_then(|session| self.members.get(&session));
        let error = failure(kind, member, self.machine.name());
        self.callers
            .resolve(caller, Slot::Failed(kind, error), todo);
        todo.is_changed = true;
    }

    pub(super) fn lost(&mut self, caller: CallerId, todo: &mut Todo) {
        todo.is_changed = true;
        if let Some(session) = self.callers.session_of(caller)
            && let Some(member) = self.members.get_mut(&session)
            && member.bare_hold == Some(caller)
        {
            member.bare_hold = None;
            self.callers.remove(caller);
            return self.leave(session);
        }
        self.callers.resolve(caller, Slot::Lost, todo);
    }
}

/// The work for when the state is no longer locked.
#[derive(Default)]
pub(super) struct Todo {
    pub(super) requests: Vec<Request>,
    pub(super) timers: Vec<Timer>,
    pub(super) wakers: Vec<Waker>,
    /// An entry that exists as of now.
    pub(super) entered: Option<(LeaseId, Revision)>,
    pub(super) is_changed: bool,
    /// Watches that were on already.
    pub(super) watched: Vec<(LockKey, Revision)>,
    /// Callers that got what they want without the machine.
    pub(super) cancelled: Vec<Input>,
}

/// The validity of the sessions that take part, at the moment when it is first asked for: most inputs need no clock.
pub(super) struct Now<'a> {
    members: &'a BTreeMap<LeaseId, Member>,
    clock: &'a Clock,
    now: OnceCell<Stamp>,
}

impl Validity for Now<'_> {
    fn is_fresh(&self, session: LeaseId, confirmed: Stamp) -> bool {
        let fresh = |lease: &Lease| until(self.now(), confirmed) <= lease.heartbeat();
        self.lease(session).is_some_and(fresh) && self.is_valid(session, confirmed)
    }

    fn is_valid(&self, session: LeaseId, confirmed: Stamp) -> bool {
        let lease = self.lease(session);
        lease.is_some_and(|lease| {
            lease.ended().is_none() && self.now() < lease.held_until(confirmed)
        })
    }
}

impl<'a> Now<'a> {
    pub(super) const fn new(members: &'a BTreeMap<LeaseId, Member>, clock: &'a Clock) -> Self {
        Self {
            members,
            clock,
            now: OnceCell::new(),
        }
    }

    fn now(&self) -> Stamp {
        *self.now.get_or_init(|| self.clock.now())
    }

    fn lease(&self, session: LeaseId) -> Option<&Lease> {
        self.members.get(&session).map(|member| &*member.lease)
    }
}
