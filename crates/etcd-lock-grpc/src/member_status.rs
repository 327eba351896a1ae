//! The status of a member, as it tells it.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::Error;
use etcd_lock_proto::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;

use crate::endpoint::Endpoint;
use crate::pool::Purpose;
use crate::status::{self, Failure};
use crate::wire::MAX_TIMEOUT;

/// A member's version, place in its cluster, and database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The version of etcd, such as `3.5.1`.
    pub version: String,
    /// The member that leads the cluster, if there is one.
    pub leader: Option<u64>,
    /// Whether it is a learner, which can't answer for locks.
    pub is_learner: bool,
    /// The size of its database, in bytes.
    pub database_bytes: u64,
    /// What is wrong in the cluster, in etcd's words: that a database is full, say.
    pub errors: Vec<String>,
}

/// Asks an endpoint for the status of its member.
pub(crate) async fn ask(
    endpoint: &Arc<Endpoint>,
    limit: Duration,
) -> Result<pb::StatusResponse, Failure> {
    let slot = endpoint.slot(Purpose::Short).await.map_err(unreachable)?;
    let mut client = MaintenanceClient::new(slot.channel);
    let mut request = tonic::Request::new(pb::StatusRequest {});
    // More than the header can say would be a panic.
    request.set_timeout(limit.min(MAX_TIMEOUT));
    match client.status(request).await {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => Err(status::failure(status, endpoint.name(), true)),
    }
}

fn unreachable(error: Error) -> Failure {
    Failure {
        error,
        is_fault: true,
        is_heard: false,
    }
}

impl From<pb::StatusResponse> for MemberStatus {
    fn from(reply: pb::StatusResponse) -> Self {
        Self {
            version: reply.version,
            leader: (reply.leader != 0).then_some(reply.leader),
            is_learner: reply.is_learner,
            database_bytes: reply.db_size.try_into().unwrap_or(0),
            errors: reply.errors,
        }
    }
}
