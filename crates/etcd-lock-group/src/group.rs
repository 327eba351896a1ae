//! The way of a transaction: alone at once, or into the next request with those that wait beside it.
//!
//! Callers often come together, woken by the replies to one request. Were each sent as it comes, the first of them would take
//! all slots for requests of their own, and the others would wait until one of these is answered. So only a transaction that
//! finds nothing on its way goes at once. While anything is, a task sends those that wait, and it runs after the callers that
//! are ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_lock_core::kv::{TxnRequest, TxnResponse};
use etcd_lock_core::{CallOptions, Result, Transport};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::access::Access;
use crate::batch::{Limits, Size};
use crate::claims::Claims;
use crate::commit::Batch;
use crate::member::{Member, Wait};
use crate::metrics;
use crate::slots::{Slot, Slots};
use crate::turns::{Turns, session_of};

/// What all callers of one transport share.
#[derive(Debug)]
pub(crate) struct Group {
    transport: Arc<dyn Transport>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) slots: Slots,
    /// The transactions without a slot. Their keys, and those of the transactions that share a request now, are claimed.
    waiting: Turns<Member>,
    pub(crate) claims: Claims,
    pub(crate) limits: Limits,
}

/// What a transaction finds on arrival.
enum Arrival {
    /// It goes alone, in a free slot or, for its own reasons, without one.
    Alone(Option<RunningSlot>),
    /// A place among those that wait.
    Waits(Wait),
}

impl Group {
    pub(crate) fn new(transport: Arc<dyn Transport>, slots: usize) -> Self {
        metrics::describe();
        let state = State {
            slots: Slots::new(slots),
            waiting: Turns::default(),
            claims: Claims::default(),
            limits: Limits::default(),
        };
        Self {
            transport,
            state: Mutex::new(state),
        }
    }

    pub(crate) const fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(crate) async fn txn(
        self: &Arc<Self>,
        txn: TxnRequest,
        options: CallOptions,
    ) -> Result<TxnResponse> {
        match self.arrive(&txn, options) {
            Arrival::Alone(_slot) => self.transport.txn(txn, options).await,
            Arrival::Waits(wait) => wait.reply(self).await,
        }
    }

    fn arrive(self: &Arc<Self>, txn: &TxnRequest, options: CallOptions) -> Arrival {
        if txn.is_read_only() {
            return Arrival::Alone(None);
        }
        let now = Instant::now();
        let mut state = self.state();
        if state.slots.are_idle()
            && let Some(slot) = state.slots.take(now)
        {
            return Arrival::Alone(Some(self.running(slot, now)));
        }
        drop(state);

        // Outside of a runtime there is none for the request's task.
        let (Some(access), Ok(runtime)) = (Access::of(txn), Handle::try_current()) else {
            return Arrival::Alone(None);
        };
        let mut state = self.state();
        if !state.claims.claim(&access.keys) {
            return Arrival::Alone(None);
        }
        let is_sender_due = state.waiting.is_empty() && state.slots.are_free();
        let (member, wait) = Member::new(txn, access, now, options, runtime.clone());
        state.waiting.push(session_of(txn), member);
        drop(state);
        // Where others wait already a task is about to run, or the end of a request sends them.
        if is_sender_due {
            let group = self.clone();
            runtime.spawn(async move {
                yield_now().await;
                group.send_waiting();
            });
        }
        Arrival::Waits(wait)
    }

    fn running(self: &Arc<Self>, slot: Slot, begun: Instant) -> RunningSlot {
        RunningSlot {
            group: self.clone(),
            slot,
            begun,
        }
    }

    /// How long a request may keep its slot.
    pub(crate) fn patience(&self) -> Duration {
        self.state().slots.patience()
    }

    /// Takes the slots of requests that take too long for those that wait.
    pub(crate) fn give_up_overdue(self: &Arc<Self>) {
        self.state().slots.give_up_overdue(Instant::now());
        self.send_waiting();
    }

    /// Sends those that wait, as far as there are slots.
    fn send_waiting(self: &Arc<Self>) {
        loop {
            let now = Instant::now();
            let mut state = self.state();
            if state.waiting.is_empty() {
                return;
            }
            let Some(slot) = state.slots.take(now) else {
                return;
            };
            let slot = self.running(slot, now);
            let batch = state.next_batch(self);
            drop(state);
            // The caller that came last was polled a moment ago, so its runtime is being driven.
            let Some(last) = batch.members.iter().max_by_key(|member| member.arrived) else {
                return;
            };
            let runtime = last.runtime.clone();
            runtime.spawn(batch.run(slot));
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next transactions that fit into one request.
    fn next_batch(&mut self, group: &Arc<Group>) -> Batch {
        let mut batch = Batch {
            group: group.clone(),
            members: Vec::new(),
        };
        let mut size = Size::default();
        loop {
            // The first one always fits.
            let fits = |next: &Member| {
                batch.members.is_empty() || self.limits.allow(size.plus(&next.access))
            };
            let Some(next) = self.waiting.pop_if(fits) else {
                return batch;
            };
            if next.is_to_be_sent() {
                size = size.plus(&next.access);
                batch.members.push(next);
            } else {
                self.claims.release(&next.access.keys);
            }
        }
    }
}

/// A slot that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct RunningSlot {
    group: Arc<Group>,
    slot: Slot,
    begun: Instant,
}

impl Drop for RunningSlot {
    fn drop(&mut self) {
        self.group
            .state()
            .slots
            .end(self.slot, self.begun, Instant::now());
        self.group.send_waiting();
    }
}
