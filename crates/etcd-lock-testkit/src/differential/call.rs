//! The calls that both etcds get, and their answers.

use std::fmt;

use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;

use super::mapping::{Mapped, Mapper};

/// The state of the etcd before a sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Start {
    /// Nothing at all: the sequence is the first thing that the etcd hears.
    New,
    /// Other sequences, of which all is deleted and compacted.
    Compacted,
}

/// One step of a sequence. Revisions and leases in it are symbols, see [`numbers`](super::numbers).
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A call that is answered at once.
    Call(Call),
    /// A request on one of the watch streams.
    Watch(usize, pb::WatchRequest),
    /// A call that may have to wait.
    Lock(v3lockpb::LockRequest),
    /// Gives up one of the calls that wait.
    GiveUp(usize),
    /// Grants a lease that is short, does something, and has the lease end.
    Brief {
        grant: pb::LeaseGrantRequest,
        steps: Vec<Self>,
        end: End,
    },
}

/// How a short lease ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Revoke,
    Expire,
}

/// Makes one enum of requests and one of replies, whose variants belong together.
macro_rules! calls {
    ($($variant:ident($request:ty) -> $reply:ty;)+) => {
        #[derive(Clone)]
        pub(super) enum Call { $($variant($request)),+ }

        #[derive(Clone, PartialEq)]
        pub(super) enum Reply { $($variant($reply)),+ }

        impl Mapped for Call {
            fn renumber(&mut self, by: &dyn Mapper) {
                match self { $(Self::$variant(request) => request.renumber(by)),+ }
            }
        }

        impl Mapped for Reply {
            fn renumber(&mut self, by: &dyn Mapper) {
                match self { $(Self::$variant(reply) => reply.renumber(by)),+ }
            }
        }

        impl fmt::Debug for Call {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$variant(request) => request.fmt(f)),+ }
            }
        }

        impl fmt::Debug for Reply {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Self::$variant(reply) => reply.fmt(f)),+ }
            }
        }
    };
}

calls! {
    Range(pb::RangeRequest) -> pb::RangeResponse;
    Put(pb::PutRequest) -> pb::PutResponse;
    Delete(pb::DeleteRangeRequest) -> pb::DeleteRangeResponse;
    Txn(pb::TxnRequest) -> pb::TxnResponse;
    Compact(pb::CompactionRequest) -> pb::CompactionResponse;
    Grant(pb::LeaseGrantRequest) -> pb::LeaseGrantResponse;
    Revoke(pb::LeaseRevokeRequest) -> pb::LeaseRevokeResponse;
    KeepAlive(pb::LeaseKeepAliveRequest) -> pb::LeaseKeepAliveResponse;
    TimeToLive(pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse;
    Leases(pb::LeaseLeasesRequest) -> pb::LeaseLeasesResponse;
    Unlock(v3lockpb::UnlockRequest) -> v3lockpb::UnlockResponse;
}

/// A reply, or why there is none.
pub(super) type Answer<T = Reply> = Result<T, Refusal>;

/// The gRPC code and the text of a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) text: String,
}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Self {
            code: status.code().into(),
            text: status.message().to_owned(),
        }
    }
}

impl From<etcd_lock_memory::Status> for Refusal {
    fn from(status: etcd_lock_memory::Status) -> Self {
        Self {
            code: status.code as i32,
            text: status.message,
        }
    }
}

impl<T: Mapped> Mapped for Answer<T> {
    fn renumber(&mut self, by: &dyn Mapper) {
        self.iter_mut().for_each(|reply| reply.renumber(by));
    }
}
