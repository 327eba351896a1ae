//! The work of a client in the background for its entries: heartbeats, watches of longer holds, and what a runtime that
//! ended has left undone.
//!
//! It runs for as long as there is an entry to look after, in one task for all locks of a client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use etcd_lock_core::{LeaseId, Revision};
use etcd_lock_queue::{Input, Stage, Stamp, Timer};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Inner;
use super::heartbeat::{Beat, Key};
use super::lock::{Lock, Shared, none};
use crate::clock::after;
use crate::validity::Lease;

/// The task that looks after the entries of a client.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    is_running: Arc<AtomicBool>,
    /// Until when it sleeps, in nanoseconds; the latest of all times while it looks for what is due.
    sleeps_until: AtomicU64,
    /// The runtime on which it was started last.
    runtime: Mutex<Option<Handle>>,
    /// Holds that are not watched yet, the oldest first.
    young: Mutex<VecDeque<Young>>,
    wake: Arc<Notify>,
}

/// A hold that is watched when it is old enough.
#[derive(Debug)]
struct Young {
    due: Stamp,
    lock: Weak<Shared>,
    session: LeaseId,
    created: Revision,
}

impl Upkeep {
    /// An entry of this lease is to be looked after. Starts the task where it isn't running, also anew after the runtime
    /// that it ran on has ended, and wakes it where it would sleep too long.
    pub(super) fn ensure_runs(&self, queue: &Arc<Inner>, lease: &Lease, runtime: &Handle) {
        if self.is_running.swap(true, SeqCst) {
            if lease.next_beat.load(SeqCst) < self.sleeps_until.load(SeqCst) {
                self.wake.notify_one();
            }
            return;
        }
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime.clone());
        let running = Running(self.is_running.clone());
        runtime.spawn(run(Arc::downgrade(queue), self.wake.clone(), running));
    }

    /// The hold of this entry is watched once it is older.
    pub(super) fn watch_when_aged(&self, lock: &Lock, session: LeaseId, created: Revision) {
        let due = after(lock.queue.clock.now(), lock.queue.tuning.watched_age);
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        young.push_back(Young {
            due,
            lock: Arc::downgrade(&lock.shared),
            session,
            created,
        });
        if young.len() == 1 {
            self.wake.notify_one();
        }
    }

    /// A runtime for what is begun outside of any.
    pub(super) fn runtime(&self) -> Option<Handle> {
        self.runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A heartbeat has ended.
    pub(super) fn beaten(&self) {
        self.wake.notify_one();
    }

    fn next_aged(&self, now: Stamp) -> Option<Young> {
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = young.front().is_some_and(|first| first.due <= now);
        if is_due { young.pop_front() } else { None }
    }

    fn next_due(&self) -> Option<Stamp> {
        let young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        young.front().map(|first| first.due)
    }
}

/// Says that the task is running, until it ends or is dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

async fn run(queue: Weak<Inner>, wake: Arc<Notify>, running: Running) {
    loop {
        let Some(queue) = queue.upgrade() else {
            return;
        };
        queue.upkeep.sleeps_until.store(u64::MAX, SeqCst);
        let Some(next) = look_after(&queue) else {
            running.0.store(false, SeqCst);
            // A lock that came just now has found the task running.
            if look_after(&queue).is_none() || running.0.swap(true, SeqCst) {
                return std::mem::forget(running);
            }
            continue;
        };
        queue.upkeep.sleeps_until.store(next.0, SeqCst);
        let clock = queue.clock.clone();
        drop(queue);
        tokio::select! {
            biased;
            () = wake.notified() => {}
            () = clock.sleep_until(next) => {}
        }
    }
}

/// Does what is due, and returns when to look again, or `None` where nothing is left to look after.
fn look_after(queue: &Arc<Inner>) -> Option<Stamp> {
    let now = queue.clock.now();
    while let Some(young) = queue.upkeep.next_aged(now) {
        young.watch(queue);
    }
    queue.watches.ensure_driven();
    queue.forget_leases();
    let locks = queue.all_locks();
    let mut plan = Plan::new(now);
    for lock in &locks {
        plan.add(lock);
    }
    for (lock, session) in &plan.due {
        lock.feed_all([Timer::Retry(*session), Timer::Reads].map(Input::Fired));
    }
    let due = queue.upkeep.next_due();
    if !plan.is_busy && due.is_none() {
        return None;
    }
    // One look for all holds that come of age soon after each other.
    let due = due.map(|due| due.max(after(now, queue.tuning.watched_age / 4)));
    let next = plan.next.into_iter().chain(due).min();
    plan.beat(queue);
    Some(next.unwrap_or_else(|| after(now, Duration::from_secs(1))))
}

impl Young {
    fn watch(self, queue: &Arc<Inner>) {
        let Some(shared) = self.lock.upgrade() else {
            return;
        };
        let lock = Lock::new(queue.clone(), shared);
        lock.change(none, |state, todo| {
            let entry = state.machine.entry(self.session);
            if entry.is_some_and(|entry| entry.created == self.created) {
                lock.handle(state, Input::Fired(Timer::Aged(self.session)), todo);
            }
        });
    }
}

/// The work that is due now, and the time of the next.
struct Plan {
    now: Stamp,
    keys: Vec<Key>,
    due: Vec<(Lock, LeaseId)>,
    leases: BTreeMap<LeaseId, Arc<Lease>>,
    /// Bare leases of which a request may still be executed.
    in_doubt: BTreeMap<LeaseId, Arc<Lease>>,
    next: Option<Stamp>,
    is_busy: bool,
}

impl Plan {
    const fn new(now: Stamp) -> Self {
        Self {
            now,
            keys: Vec::new(),
            due: Vec::new(),
            leases: BTreeMap::new(),
            in_doubt: BTreeMap::new(),
            next: None,
            is_busy: false,
        }
    }

    fn add(&mut self, lock: &Lock) {
        let state = lock.state();
        self.is_busy |= !state.machine.is_idle();
        for (session, member) in &state.members {
            if !state.machine.is_involved(*session) || member.lease.is_beating.load(SeqCst) {
                continue;
            }
            let due = Stamp(member.lease.next_beat.load(SeqCst));
            if due > self.now {
                self.next = Some(self.next.map_or(due, |next| next.min(due)));
                continue;
            }
            self.leases.insert(*session, member.lease.clone());
            if state.machine.stage(*session) == Stage::InDoubt && !member.lease.has_session() {
                self.in_doubt.insert(*session, member.lease.clone());
            }
            self.due.push((lock.clone(), *session));
            self.keys
                .extend(state.machine.heartbeat(*session).map(|key| Key {
                    lock: lock.clone(),
                    session: *session,
                    key,
                }));
        }
    }

    /// Sends the heartbeats that are due.
    fn beat(self, queue: &Arc<Inner>) {
        if self.leases.is_empty() {
            return;
        }
        for lease in self.leases.values() {
            lease.is_beating.store(true, SeqCst);
        }
        let beat = Beat {
            queue: queue.clone(),
            leases: self.leases.into_values().collect(),
            in_doubt: self.in_doubt.into_values().collect(),
        };
        tokio::spawn(beat.run(self.keys));
    }
}
