//! One lock of a client: its state machine, the callers that want it, and what is done with the machine's outputs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::{Error, LeaseId, LockKey, LockName, ResponseHeader};
use etcd_lock_queue::{Failure, Input, LockQueue, Observation, Output, Request, Stamp, Timer};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Inner;
use super::callers::{Callers, Slot};
use super::requests::{Call, Flight};
use super::state::{Now, State, Todo};
use crate::backoff::Backoff;
use crate::metrics;
use crate::tuning::Tuning;
use crate::watches::{News, Subscriber};

/// A handle on one lock of a client. The lock is forgotten when the last handle is gone and nothing is left to do.
pub(crate) struct Lock {
    pub(crate) queue: Arc<Inner>,
    pub(super) shared: Arc<Shared>,
}

/// The state that all handles on a lock share.
pub(super) struct Shared {
    name: LockName,
    queue: Weak<Inner>,
    /// How many handles there are.
    users: AtomicUsize,
    state: Mutex<State>,
    /// A hold was granted or lost, or a position has changed.
    changed: Notify,
}

impl Lock {
    pub(super) fn new(queue: Arc<Inner>, shared: Arc<Shared>) -> Self {
        shared.users.fetch_add(1, SeqCst);
        Self { queue, shared }
    }

    pub(crate) fn name(&self) -> &LockName {
        &self.shared.name
    }

    /// Gives the machine an input and does what it asks for. A request that `is_inline` names is not sent in a task of its
    /// own but returned, for the caller to run.
    pub(super) fn feed(&self, input: Input, is_inline: impl Fn(&Request) -> bool) -> Option<Call> {
        self.change(is_inline, |state, todo| self.handle(state, input, todo))
    }

    /// The same for several inputs, and without a request that a caller would run.
    pub(super) fn feed_all(&self, inputs: impl IntoIterator<Item = Input>) {
        self.change(none, |state, todo| {
            for input in inputs {
                self.handle(state, input, todo);
            }
        });
    }

    /// Changes the state, and does what is to be done when it is no longer locked.
    pub(super) fn change(
        &self,
        is_inline: impl Fn(&Request) -> bool,
        change: impl FnOnce(&mut State, &mut Todo),
    ) -> Option<Call> {
        let mut todo = Todo::default();
        change(&mut self.state(), &mut todo);
        self.perform(todo, is_inline)
    }

    /// One input, and the outputs that follow.
    pub(super) fn handle(&self, state: &mut State, input: Input, todo: &mut Todo) {
        let now = Now::new(&state.members, &self.queue.clock);
        state.machine.handle(input, &now);
        while let Some(output) = state.machine.poll_output() {
            self.take_output(state, output, todo);
        }
        if let Some((key, revision)) = todo.watched.pop() {
            self.handle(state, Input::Watching(key, revision), todo);
        }
        if let Some(cancelled) = todo.cancelled.pop() {
            self.handle(state, cancelled, todo);
        }
    }

    fn take_output(&self, state: &mut State, output: Output, todo: &mut Todo) {
        match output {
            Output::Send(request) => todo.requests.push(request),
            Output::Watch(key) => {
                let watches = &self.queue.watches;
                if let Some(since) = watches.watch(key.as_bytes(), self.shared.clone()) {
                    todo.watched.push((key, since));
                }
            }
            Output::Unwatch(key) => self.queue.watches.unwatch(key.as_bytes()),
            Output::Granted {
                session,
                caller,
                created,
                handover,
            } => {
                if handover > 0 {
                    metrics::handed_over();
                }
                state.granted(session, caller, (created, handover), todo);
            }
            Output::Attached {
                session,
                caller,
                created,
                handover,
            } => {
                todo.entered = Some((session, created));
                state.granted(session, caller, (created, handover), todo);
            }
            Output::Failed(caller, kind) => state.failed(caller, kind, todo),
            Output::Released(caller) => state.callers.resolve(caller, Slot::Released, todo),
            Output::Lost(caller) => state.lost(caller, todo),
            Output::Position(session, position) => {
                if let Some(member) = state.members.get_mut(&session) {
                    let told = member.position.replace(position);
                    todo.is_changed |= told != Some(position);
                }
            }
            Output::Start(timer) => todo.timers.push(timer),
            _ => {}
        }
    }

    fn perform(&self, todo: Todo, is_inline: impl Fn(&Request) -> bool) -> Option<Call> {
        for waker in todo.wakers {
            waker.wake();
        }
        if todo.is_changed {
            self.shared.changed.notify_waiters();
        }
        if let Some((session, created)) = todo.entered {
            self.queue.upkeep.watch_when_aged(self, session, created);
        }
        let mut inline = None;
        for request in todo.requests {
            let is_inline = inline.is_none() && is_inline(&request);
            let call = Flight::new(self.clone(), request).run();
            if is_inline {
                inline = Some(call);
            } else {
                self.spawn(call);
            }
        }
        for timer in todo.timers {
            self.start(timer);
        }
        inline
    }

