//! The callers of one lock: how far each has come, and how it is woken.

use std::collections::BTreeMap;
use std::task::Waker;

use etcd_lock_core::{
    Error, FencingToken, LeaseId, LockKey, LockResponse, ResponseHeader, Revision,
};
use etcd_lock_queue::{CallerId, Failure, Mode};

use super::state::Todo;

/// The lock, as it was granted to one caller.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) key: LockKey,
    pub(crate) token: FencingToken,
    /// Of the newest answer or event when the lock was granted.
    pub(crate) header: ResponseHeader,
}

impl Grant {
    pub(super) const fn new(
        key: LockKey,
        created: Revision,
        handover: u64,
        header: ResponseHeader,
    ) -> Self {
        let token = FencingToken::new(created, handover);
        Self { key, token, header }
    }

    /// The answer to a caller without a guard.
    pub(super) fn response(&self) -> LockResponse {
        LockResponse::new(self.header, self.key.clone(), self.token.create_revision())
    }
}

/// How a caller came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// For a session, which will have a guard.
    Guarded(Mode),
    /// With a lease alone.
    Bare(Mode),
}

impl Kind {
    pub(crate) const fn mode(self) -> Mode {
        match self {
            Self::Bare(mode) | Self::Guarded(mode) => mode,
        }
    }
}

/// How far a caller has come.
#[derive(Debug)]
pub(super) enum Slot {
    Waiting(Option<Waker>),
    Held(Grant),
    Failed(Failure, Error),
    /// The hold is lost.
    Lost,
    /// It waits for the deletion of its entry.
    Releasing(Option<Waker>),
    Released,
    /// Its entry could not be deleted yet: that goes on without the caller.
    NotReleased(Error),
}

#[derive(Debug)]
struct Caller {
    session: LeaseId,
    kind: Kind,
    slot: Slot,
}

/// All callers, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Callers {
    places: Vec<Option<Caller>>,
    free: Vec<u32>,
    by_session: BTreeMap<LeaseId, Vec<CallerId>>,
}

impl Callers {
    pub(super) fn add(&mut self, session: LeaseId, kind: Kind) -> CallerId {
        let caller = Some(Caller {
            session,
            kind,
            slot: Slot::Waiting(None),
        });
        let id = match self.free.pop() {
            Some(free) => CallerId(free),
            None => {
                self.places.push(None);
                CallerId(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.places[id.0 as usize] = caller;
        self.by_session.entry(session).or_default().push(id);
        id
    }

    pub(super) fn remove(&mut self, id: CallerId) {
        let place = self.places.get_mut(id.0 as usize);
        let Some(caller) = place.and_then(Option::take) else {
            return;
        };
        self.free.push(id.0);
        if let Some(callers) = self.by_session.get_mut(&caller.session) {
            callers.retain(|other| *other != id);
            if callers.is_empty() {
                self.by_session.remove(&caller.session);
            }
        }
    }

    pub(super) fn slot(&mut self, id: CallerId) -> Option<&mut Slot> {
        let caller = self.places.get_mut(id.0 as usize)?.as_mut()?;
        Some(&mut caller.slot)
    }

    /// Whether the machine has nothing to do with a caller any more.
    pub(super) fn is_over(&self, id: CallerId) -> bool {
        let slot = self.get(id).map(|caller| &caller.slot);
        !matches!(
            slot,
            Some(Slot::Waiting(_) | Slot::Held(_) | Slot::Releasing(_))
        )
    }

    /// The caller is not to be woken until it waits again.
    pub(super) fn forget_waker(&mut self, id: CallerId) {
        if let Some(Slot::Waiting(waker) | Slot::Releasing(waker)) = self.slot(id) {
            *waker = None;
        }
    }

    /// Changes the slot of a caller, which is woken where it waits.
    pub(super) fn resolve(&mut self, id: CallerId, slot: Slot, todo: &mut Todo) {
        let Some(old) = self.slot(id) else {
            return;
        };
        if let Slot::Waiting(waker) | Slot::Releasing(waker) = std::mem::replace(old, slot) {
            todo.wakers.extend(waker);
        }
    }

    pub(super) fn session_of(&self, id: CallerId) -> Option<LeaseId> {
        self.get(id).map(|caller| caller.session)
    }

    pub(super) fn is_bare(&self, id: CallerId) -> bool {
        self.get(id)
            .is_some_and(|caller| matches!(caller.kind, Kind::Bare(_)))
    }

    pub(super) fn has_any_of(&self, session: LeaseId) -> bool {
        self.by_session.contains_key(&session)
    }

    pub(super) fn bare_waiters_of(&self, session: LeaseId) -> Vec<CallerId> {
        self.waiters_of(session, |kind| matches!(kind, Kind::Bare(_)))
    }

    /// Those of a session that wait for the lock, if their kind is one of these.
    pub(super) fn waiters_of(&self, session: LeaseId, is: impl Fn(Kind) -> bool) -> Vec<CallerId> {
        let waiting = |caller: &Caller| matches!(caller.slot, Slot::Waiting(_)) && is(caller.kind);
        let waiters = self.of(session).filter(|(_, caller)| waiting(caller));
        waiters.map(|(id, _)| id).collect()
    }

    /// The caller of a session that waits for the deletion of its entry.
    pub(super) fn releasing_of(&self, session: LeaseId) -> Option<CallerId> {
        let mut callers = self.of(session);
        let found = callers.find(|(_, caller)| matches!(caller.slot, Slot::Releasing(_)));
        found.map(|(id, _)| id)
    }

    fn of(&self, session: LeaseId) -> impl Iterator<Item = (CallerId, &Caller)> {
        let ids = self.by_session.get(&session).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    fn get(&self, id: CallerId) -> Option<&Caller> {
        self.places.get(id.0 as usize)?.as_ref()
    }
}
