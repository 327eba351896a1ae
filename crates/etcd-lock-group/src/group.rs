//! The way of a transaction: alone at once, or into the next request with those that wait beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_lock_core::kv::{Op, TxnRequest, TxnResponse};
use etcd_lock_core::{CallOptions, Error, ErrorKind, Result, Timeout, Transport};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, Span, debug_span};

use crate::access::{Access, Interval};
use crate::batch::{self, Limits, Size};
use crate::claims::Claims;
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
struct State {
    slots: Slots,
    /// The transactions without a slot. Their keys, and those of the transactions that share a request now, are claimed.
    waiting: Turns<Member>,
    claims: Claims,
    limits: Limits,
}

/// A transaction that shares a request, or waits to.
#[derive(Debug)]
struct Member {
    txn: TxnRequest,
    access: Access,
    claimed: Vec<Interval>,
    deadline: Option<Instant>,
    arrived: Instant,
    /// Whether it may have been sent: set before the caller is asked whether it still waits.
    is_sent: Arc<AtomicBool>,
    caller: oneshot::Sender<Result<TxnResponse>>,
    /// The runtime of its caller, and the caller's span.
    runtime: Handle,
    span: Span,
}

/// What a transaction finds on arrival.
enum Arrival {
    /// A slot: it goes alone.
    Slot(RunningSlot),
    /// A reason to go alone without a slot.
    Alone,
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
            Arrival::Slot(_slot) => self.transport.txn(txn, options).await,
            Arrival::Alone => self.transport.txn(txn, options).await,
            Arrival::Waits(wait) => wait.reply(self).await,
        }
    }

    fn arrive(self: &Arc<Self>, txn: &TxnRequest, options: CallOptions) -> Arrival {
        if only_reads(txn) {
            return Arrival::Alone;
        }
        let now = Instant::now();
        let mut state = self.state();
        if let Some(slot) = state.slots.take(now) {
            return Arrival::Slot(self.running(slot, now));
        }
        drop(state);

        let Some(access) = Access::of(txn) else {
            return Arrival::Alone;
        };
        let claimed = access.intervals();
        let mut state = self.state();
        if !state.claims.claim(&claimed) {
            return Arrival::Alone;
        }
        let is_sent = Arc::new(AtomicBool::new(false));
        let (caller, reply) = oneshot::channel();
        // A caller may wait for longer than a clock can count.
        let deadline = options.timeout.as_duration();
        let deadline = deadline.and_then(|timeout| now.checked_add(timeout));
        let member = Member {
            txn: txn.clone(),
            access,
            claimed,
            deadline,
            arrived: now,
            is_sent: is_sent.clone(),
            caller,
            runtime: Handle::current(),
            span: Span::current(),
        };
        state.waiting.push(session_of(txn), member);
        drop(state);
        // A slot may have become free in between, with nobody waiting for it then.
        self.send_waiting();
        Arrival::Waits(Wait {
            reply,
            is_sent,
            deadline,
        })
    }

    fn running(self: &Arc<Self>, slot: Slot, begun: Instant) -> RunningSlot {
        RunningSlot {
            group: self.clone(),
            slot,
            begun,
        }
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
            // The member that came last was polled a moment ago, so its runtime is being driven.
            let Some(last) = batch.members.last() else {
                return;
            };
            let runtime = last.runtime.clone();
            runtime.spawn(batch.run(slot));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next transactions that fit into one request.
    fn next_batch(&mut self, group: &Arc<Group>) -> Batch {
        let mut batch = Batch {
            group: group.clone(),
            size: Size::default(),
            members: Vec::new(),
        };
        loop {
            let mut size = None;
            let next = self.waiting.pop_if(|next| {
                size = batch.size.with(&next.access, self.limits);
                size.is_some()
            });
            let (Some(next), Some(size)) = (next, size) else {
                return batch;
            };
            next.is_sent.store(true, Ordering::SeqCst);
            if next.caller.is_closed() {
                self.claims.release(&next.claimed);
                continue;
            }
            batch.size = size;
            batch.members.push(next);
        }
    }
}

/// A slot that is given back when this is dropped.
#[derive(Debug)]
struct RunningSlot {
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

/// A caller's wait for the reply to a transaction that shares a request.
#[derive(Debug)]
struct Wait {
    reply: oneshot::Receiver<Result<TxnResponse>>,
    is_sent: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Wait {
    async fn reply(mut self, group: &Arc<Group>) -> Result<TxnResponse> {
        loop {
            let patience = group.state().slots.patience();
            let overdue = Instant::now() + patience;
            let wake = match self.is_sent.load(Ordering::SeqCst) {
                true => self.deadline,
                false => Some(
                    self.deadline
                        .map_or(overdue, |deadline| deadline.min(overdue)),
                ),
            };
            tokio::select! {
                biased;
                reply = &mut self.reply => return reply.unwrap_or_else(|_| Err(abandoned())),
                () = at(wake) => {}
            }
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                return self.time_out();
            }
            group.state().slots.give_up_overdue(Instant::now());
            group.send_waiting();
        }
    }