    /// Starts a timer. Its length is drawn in its own task: where a runtime is ending, nothing of that may happen, or a
    /// simulated process would draw other numbers whenever its tasks are dropped in another order.
    fn start(&self, timer: Timer) {
        let lock = self.clone();
        self.spawn(Box::pin(async move {
            if let Some(pause) = lock.pause_before(timer) {
                tokio::time::sleep(pause).await;
                lock.feed(Input::Fired(timer), none);
            }
        }));
    }

    /// How long a timer takes, unless nobody needs it any more.
    fn pause_before(&self, timer: Timer) -> Option<Duration> {
        let tuning = &self.queue.tuning;
        Some(match timer {
            Timer::Ask(_) => tuning.ask_interval,
            Timer::Turn(_) => tuning.handover_time,
            Timer::Retry(session) => {
                let mut state = self.state();
                next_pause(&mut state.members.get_mut(&session)?.backoff, tuning)
            }
            _ => next_pause(&mut self.state().reads_backoff, tuning),
        })
    }

    /// Runs a future in a task of its own. Outside of any runtime, and where the runtime is ending, the upkeep sees to it
    /// that what is lost so is made up for.
    fn spawn(&self, future: Call) {
        let runtime = Handle::try_current()
            .ok()
            .or_else(|| self.queue.upkeep.runtime());
        if let Some(runtime) = runtime {
            runtime.spawn(future);
        }
    }

    /// Gives a hold up that could not be confirmed in time, and returns whether it did. The caller of a bare lease asked
    /// nobody to do that.
    pub(super) fn expire(&self, session: LeaseId) -> bool {
        let mut is_expired = false;
        self.change(none, |state, todo| {
            let holder = state.machine.holder(session);
            if holder.is_some_and(|(caller, _)| !state.callers.is_bare(caller)) {
                self.handle(state, Input::Fired(Timer::Expired(session)), todo);
                is_expired = state.machine.holder(session).is_none();
            }
        });
        is_expired
    }

    /// The waits of a session end with this error, and its entry is withdrawn.
    pub(super) fn refuse(&self, session: LeaseId, error: &Error) {
        self.change(none, |state, todo| {
            for caller in state.callers.waiters_of(session, |_| true) {
                let slot = Slot::Failed(Failure::Refused, error.clone());
                state.callers.resolve(caller, slot, todo);
                self.handle(state, Input::Cancel(session, caller), todo);
            }
        });
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Completes when a hold is granted or lost, or a position changes, from the first poll on.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Feeds the result of a read of a session's keys.
    pub(super) fn observe(
        &self,
        sent: Stamp,
        observations: Vec<Observation>,
        header: ResponseHeader,
    ) {
        self.change(none, |state, todo| {
            state.saw(header);
            self.handle(state, Input::Observed { sent, observations }, todo);
        });
    }
}

impl Clone for Lock {
    fn clone(&self) -> Self {
        Self::new(self.queue.clone(), self.shared.clone())
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lock").field(self.name()).finish()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.shared.users.fetch_sub(1, SeqCst) == 1 {
            self.queue.forget_if_unused(self.name());
        }
    }
}

impl Shared {
    pub(super) fn new(name: LockName, queue: Weak<Inner>) -> Self {
        Self {
            state: Mutex::new(State {
                machine: LockQueue::new(name.clone()),
                callers: Callers::default(),
                members: BTreeMap::new(),
                header: ResponseHeader::default(),
                reads_backoff: None,
            }),
            name,
            queue,
            users: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// No handle is left, and nothing to do.
    pub(super) fn is_unused(&self) -> bool {
        self.users.load(SeqCst) == 0 && self.state().machine.is_idle()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.name).finish()
    }
}

impl Subscriber for Shared {
    fn notify(self: Arc<Self>, key: &Bytes, news: News) {
        let (Some(queue), Ok(key)) = (self.queue.upgrade(), LockKey::new(key.clone())) else {
            return;
        };
        let lock = Lock::new(queue, self);
        match news {
            News::On(revision) => lock.feed_all([Input::Watching(key, revision)]),
            News::Deleted(header, revision) => {
                lock.change(none, |state, todo| {
                    state.saw(header);
                    lock.handle(state, Input::Deleted(key, revision), todo);
                });
            }
        }
    }
}

/// No request is run by a caller.
pub(super) const fn none(_: &Request) -> bool {
    false
}

fn next_pause(backoff: &mut Option<Backoff>, tuning: &Tuning) -> Duration {
    backoff.get_or_insert_with(|| Backoff::with(tuning)).next()
}
