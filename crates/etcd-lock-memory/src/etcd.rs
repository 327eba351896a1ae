//! The model on tokio's clock, shared by all who hold a handle.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use etcd_lock_core::LeaseId;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::model::{LockCall, Model, ModelOptions, StreamId};

/// An etcd in this process. Clones share it.
///
/// It is a [`Transport`](etcd_lock_core::Transport), on tokio's clock: under a paused clock a test that waits for a lease
/// of 60 s ends in milliseconds. Waiting calls must run inside a tokio runtime.
///
/// Its `lock` is etcd's `Lock` RPC, with the hazards of that. `etcd_lock::in_memory` has a client with the wait queue that
/// connections to a real etcd have.
#[derive(Clone)]
pub struct MemoryEtcd(Arc<Shared>);

impl MemoryEtcd {
    /// An empty etcd.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(ModelOptions::new())
    }

    /// An empty etcd that behaves as told.
    #[must_use]
    pub fn with_options(options: ModelOptions) -> Self {
        Self::from(Model::new(options))
    }

    /// Ends a lease now, as if its time were up.
    pub fn expire_lease(&self, lease: LeaseId) {
        let request = etcd_lock_proto::etcdserverpb::LeaseRevokeRequest::from(lease);
        // One that is gone already has ended, too.
        let _ = self.with(|model| model.lease_revoke(&request));
    }

    /// Does something with the model at the present time, and wakes all whom it concerns.
    pub fn with<T>(&self, access: impl FnOnce(&mut Model) -> T) -> T {
        self.0.with(access)
    }

    /// A signal for the replies of a watch stream.
    pub(crate) fn stream_signal(&self, stream: StreamId) -> Arc<Notify> {
        self.0.state().streams.entry(stream).or_default().clone()
    }

    /// A signal for the answer to a call of `Lock`.
    pub(crate) fn lock_signal(&self, call: LockCall) -> Arc<Notify> {
        self.0.state().locks.entry(call).or_default().clone()
    }

    pub(crate) fn forget_stream(&self, stream: StreamId) {
        self.with(|model| model.close_watch_stream(stream));
        self.0.state().streams.remove(&stream);
    }

    pub(crate) fn forget_lock(&self, call: LockCall) {
        self.with(|model| model.cancel_lock(call));
        self.0.state().locks.remove(&call);
    }

    /// Makes sure that leases end while somebody only waits; anew where the runtime that saw to it has ended.
    pub(crate) fn ensure_ticking(&self) {
        let mut state = self.0.state();
        if state.ticker.as_ref().is_none_or(JoinHandle::is_finished) {
            state.ticker = Some(tokio::spawn(tick(Arc::downgrade(&self.0))));
        }
    }
}

/// An etcd that goes on from a model's state: a copy of another one, as of when that was cloned.
impl From<Model> for MemoryEtcd {
    fn from(model: Model) -> Self {
        let state = State {
            model,
            streams: HashMap::new(),
            locks: HashMap::new(),
            ticker: None,
            tick_at: None,
        };
        Self(Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(state),
            retick: Notify::new(),
        }))
    }
}

impl Default for MemoryEtcd {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryEtcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.0.state().model.revision();
        f.debug_struct("MemoryEtcd")
            .field("revision", &revision)
            .finish_non_exhaustive()
    }
}

struct Shared {
    started: Instant,
    state: Mutex<State>,
    /// A lease ends earlier than the ticker thinks.
    retick: Notify,
}

struct State {
    model: Model,
    streams: HashMap<StreamId, Arc<Notify>>,
    locks: HashMap<LockCall, Arc<Notify>>,
    ticker: Option<JoinHandle<()>>,
    tick_at: Option<Instant>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, access: impl FnOnce(&mut Model) -> T) -> T {
        let mut state = self.state();
        state.model.advance(self.started.elapsed());
        let result = access(&mut state.model);
        state.wake();
        let next = state
            .model
            .next_deadline()
            .map(|deadline| self.started + deadline);
        if next.is_some() && state.tick_at.is_none_or(|at| next < Some(at)) {
            self.retick.notify_one();
        }
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(ticker) = self.state().ticker.take() {
            ticker.abort();
        }
    }
}

impl State {
    fn wake(&mut self) {
        if !self.model.has_news() {
            return;
        }
        for stream in self.model.take_dirty_streams() {
            if let Some(signal) = self.streams.get(&stream) {
                signal.notify_one();
            }
        }
        for call in self.model.answered_locks() {
            if let Some(signal) = self.locks.get(&call) {
                signal.notify_one();
            }
        }
    }
}

/// Lets time pass for the model whenever a lease is due.
async fn tick(shared: Weak<Shared>) {
    loop {
        let Some(alive) = shared.upgrade() else {
            return;
        };
        alive.with(|_| ());
        let due = {
            let mut state = alive.state();
            state.tick_at = state
                .model
                .next_deadline()
                .map(|deadline| alive.started + deadline);
            state.tick_at
        };
        match due {
            Some(due) => {
                let sleep = sleep_until(due);
                tokio::pin!(sleep);
                futures_util::future::select(sleep, std::pin::pin!(alive.retick.notified())).await;
            }
            None => alive.retick.notified().await,
        }
    }
}
