//! The inputs of the machine and its outputs.

use etcd_lock_core::{LeaseId, LockKey, Revision};

use crate::attach::DetachedEntry;
use crate::handover::Limits;
use crate::request::{Observation, Reply, Request, Ticket};
use crate::value::Nonce;

/// The number that the driver gives to a caller, and uses again only after that caller's end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallerId(pub u32);

/// An instant of the driver's clock, which only the driver can read: the machine compares stamps and computes with none.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Stamp(pub u64);

/// The verdict of the driver's clock on a stamp, at the moment of an input.
pub trait Validity {
    /// Whether no more than one heartbeat has passed since `confirmed`: an entry that was seen to exist then may be granted.
    fn is_fresh(&self, session: LeaseId, confirmed: Stamp) -> bool;

    /// Whether the lease of the session is valid, and a hold that was confirmed then may be relied on: less than 0.9 TTL,
    /// less the grace, has passed.
    fn is_valid(&self, session: LeaseId, confirmed: Stamp) -> bool;
}

/// Whether a caller waits for the lock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Mode {
    /// It wants the lock now or not at all.
    Try,
    /// It waits.
    Wait,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "each says what is done next")]
pub enum RequestFailure {
    /// Nobody knows whether it was or will be executed.
    InDoubt,
    /// It was certainly not executed; later it may be.
    NotExecuted,
    /// It was certainly not executed, and would be refused again.
    Refused,
}

/// Why a caller does not get the lock.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Failure {
    /// Another entry or another task of the session is before a caller that does not wait.
    Busy,
    /// Somebody else deleted the entry while it waited. The session is as it was.
    Deleted,
    /// Another process has an entry under the same lease.
    Foreign,
    /// The server refused the request.
    Refused,
    /// The session has ended.
    SessionLost,
}

/// A timer that a driver keeps for the machine. One that fires late or once too often does no harm.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Timer {
    /// Until a request of this session is sent again: a back-off.
    Retry(LeaseId),
    /// Until failed reads are sent again: a back-off.
    Reads,
    /// Until the session asks whether anybody waits for the lock that its tasks hand over.
    Ask(LeaseId),
    /// How long tasks of this session may hand the lock over since another waiter was known.
    Turn(LeaseId),
    /// Until the entry of this session is 100 ms old. The driver fires it without being asked, where it exists by then.
    Aged(LeaseId),
    /// Until the hold of this session is no longer valid. The driver fires it without being asked.
    Expired(LeaseId),
}

/// An input: something that happened.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// A caller wants the lock, for a session.
    Acquire {
        /// The lease of the session, which is valid.
        session: LeaseId,
        /// Which caller.
        caller: CallerId,
        /// Whether it waits.
        mode: Mode,
        /// Fresh randomness, used if this begins a new attempt.
        nonce: Nonce,
        /// How far the tasks of the session may go before others.
        limits: Limits,
    },
    /// A caller goes on with a hold that another process has detached. It is not granted the lock, and waits for nothing: the
    /// hold goes on, or the caller fails at once.
    Attach {
        /// The lease of the hold, which is valid.
        session: LeaseId,
        /// Which caller.
        caller: CallerId,
        /// How far the tasks of the session may go before others.
        limits: Limits,
        /// The entry of the hold.
        entry: DetachedEntry,
    },
    /// A caller no longer wants the lock, whether it was granted meanwhile or not.
    Cancel(LeaseId, CallerId),
    /// A caller ends its hold.
    Release(LeaseId, CallerId),
    /// A holder has sent a fenced write.
    WriteSent(LeaseId, CallerId),
    /// A fenced write was answered, or is known not to be executed. One in doubt never is.
    WriteAnswered(LeaseId, CallerId),
    /// A request was answered.
    Replied {
        /// Which request.
        request: Ticket,
        /// When the answered attempt was sent, or earlier.
        sent: Stamp,
        /// The answer.
        reply: Reply,
    },
    /// A request failed.
    Failed(Ticket, RequestFailure),
    /// A heartbeat was answered.
    Observed {
        /// When the answered attempt was sent, or earlier.
        sent: Stamp,
        /// The result of the read.
        observations: Vec<Observation>,
    },
    /// A watch reported a deletion.
    Deleted(LockKey, Revision),
    /// A watch was created at this revision: it reports what comes later, and nothing of what was before.
    Watching(LockKey, Revision),
    /// A watch ended: its stream broke, the server cancelled it, or refused it for an ended login.
    WatchLost(LockKey),
    /// A session was lost or closed, or its lease has ended.
    SessionEnded(LeaseId),
    /// Somebody wants to know the position of a waiting session.
    AskPosition(LeaseId),
    /// A timer fired.
    Fired(Timer),
}

/// An output: something to do.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Send this request, and answer it once.
    Send(Request),
    /// Watch the deletion of this key from now on, and again when the watch is lost.
    Watch(LockKey),
    /// End the watch of this key.
    Unwatch(LockKey),
    /// The caller holds the lock.
    Granted {
        /// For which session.
        session: LeaseId,
        /// Which caller.
        caller: CallerId,
        /// The create revision of the entry: the first part of the fencing token.
        created: Revision,
        /// The hand-overs between tasks since: its second part.
        handover: u64,
    },
    /// The caller goes on with a hold that another process has detached.
    Attached {
        /// For which session.
        session: LeaseId,
        /// Which caller.
        caller: CallerId,
        /// The create revision of the entry: the first part of the fencing token.
        created: Revision,
        /// The hand-overs in the other process: its second part.
        handover: u64,
    },
    /// The caller does not get the lock.
    Failed(CallerId, Failure),
    /// The release is done: the entry is known to be deleted, or the lock was handed over.
    Released(CallerId),
    /// The caller's hold was lost: its entry was deleted by somebody else, could not be confirmed in time, or its session
    /// has ended.
    Lost(CallerId),
    /// How many entries were before this session's when they were last read or seen deleted, after somebody asked.
    Position(LeaseId, usize),
    /// Start a timer.
    Start(Timer),
}
