//! Clients of ours, wired as those of `etcd-lock` are.

use std::time::Duration;

use etcd_lock_core::{Client, Transport};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_memory::model::ModelOptions;
use etcd_lock_session::Queue;

pub(crate) const TTL: Duration = Duration::from_secs(60);

/// A client with connections of its own. Several endpoints have commas between them.
pub(crate) fn connect(endpoint: &str) -> Client {
    over(GrpcTransport::connect(endpoint.split(',').collect::<Vec<_>>()).unwrap())
}

/// A client over any transport.
pub(crate) fn over(transport: impl Transport) -> Client {
    Queue::new(GroupCommit::new(transport)).into_client()
}

/// An etcd in memory that keeps hardly any history: a long one of few keys takes more of the processor than all else.
pub(crate) fn memory() -> MemoryEtcd {
    MemoryEtcd::with_options(ModelOptions::new().with_kept_revisions(16))
}

/// A lock that nothing else uses.
pub(crate) fn fresh_name() -> String {
    format!("bench-{:016x}", fastrand::u64(..))
}
