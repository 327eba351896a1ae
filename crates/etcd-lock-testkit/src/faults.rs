//! Faults in one vocabulary: what may go wrong with calls, streams and watches.
//!
//! Tests over the in-memory etcd inject them through a [`FaultyTransport`]; the simulation draws them at random. A fault is
//! data: it says what happens, and the driver that injects it makes it happen.

mod transport;

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{Op, TxnRequest};
use etcd_lock_core::{Error, ErrorKind};
use etcd_lock_memory::model::{Model, StreamId, WatchRefusal};

pub use self::transport::{FaultyTransport, Sent};

/// The kinds of calls that a fault may befall.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallKind {
    /// Opening a keep-alive stream.
    KeepAlive,
    /// A lease is granted.
    LeaseGrant,
    /// All leases are listed.
    LeaseLeases,
    /// A lease is revoked.
    LeaseRevoke,
    /// A lease is asked for its time to live.
    LeaseTimeToLive,
    /// The `Lock` RPC.
    Lock,
    /// A range is read.
    Range,
    /// A transaction whose first operation deletes: a release or a withdrawal.
    TxnDelete,
    /// A transaction whose first operation puts: an entry or a fenced write.
    TxnPut,
    /// Any other transaction.
    TxnRead,
}

impl CallKind {
    /// The kind of a transaction. One that carries others is of the kind of those that put, if there are any.
    #[must_use]
    pub fn of_txn(txn: &TxnRequest) -> Self {
        match txn.success.first() {
            Some(Op::Delete(_)) => Self::TxnDelete,
            Some(Op::Put(_)) => Self::TxnPut,
            Some(Op::Txn(_)) => {
                let nested = txn.success.iter().filter_map(|op| match op {
                    Op::Txn(nested) => Some(Self::of_txn(nested)),
                    _ => None,
                });
                let puts = |kind: &Self| *kind == Self::TxnPut;
                nested
                    .clone()
                    .find(puts)
                    .or_else(|| nested.last())
                    .unwrap_or(Self::TxnRead)
            }
            _ => Self::TxnRead,
        }
    }

    /// Whether the call changes nothing, so that its failure leaves no doubt.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::KeepAlive
                | Self::LeaseLeases
                | Self::LeaseTimeToLive
                | Self::Range
                | Self::TxnRead
        )
    }
}

/// A fault of one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallFault {
    /// It reaches the server late, by this much.
    Delayed(Duration),
    /// It is executed a second time, this long after the first.
    Duplicated(Duration),
    /// It is executed this long after its caller was told that nobody knows.
    ExecutedLate(Duration),
    /// No connection: it is certainly not executed, and its caller knows.
    Refused,
    /// It is executed, and no answer comes.
    ReplyLost,
    /// It is not executed, and no answer comes.
    RequestLost,
    /// The server answers with an error.
    Server(ServerError),
    /// It is executed at once and answered late, by this much.
    Slow(Duration),
    /// A member that is behind answers it, if it is a read.
    StaleRead,
}

/// An error that an etcd answers with for its own reasons, whatever was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ServerError {
    /// The token of the login has ended.
    InvalidAuthToken,
    /// The member has no leader.
    NoLeader,
    /// The database is full: writes that need room are refused.
    NoSpace,
    /// The user has lost a permission.
    PermissionDenied,
    /// The request was proposed, and nobody knows whether it will be committed.
    RequestTimedOut,
    /// More requests wait than the server takes.
    TooManyRequests,
}

