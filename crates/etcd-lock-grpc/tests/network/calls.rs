//! Every call that a transport has, to be made on bad servers and with bad input.

use std::time::Duration;

use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::{LeaseGrantRequest, LeaseTimeToLiveRequest};
use etcd_lock_core::{
    CallOptions, Error, LeaseId, LockName, LockRequest, Result, Timeout, Transport, Ttl,
    UnlockRequest,
};
use tokio::time::timeout;

/// How long is waited for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A call, and how it ended.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) name: &'static str,
    /// Whether it changes nothing.
    pub(crate) is_read: bool,
    pub(crate) result: Result<()>,
}

impl Called {
    /// The error in which the call must have ended.
    pub(crate) fn error(self) -> Error {
        match self.result {
            Err(error) => error,
            Ok(()) => panic!("{} was answered", self.name),
        }
    }
}

/// Makes every call that is answered once: reads, calls with an effect, and those of locks. A lease that doesn't exist is
/// as good as one that does: what isn't found was asked for.
pub(crate) async fn every_call(
    transport: &dyn Transport,
    bound: impl Into<Timeout>,
) -> Vec<Called> {
    let options = CallOptions::new(bound.into());
    let (lease, name) = (lease(), LockName::new("name").unwrap());
    let put = TxnRequest::new().and_then(PutRequest::new("key", "value"));
    let range = transport.range(RangeRequest::key("key"), options);
    let look = transport.lease_time_to_live(LeaseTimeToLiveRequest::new(lease), options);
    let grant = LeaseGrantRequest::new(Ttl::from_secs(60).unwrap());
    vec![
        call("range", true, range).await,
        call("txn", false, transport.txn(put, options)).await,
        call("time to live", true, look).await,
        call("leases", true, transport.lease_leases(options)).await,
        call("grant", false, transport.lease_grant(grant, options)).await,
        call("revoke", false, transport.lease_revoke(lease, options)).await,
        call(
            "unlock",
            false,
            transport.unlock(UnlockRequest::new(name.key(lease)), options),
        )
        .await,
        call(
            "lock",
            false,
            transport.lock(LockRequest::new(name, lease), options),
        )
        .await,
    ]
}

/// Asserts that a transport works, after anything that happened to it.
pub(crate) async fn is_usable(transport: &dyn Transport) {
    let options = CallOptions::new(PATIENCE.into());
    let grant = LeaseGrantRequest::new(Ttl::from_secs(60).unwrap());
    let lease = transport.lease_grant(grant, options).await.unwrap().id;
    let request = LockRequest::new(LockName::new("usable").unwrap(), lease);
    let held = transport.lock(request, options).await.unwrap();
    let unlock = UnlockRequest::new(held.key).with_create_revision(held.create_revision);
    transport.unlock(unlock, options).await.unwrap();
}

async fn call<T>(
    name: &'static str,
    is_read: bool,
    answer: impl Future<Output = Result<T>>,
) -> Called {
    let result = timeout(PATIENCE, answer).await;
    let result = result.unwrap_or_else(|_| panic!("{name} did not end"));
    Called {
        name,
        is_read,
        result: result.map(drop),
    }
}

/// A lease that nobody granted.
fn lease() -> LeaseId {
    LeaseId::new(0x1f).unwrap()
}
