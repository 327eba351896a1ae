//! A process's way out of its own runtime: everything that it says goes into an outbox, which the world empties.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use etcd_lock_core::kv::{Op, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{Error, LeaseId, LockRequest, LockResponse, Result};
use etcd_lock_session::System;
use tokio::sync::{mpsc, oneshot};

use super::notes::Note;
use crate::faults::CallKind;

/// A request that has one answer.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Grant(LeaseGrantRequest),
    Leases,
    Lock(LockRequest),
    Range(RangeRequest),
    Revoke(LeaseId),
    TimeToLive(LeaseTimeToLiveRequest),
    Txn(TxnRequest),
}

impl Call {
    /// Whether a second execution is as good as none.
    pub(super) fn is_idempotent(&self) -> bool {
        match self {
            Self::Grant(grant) => grant.id.is_some(),
            Self::Txn(txn) => txn.idempotent,
            Self::Lock(_) => false,
            _ => true,
        }
    }

    pub(super) fn kind(&self) -> CallKind {
        match self {
            Self::Grant(_) => CallKind::LeaseGrant,
            Self::Leases => CallKind::LeaseLeases,
            Self::Lock(_) => CallKind::Lock,
            Self::Range(_) => CallKind::Range,
            Self::Revoke(_) => CallKind::LeaseRevoke,
            Self::TimeToLive(_) => CallKind::LeaseTimeToLive,
            Self::Txn(txn) => CallKind::of_txn(txn),
        }
    }

    /// Whether it only reads keys, so that a member can answer it by itself.
    pub(super) fn is_read_only(&self) -> bool {
        match self {
            Self::Range(_) => true,
            Self::Txn(txn) => txn.is_read_only(),
            _ => false,
        }
    }

    /// Whether it carries the transactions of several callers.
    pub(super) fn is_group(&self) -> bool {
        matches!(self, Self::Txn(txn) if matches!(txn.success.first(), Some(Op::Txn(_))))
    }

    /// Whether it changes nothing, so that no failure leaves a doubt.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self, Self::Range(_) | Self::TimeToLive(_) | Self::Leases)
    }
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Grant(LeaseGrantResponse),
    Leases(LeaseLeasesResponse),
    Lock(LockResponse),
    Range(RangeResponse),
    Revoke(LeaseRevokeResponse),
    TimeToLive(LeaseTimeToLiveResponse),
    Txn(TxnResponse),
}

/// Where a stream's replies go.
#[derive(Debug)]
pub(super) enum StreamEnd {
    KeepAlive(mpsc::UnboundedSender<Result<LeaseKeepAliveResponse>>),
    Watch(mpsc::UnboundedSender<Result<WatchResponse>>),
}

impl StreamEnd {
    /// Ends the stream with an error. One that is only dropped ends without a status.
    pub(super) fn fail(&self, error: Error) {
        // A reader that is gone hears nothing.
        match self {
            Self::KeepAlive(sender) => drop(sender.send(Err(error))),
            Self::Watch(sender) => drop(sender.send(Err(error))),
        }
    }
}

/// A message on a stream.
#[derive(Clone, Debug)]
pub(super) enum StreamItem {
    KeepAlive(LeaseId),
    Watch(WatchRequest),
}

/// The operating system of a process: its computer may sleep, and its random numbers follow from the seed of the world.
impl System for Hub {
    fn suspended(&self) -> Duration {
        self.state().suspended
    }

    fn random(&self) -> Result<u64> {
        Ok(fastrand::u64(..))
    }
}

/// Something that a process says.
#[derive(Debug)]
pub(super) enum Outgoing {
    Call(u64, Call, oneshot::Sender<Result<Reply>>),
    Cancel(u64),
    Close(u64),
    Note(Note),
    Open(u64, StreamEnd),
    Send(u64, StreamItem),
}

/// The outbox of one life of a process, and the switch that stops its runtime.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    outbox: Vec<Outgoing>,
    last_id: u64,
    /// Its runtime is to stop as soon as nothing is ready.
    stop_when_idle: bool,
    idle: bool,
    main: Option<Waker>,
    dead: bool,
    /// For how long its computer has slept.
    suspended: Duration,
}

impl Hub {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A number for a call or a stream.
    pub(super) fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    /// Says something. The dead say nothing.
    pub(super) fn say(&self, outgoing: Outgoing) {
        let mut state = self.state();
        if !state.dead {
            state.outbox.push(outgoing);
        }
    }

    pub(super) fn note(&self, note: Note) {
        self.say(Outgoing::Note(note));
    }

    pub(super) fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.state().outbox)
    }

    pub(super) fn die(&self) {
        let mut state = self.state();
        state.dead = true;
        state.outbox.clear();
        // It holds the runtime, which holds this.
        state.main = None;
    }

    /// Begins a run of the runtime.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.stop_when_idle = false;
        state.idle = false;
    }

    /// The time of this run is up.
    pub(super) fn stop_when_idle(&self) {
        self.state().stop_when_idle = true;
    }

    /// The runtime is about to let time pass: it ends here when it was told to, or when it has said something.
    pub(super) fn parks(&self) {
        let mut state = self.state();
        if state.stop_when_idle || !state.outbox.is_empty() {
            state.idle = true;
            if let Some(main) = state.main.take() {
                main.wake();
            }
        }
    }

    /// Whether the run is over; otherwise `waker` is woken when it is.
    pub(super) fn is_over(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.main = Some(waker.clone());
        state.idle
    }

    /// The computer has slept, and the clock of the runtime stood still.
    pub(super) fn slept(&self, length: Duration) {
        self.state().suspended += length;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