impl ServerError {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::InvalidAuthToken,
        Self::NoLeader,
        Self::NoSpace,
        Self::PermissionDenied,
        Self::RequestTimedOut,
        Self::TooManyRequests,
    ];

    /// etcd's text (`api/v3rpc/rpctypes/error.go`).
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::InvalidAuthToken => "etcdserver: invalid auth token",
            Self::NoLeader => "etcdserver: no leader",
            Self::NoSpace => "etcdserver: mvcc: database space exceeded",
            Self::PermissionDenied => "etcdserver: permission denied",
            Self::RequestTimedOut => "etcdserver: request timed out",
            Self::TooManyRequests => "etcdserver: too many requests",
        }
    }

    /// Whether the request may be executed all the same.
    #[must_use]
    pub const fn may_be_executed(self) -> bool {
        matches!(self, Self::RequestTimedOut)
    }

    /// Whether etcd refuses this kind of call so. A full database takes no puts and grants no leases, and may refuse a
    /// transaction that only reads; reads, deletions and revocations go on (`quotaApplierV3` in etcd's `apply.go`, and
    /// `quotaKVServer` in its `quota.go`, which looks at the size of the member's own file).
    #[must_use]
    pub const fn concerns(self, call: CallKind) -> bool {
        match self {
            Self::NoSpace => matches!(
                call,
                CallKind::LeaseGrant | CallKind::TxnPut | CallKind::TxnRead
            ),
            _ => true,
        }
    }

    /// The error that a transport makes of it for a call of this kind.
    #[must_use]
    pub fn error(self, call: CallKind) -> Error {
        let kind = match self {
            Self::InvalidAuthToken => ErrorKind::Unauthenticated,
            Self::NoLeader | Self::RequestTimedOut => ErrorKind::Unavailable,
            Self::NoSpace | Self::TooManyRequests => ErrorKind::ResourceExhausted,
            Self::PermissionDenied => ErrorKind::PermissionDenied,
        };
        let error = Error::new(kind, "injected: the server refused").with_server_text(self.text());
        if self.may_be_executed() && !call.is_read() {
            error.with_outcome_unknown()
        } else {
            error
        }
    }
}

/// A fault of an open stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StreamFault {
    /// It ends with an error: the connection broke.
    Broken,
    /// It ends without a status, as behind a proxy that is closed.
    Ended,
    /// It lives, and nothing more arrives on it for so long, in either direction: another stream of its connection isn't read,
    /// or its reader is slow.
    Stalled(Duration),
}

/// A fault of the clock of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClockFault {
    /// It goes on from a later time than it had come to, by this much.
    Jumped(Duration),
    /// The computer sleeps: nothing runs, and the clock stands still.
    Suspended,
}

/// A fault of the watches of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WatchFault {
    /// Those that are on are told of what happens up to 100 ms late.
    Delayed,
    /// Those that are created start up to 100 ms late.
    DelayedFromStart,
    /// Events of keys with this prefix are lost, while the stream lives.
    EventsLost(Bytes),
    /// Those that are created are refused.
    Refused(WatchRefusal),
    /// Those that are on go on from where they were last told of something, and are cancelled if that is compacted.
    Restarted,
}

impl WatchFault {
    /// Whether it lasts until it is ended, also on streams that are opened meanwhile.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Delayed | Self::Restarted)
    }

    /// Has it befall a stream of the in-memory etcd.
    pub fn begin(&self, model: &mut Model, stream: StreamId) {
        match self {
            Self::Delayed => model.delay_watches(stream),
            Self::DelayedFromStart => model.delay_new_watches(stream, true),
            Self::EventsLost(prefix) => model.drop_events(stream, Some(prefix.clone())),
            Self::Refused(refusal) => model.refuse_watches(stream, Some(*refusal)),
            Self::Restarted => model.restart_watches(stream),
        }
    }

    /// Ends one that lasts.
    pub fn end(&self, model: &mut Model, stream: StreamId) {
        match self {
            Self::DelayedFromStart => model.delay_new_watches(stream, false),
            Self::EventsLost(_) => model.drop_events(stream, None),
            Self::Refused(_) => model.refuse_watches(stream, None),
            Self::Delayed | Self::Restarted => {}
        }
    }
}

/// No answer came, and nobody knows whether the request was executed.
#[must_use]
pub fn unanswered(call: CallKind) -> Error {
    let error = Error::new(ErrorKind::Unavailable, "injected: no answer");
    if call.is_read() {
        error
    } else {
        error.with_outcome_unknown()
    }
}

/// No connection, so nothing was executed.
pub(crate) fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "injected: no connection")
}
