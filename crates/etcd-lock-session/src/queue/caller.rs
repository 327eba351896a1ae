//! A caller's handle on a lock: from wanting it to the end of the hold.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use etcd_lock_core::{Error, ErrorKind, LeaseId, Result};
use etcd_lock_queue::{CallerId, Failure, Input, Limits, Nonce, Request, Stage, Stamp, Ticket};
use tokio::runtime::Handle;
use tokio::sync::futures::Notified;

use super::callers::{Grant, Kind, Slot};
use super::lock::{Lock, none};
use super::requests::Call;
use super::state::{State, Todo};
use crate::clock::until;
use crate::validity::Lease;

/// One caller of a lock. Dropping it gives up what it wants or holds, in the background.
///
/// The request that it causes runs in the caller's own task, so that an uncontended lock costs no other. When the handle is
/// dropped in the middle of a request, that goes on in a task of its own.
pub(crate) struct Caller {
    pub(super) lock: Lock,
    pub(super) lease: Arc<Lease>,
    pub(super) id: CallerId,
    /// The request that runs in the caller's task. The mutex is never locked: it lets guards be shared between threads.
    call: Mutex<Option<Call>>,
    runtime: Handle,
    begun: Stamp,
    /// Where the hold of a bare lease goes on without the handle.
    pub(super) is_detached: bool,
}

/// Why a caller did not get the lock.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: Failure,
    pub(crate) error: Error,
}

impl Lock {
    /// A caller wants the lock. Nothing waits here.
    ///
    /// # Errors
    /// When the lease has ended, and where the system has no random numbers.
    pub(crate) fn begin(
        &self,
        lease: &Arc<Lease>,
        kind: Kind,
        limits: Limits,
        owner: &Bytes,
        runtime: &Handle,
    ) -> Result<Caller> {
        let session = lease.id();
        let is_mine = |request: &Request| request.ticket() == Ticket::Enter(session);
        let mut begun = Ok(CallerId(0));
        let call = self.change(is_mine, |state, todo| {
            begun = self.acquire(state, todo, lease, (kind, limits), owner);
        });
        // Not before there is something to look after: the task would end where it runs on another thread meanwhile.
        self.queue.upkeep.ensure_runs(&self.queue, lease, runtime);
        begun.map(|id| Caller::new(self, lease, id, call, runtime.clone()))
    }

    fn acquire(
        &self,
        state: &mut State,
        todo: &mut Todo,
        lease: &Arc<Lease>,
        (kind, limits): (Kind, Limits),
        owner: &Bytes,
    ) -> Result<CallerId> {
        let session = lease.id();
        // While there is an entry, the machine keeps its nonce.
        let nonce = match state.machine.nonce(session) {
            Some(nonce) => nonce,
            None => Nonce::new(self.queue.clock.random()?),
        };
        let caller = state.add_caller(lease, owner, kind)?;
        let input = Input::Acquire {
            session,
            caller,
            mode: kind.mode(),
            nonce,
            limits,
        };
        self.handle(state, input, todo);
        Ok(caller)
    }
}

impl Caller {
    /// The handle of a caller that the lock knows, and the request that is the caller's to run.
    pub(super) fn new(
        lock: &Lock,
        lease: &Arc<Lease>,
        id: CallerId,
        call: Option<Call>,
        runtime: Handle,
    ) -> Self {
        Self {
            lock: lock.clone(),
            lease: lease.clone(),
            id,
            call: Mutex::new(call),
            runtime,
            begun: lock.queue.clock.now(),
            is_detached: false,
        }
    }

    pub(crate) const fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Waits for the grant.
    ///
    /// # Cancel safety
    /// Nothing is lost: the handle goes on wanting the lock.
    pub(crate) async fn granted(&mut self) -> Result<Grant, Refusal> {
        poll_fn(|cx| self.poll_granted(cx)).await
    }