    fn time_out(mut self) -> Result<TxnResponse> {
        self.reply.close();
        if let Ok(reply) = self.reply.try_recv() {
            return reply;
        }
        // The sender looks whether this side is closed only after it has set the mark.
        let error = Error::new(ErrorKind::Timeout, "no answer to the transaction in time");
        Err(match self.is_sent.load(Ordering::SeqCst) {
            true => error.with_outcome_unknown(),
            false => error,
        })
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Transactions that are sent as one request.
#[derive(Debug)]
struct Batch {
    group: Arc<Group>,
    size: Size,
    members: Vec<Member>,
}

impl Batch {
    async fn run(self, slot: RunningSlot) {
        let span = debug_span!("txn.group", members = self.members.len());
        for member in &self.members {
            span.follows_from(&member.span);
            metrics::waited(member.arrived.elapsed());
        }
        metrics::sent_together(self.members.len());
        self.commit().instrument(span).await;
        // Callers that have got their replies come back at once with their next transactions. With the slot free already, the
        // first of them would go alone, and the others after it.
        yield_now().await;
        drop(slot);
    }

    async fn commit(mut self) {
        let transport = self.group.transport.clone();
        if let [member] = &self.members[..] {
            let reply = transport.txn(member.txn.clone(), self.options()).await;
            return self.answer_each(|_| reply.clone());
        }
        let members = self.members.iter();
        let request = batch::outer(members.map(|member| (&member.txn, &member.access)));
        let reply = transport.txn(request, self.options()).await;
        let reply = reply.and_then(|reply| {
            let header = reply.header;
            let replies = batch::replies(reply, self.members.len())?;
            Ok((header, replies))
        });
        match reply {
            Ok((header, replies)) => {
                let mut replies = replies.into_iter();
                self.answer_each(|txn| match replies.next() {
                    Some(reply) => batch::unpack(reply, header, txn),
                    None => Err(abandoned()),
                });
            }
            Err(error) if batch::is_fault_of_one(&error) => {
                self.group.state().limits.learn(self.size, &error);
                let [one, other] = self.halves();
                Box::pin(async { tokio::join!(one.commit(), other.commit()) }).await;
            }
            Err(error) => self.answer_each(|_| Err(error.clone())),
        }
    }

    /// As long as the most patient member has.
    fn options(&self) -> CallOptions {
        let deadlines = self.members.iter().map(|member| member.deadline);
        let latest = deadlines.collect::<Option<Vec<_>>>();
        CallOptions::new(match latest.and_then(|all| all.into_iter().max()) {
            Some(latest) => Timeout::After(latest.saturating_duration_since(Instant::now())),
            None => Timeout::Infinity,
        })
    }

    fn halves(&mut self) -> [Self; 2] {
        let rest = self.members.split_off(self.members.len() / 2);
        let members = [std::mem::take(&mut self.members), rest];
        members.map(|members| Self {
            group: self.group.clone(),
            size: members.iter().fold(Size::default(), |size, member| {
                size.with(&member.access, Limits::none()).unwrap_or(size)
            }),
            members,
        })
    }

    /// Gives each member its reply and ends its claims.
    fn answer_each(&mut self, mut reply: impl FnMut(&TxnRequest) -> Result<TxnResponse>) {
        let now = Instant::now();
        let members = std::mem::take(&mut self.members);
        let mut state = self.group.state();
        for member in &members {
            state.claims.release(&member.claimed);
            state.slots.answered(member.arrived, now);
        }
        drop(state);
        for member in members {
            let reply = reply(&member.txn);
            // The caller may be gone.
            drop(member.caller.send(reply));
        }
    }
}

/// Where a runtime ends, the task of the request is dropped with it.
impl Drop for Batch {
    fn drop(&mut self) {
        if !self.members.is_empty() {
            self.answer_each(|_| Err(abandoned()));
        }
    }
}

fn abandoned() -> Error {
    let text = "the task that sent the transaction ended with its runtime";
    Error::new(ErrorKind::Unavailable, text).with_outcome_unknown()
}

fn only_reads(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op, Op::Range(_)))
}
