//! The transactions of one lock and unlock, as our queue sends them: the baseline sends the same.

use etcd_lock_core::kv::{Compare, CompareTarget, TxnRequest};
use etcd_lock_core::{CallOptions, LeaseId, Revision, Transport};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_session::{Mutex, Session};

use crate::client::{TTL, fresh_name, over};
use crate::recorder::{Answers, Recorder};

/// The two transactions for one lock that nobody else wants.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    enter: TxnRequest,
    leave: TxnRequest,
}

impl Cycle {
    /// Records one session's cycles on so many locks, and returns them with the lease that they name.
    pub(crate) async fn record(locks: usize) -> (LeaseId, Vec<Self>) {
        let recorder = Recorder::keeping(Answers::AtOnce);
        let session = Session::open(&over(recorder.clone()), TTL).await.unwrap();
        let lease = session.lease();
        let mut cycles = Vec::with_capacity(locks);
        for _ in 0..locks {
            let mutex = Mutex::new(&session, fresh_name()).unwrap();
            mutex.lock().await.unwrap().unlock().await.unwrap();
            let [enter, leave] = recorder
                .take_txns()
                .try_into()
                .expect("a cycle is two transactions");
            cycles.push(Self { enter, leave });
        }
        session.close().await.unwrap();
        (lease, cycles)
    }

    /// The transaction that adds an entry to the queue.
    pub(crate) fn enter(&self) -> pb::TxnRequest {
        self.enter.clone().try_into().unwrap()
    }

    /// The transaction that deletes the entry that was created at this revision.
    pub(crate) fn leave(&self, created: i64) -> pb::TxnRequest {
        let created = Revision::new(created).unwrap();
        self.leave_at(created).try_into().unwrap()
    }

    /// Sends both over a transport of ours, with nothing around them.
    pub(crate) async fn run(&self, transport: &impl Transport) {
        let options = CallOptions::default();
        let entered = transport.txn(self.enter.clone(), options).await.unwrap();
        assert!(entered.succeeded);
        let leave = self.leave_at(entered.header.revision);
        assert!(transport.txn(leave, options).await.unwrap().succeeded);
    }

    fn leave_at(&self, revision: Revision) -> TxnRequest {
        let mut leave = self.leave.clone();
        for Compare { target, .. } in &mut leave.compare {
            if let CompareTarget::CreateRevision(created) = target {
                *created = revision;
            }
        }
        leave
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::Ttl;
    use etcd_lock_core::lease::LeaseGrantRequest;
    use etcd_lock_memory::MemoryEtcd;

    use super::*;

    #[tokio::test]
    async fn a_recorded_cycle_runs_on_another_etcd_again_and_again() {
        let (lease, cycles) = Cycle::record(2).await;
        let other = MemoryEtcd::new();
        let grant = LeaseGrantRequest::new(Ttl::try_from(TTL).unwrap()).with_id(lease);
        other
            .lease_grant(grant, CallOptions::default())
            .await
            .unwrap();
        for cycle in cycles.iter().chain(&cycles) {
            cycle.run(&other).await;
        }
    }
}