    /// Waits until there is an entry, or the wait is over.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn entered(&mut self) -> Result<(), Refusal> {
        let lock = self.lock.clone();
        loop {
            let mut changed = pin!(lock.changed());
            changed.as_mut().enable();
            match self.outcome().await {
                Some(Err(refusal)) => return Err(refusal),
                Some(Ok(_)) => return Ok(()),
                None if lock.state().machine.entry(self.session()).is_some() => return Ok(()),
                None => {}
            }
            self.until(changed).await;
        }
    }

    /// Waits until the entry of a caller that did not wait is withdrawn, so that it keeps nobody else from a lock that is
    /// free by then. Where the server is slow, that goes on in the background.
    pub(crate) async fn withdrawn(&self) {
        let is_gone = async {
            loop {
                let mut changed = pin!(self.lock.changed());
                changed.as_mut().enable();
                if self.lock.state().machine.stage(self.session()) != Stage::Releasing {
                    return;
                }
                changed.await;
            }
        };
        // Late is as good as done: the deletion is repeated until it is answered.
        let _ = tokio::time::timeout(self.lease.attempt(), is_gone).await;
    }

    /// How the wait has ended, where it has.
    pub(crate) async fn outcome(&mut self) -> Option<Result<Grant, Refusal>> {
        poll_fn(|cx| {
            Poll::Ready(match self.poll_granted(cx) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Waits for a change, and goes on with the request under way.
    async fn until(&mut self, mut changed: Pin<&mut Notified<'_>>) {
        poll_fn(|cx| {
            if self.poll_call(cx) || self.poll_slot(cx).is_ready() {
                return Poll::Ready(());
            }
            changed.as_mut().poll(cx)
        })
        .await;
    }

    fn poll_granted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Grant, Refusal>> {
        self.poll_call(cx);
        self.poll_slot(cx)
    }

    fn poll_slot(&self, cx: &mut Context<'_>) -> Poll<Result<Grant, Refusal>> {
        let mut state = self.lock.state();
        match state.callers.slot(self.id) {
            Some(Slot::Waiting(waker)) => {
                set_waker(waker, cx);
                Poll::Pending
            }
            Some(Slot::Held(grant)) => Poll::Ready(Ok(grant.clone())),
            Some(Slot::Failed(kind, error)) => Poll::Ready(Err(Refusal {
                kind: *kind,
                error: error.clone(),
            })),
            // Lost between the grant and this poll.
            _ => {
                let kind = match self.lease.ended() {
                    Some(_) => Failure::SessionLost,
                    None => Failure::Deleted,
                };
                let error = self.why_lost();
                Poll::Ready(Err(Refusal { kind, error }))
            }
        }
    }

    /// Ends the hold, and waits until the entry is known to be deleted or another task holds the lock.
    ///
    /// # Errors
    /// When the deletion failed. It goes on in the background.
    ///
    /// # Cancel safety
    /// The release goes on in the background.
    pub(crate) async fn release(mut self) -> Result<()> {
        let session = self.session();
        let id = self.id;
        let is_mine = |request: &Request| request.ticket() == Ticket::Delete(session);
        let call = self.lock.change(is_mine, |state, todo| {
            if let Some(slot @ Slot::Held(_)) = state.callers.slot(id) {
                *slot = Slot::Releasing(None);
                self.lock.handle(state, Input::Release(session, id), todo);
            }
        });
        *self.call() = call;
        poll_fn(|cx| {
            self.poll_call(cx);
            let mut state = self.lock.state();
            match state.callers.slot(id) {
                Some(Slot::Releasing(waker)) => {
                    set_waker(waker, cx);
                    Poll::Pending
                }
                Some(Slot::NotReleased(error)) => Poll::Ready(Err(error.clone())),
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    /// How many are before this caller, in etcd's queue and among the tasks of its session; `None` where that is not known
    /// yet, and is asked for now.
    pub(crate) fn position(&self) -> Option<usize> {
        let session = self.session();
        let asked = Input::AskPosition(session);
        self.lock.feed_all([asked]);
        let mut state = self.lock.state();
        if matches!(state.callers.slot(self.id), Some(Slot::Held(_))) {
            return Some(0);
        }
        let tasks = state.machine.callers_before(session, self.id)?;
        if state.machine.holder(session).is_some() {
            return Some(tasks);
        }
        let entries = state.members.get(&session)?.position?;
        Some(entries + tasks)
    }

    /// Waits until something may have changed for this caller.
    pub(crate) async fn changed(&mut self, position: Option<usize>) {
        let lock = self.lock.clone();
        loop {
            let mut changed = pin!(lock.changed());
            changed.as_mut().enable();
            let is_over = self.outcome().await.is_some();
            if is_over || self.position() != position {
                return;
            }
            self.until(changed).await;
        }
    }

    /// The wait took too long: somebody else was before this caller, or etcd did not answer.
    pub(crate) fn timed_out(&self, bound: impl std::fmt::Display) -> Error {
        let session = self.session();
        let state = self.lock.state();
        if let Some(confirmed) = state.machine.confirmed(session)
            && !self.is_overdue(confirmed)
            && state.machine.is_behind(session, self.id)
        {
            let text = format!("the lock was not free within {bound}");
            return Error::new(ErrorKind::LockTimeout, text);
        }
        let has_entry = state.machine.entry(session).is_some();
        let member = state.members.get(&session);
        let failure = member.and_then(|member| member.failure.clone());
        let failure = failure.filter(|(at, _)| !has_entry && *at > self.begun);
        let error = failure.map_or_else(
            || {
                let text = format!("no answer from etcd for the lock within {bound}");
                Error::new(ErrorKind::Timeout, text)
            },
            |(_, failure)| failure,
        );
        match state.machine.stage(session) {
            // An earlier request may have been executed although the last one certainly was not.
            Stage::Entering | Stage::InDoubt => error.with_outcome_unknown(),
            _ => error,
        }
    }

    /// Whether an entry that was seen then should have been seen again by now, if etcd answered.
    fn is_overdue(&self, confirmed: Stamp) -> bool {
        let age = until(self.lock.queue.clock.now(), confirmed);
        age > self.lease.heartbeat() + self.lease.attempt()
    }

    pub(super) fn session(&self) -> LeaseId {
        self.lease.id()
    }

    /// Goes on with the request under way, and returns whether that has ended now. Nothing wakes the caller for its slot
    /// until it has looked at that again.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut call) = self.call().take() else {
            return false;
        };
        // The answer mostly resolves this slot. A task that is woken while it runs is polled once more, for which the runtime
        // wakes another thread.
        self.lock.state().callers.forget_waker(self.id);
        let ends = call.as_mut().poll(cx).is_ready();
        if !ends {
            *self.call() = Some(call);
        }
        ends
    }

    fn call(&mut self) -> &mut Option<Call> {
        self.call.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(call) = self.call().take() {
            self.runtime.spawn(call);
        }
        if self.is_detached {
            return;
        }
        let _runtime = self.runtime.enter();
        let (session, id) = (self.session(), self.id);
        self.lock.change(none, |state, todo| {
            if !state.callers.is_over(id) {
                // A release that was under way goes on, and so does what nobody waits for any more.
                self.lock.handle(state, Input::Cancel(session, id), todo);
            }
            state.callers.remove(id);
            state.leave(session);
        });
    }
}

fn set_waker(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
