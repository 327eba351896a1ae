//! One request of any kind, and its reply.

use etcd_lock_core::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::{CallOptions, LeaseId, LockRequest, LockResponse, ResponseHeader, Timeout};
use tokio::time::Instant;

/// A request on its way through the layers. A clone is what a retry sends.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request.
    pub call: Call,
    /// How long it may take in all, counted from when it entered the layers.
    pub timeout: Timeout,
    /// When that time is up; `None` for never, or for later than the clock can tell.
    pub deadline: Option<Instant>,
    /// Whether an earlier attempt of it may have been executed.
    pub(crate) uncertain: bool,
    /// Which attempt this is, from 1 on.
    pub(crate) attempt: usize,
}

impl Request {
    /// A request that begins now.
    #[must_use]
    pub fn new(call: Call, options: CallOptions) -> Self {
        let timeout = options.timeout;
        let deadline = timeout
            .as_duration()
            .and_then(|bound| Instant::now().checked_add(bound));
        Self {
            call,
            timeout,
            deadline,
            uncertain: false,
            attempt: 1,
        }
    }

    /// How long is left.
    #[must_use]
    pub fn left(&self) -> Timeout {
        match self.deadline {
            Some(deadline) => Timeout::After(deadline.saturating_duration_since(Instant::now())),
            None => Timeout::Infinity,
        }
    }
}

/// The request.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "one variant for each RPC that is sent, named like the method of Transport"
)]
pub enum Call {
    LeaseGrant(LeaseGrantRequest),
    LeaseLeases,
    LeaseRevoke(LeaseId),
    LeaseTimeToLive(LeaseTimeToLiveRequest),
    Lock(LockRequest),
    Range(RangeRequest),
    Txn(TxnRequest),
}

impl Call {
    /// The RPC's full name.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::LeaseGrant(_) => "etcdserverpb.Lease/LeaseGrant",
            Self::LeaseLeases => "etcdserverpb.Lease/LeaseLeases",
            Self::LeaseRevoke(_) => "etcdserverpb.Lease/LeaseRevoke",
            Self::LeaseTimeToLive(_) => "etcdserverpb.Lease/LeaseTimeToLive",
            Self::Lock(_) => "v3lockpb.Lock/Lock",
            Self::Range(_) => "etcdserverpb.KV/Range",
            Self::Txn(_) => "etcdserverpb.KV/Txn",
        }
    }

    /// Whether it changes nothing, so that a failure leaves nothing unknown.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::LeaseLeases | Self::LeaseTimeToLive(_) | Self::Range(_) => true,
            Self::Txn(txn) => txn.is_read_only(),
            _ => false,
        }
    }

    /// Whether it is idempotent, so that it may be sent again after an unknown outcome: see [`RetryPolicy`](super::RetryPolicy).
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        match self {
            // With an id, a lease that exists already is the one that was asked for; without, one may be left until it ends.
            Self::LeaseGrant(_) => true,
            Self::LeaseRevoke(_) => true,
            Self::Txn(txn) => txn.idempotent || self.is_read(),
            // A late effect of the first could end the second's hold: never again with the same lease.
            Self::Lock(_) => false,
            Self::LeaseLeases | Self::LeaseTimeToLive(_) | Self::Range(_) => true,
        }
    }
}

/// The reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "one variant for each RPC that is sent, named like the method of Transport"
)]
pub enum Reply {
    LeaseGrant(LeaseGrantResponse),
    /// The lease that an earlier attempt of the same request granted.
    LeaseGrantedBefore(LeaseId),
    LeaseLeases(LeaseLeasesResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseTimeToLive(LeaseTimeToLiveResponse),
    Lock(LockResponse),
    Range(RangeResponse),
    Txn(TxnResponse),
}

impl Reply {
    /// The header of the answer, where there is one.
    pub(crate) const fn header(&self) -> Option<&ResponseHeader> {
        match self {
            Self::LeaseGrant(reply) => Some(&reply.header),
            Self::LeaseGrantedBefore(_) => None,
            Self::LeaseLeases(reply) => Some(&reply.header),
            Self::LeaseRevoke(reply) => Some(&reply.header),
            Self::LeaseTimeToLive(reply) => Some(&reply.header),
            Self::Lock(reply) => Some(&reply.header),
            Self::Range(reply) => Some(&reply.header),
            Self::Txn(reply) => Some(&reply.header),
        }
    }
}
