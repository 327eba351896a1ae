//! Noticing that the cluster was restored from a backup, or is another one.
//!
//! The grants since the backup never happened, as far as such a cluster knows, and the next client may be granted the same
//! lock again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

use etcd_lock_core::kv::{Compare, DeleteRequest, TxnRequest};
use etcd_lock_core::{CallOptions, Error, ErrorKind, LockName, ResponseHeader, Revision};

use super::Inner;

/// The identity and the newest revision of the cluster, as far as this client has seen.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    id: AtomicU64,
    newest: AtomicI64,
    is_being_checked: AtomicBool,
}

impl Cluster {
    /// The greatest revision that an answer had. Linearizable answers to requests that are sent from now on have no lower one.
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(SeqCst)
    }
}

impl Inner {
    /// Looks at the answer to a request that was sent when `known` was the newest revision.
    pub(super) fn check_cluster(
        self: &Arc<Self>,
        known: i64,
        header: &ResponseHeader,
        name: &LockName,
    ) {
        let cluster = &self.cluster;
        let revision = header.revision.get();
        if header.cluster_id != 0 {
            let first = cluster
                .id
                .compare_exchange(0, header.cluster_id, SeqCst, SeqCst);
            if first.is_err_and(|id| id != header.cluster_id) {
                cluster.id.store(header.cluster_id, SeqCst);
                cluster.newest.store(revision, SeqCst);
                return self.end_all(&restored("another cluster answers"));
            }
        }
        if revision >= known {
            cluster.newest.fetch_max(revision, SeqCst);
        } else if !cluster.is_being_checked.swap(true, SeqCst) {
            let checking = Checking(self.clone());
            tokio::spawn(ask_again(checking, known, name.clone()));
        }
    }
}

/// A member that lags may have answered: a transaction that could write goes through the leader, and its answer is true.
async fn ask_again(checking: Checking, known: i64, name: LockName) {
    let queue = &checking.0;
    let key = name.queue_prefix();
    let never = Revision::new(i64::MAX).unwrap_or(Revision::ZERO);
    let txn = TxnRequest::new()
        .when(Compare::create_revision(key.clone(), never))
        .and_then(DeleteRequest::key(key))
        .idempotent();
    let reply = queue.transport.txn(txn, CallOptions::default()).await;
    if let Ok(reply) = reply
        && reply.header.revision.get() < known
    {
        queue
            .cluster
            .newest
            .store(reply.header.revision.get(), SeqCst);
        queue.end_all(&restored(
            "the cluster has gone back to an earlier revision",
        ));
    }
}

/// However the check ends, also with its runtime, another one may begin.
struct Checking(Arc<Inner>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.cluster.is_being_checked.store(false, SeqCst);
    }
}

fn restored(text: &str) -> Error {
    Error::new(
        ErrorKind::Lost,
        format!("{text}, so that no lock that was held before can be relied on"),
    )
    .with_session_lost()
}
