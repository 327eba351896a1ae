//! Endpoints from the cluster's own list of its members.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_core::Result;
use etcd_lock_proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use tokio::time::{Instant, timeout};

use crate::endpoints::Endpoints;
use crate::pool::Purpose;
use crate::status;

/// When the list was last asked for.
///
/// It is asked for by the request that finds it due, in a task of its own: while nothing is requested nobody needs it, and
/// no runtime has to stay for it.
#[derive(Debug)]
pub(crate) struct Members {
    every: Option<Duration>,
    began: Instant,
    /// In milliseconds since the beginning.
    due: AtomicU64,
}

impl Members {
    pub(crate) fn new(every: Option<Duration>) -> Self {
        Self {
            every,
            began: Instant::now(),
            due: AtomicU64::new(0),
        }
    }

    /// Asks for the list where that is due. The endpoints stay as they are where it can't be had.
    pub(crate) fn sync(endpoints: &Arc<Endpoints>) {
        let this = &endpoints.members;
        let Some(every) = this.every else { return };
        let (now, due) = (millis(this.began.elapsed()), this.due.load(Relaxed));
        let next = now.saturating_add(millis(every));
        let is_ours = now >= due
            && this
                .due
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_ok();
        if is_ours {
            let endpoints = endpoints.clone();
            tokio::spawn(async move {
                let listed = timeout(endpoints.bound(), list(&endpoints)).await;
                match listed {
                    Ok(Ok(urls)) => endpoints.replace(&urls),
                    Ok(Err(error)) => tracing::debug!(%error, "can't list the members"),
                    Err(_) => tracing::debug!("the list of the members did not come in time"),
                }
            });
        }
    }
}

/// The client URLs of all members that have started and vote.
async fn list(endpoints: &Arc<Endpoints>) -> Result<Vec<String>> {
    let (endpoint, slot) = endpoints.slot(Purpose::Short).await?;
    let pass = endpoints.auth().pass(&endpoint).await?;
    let mut client = ClusterClient::new(slot.channel);
    // A member that was removed doesn't know it.
    let ask = pb::MemberListRequest { linearizable: true };
    let request = pass.show(tonic::Request::new(ask));
    let reply = client.member_list(request).await;
    let reply = reply.map_err(|status| status::failure(status, endpoint.name(), true).error)?;
    let members = reply.into_inner().members.into_iter();
    Ok(members
        .filter(|member| !member.is_learner)
        .flat_map(|member| member.client_ur_ls)
        .collect())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
