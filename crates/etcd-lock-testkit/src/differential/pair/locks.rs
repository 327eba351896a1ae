//! Calls of `Lock`: one that waits on one side must wait on the other.

use etcd_lock_memory::model::{LockCall, LockWait};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use super::{Pair, Result, Stop, same};
use crate::differential::call::{Answer, Call, Reply};
use crate::differential::etcd::{Metrics, PATIENCE};
use crate::differential::mapping::Mapped;
use crate::differential::numbers::{FromEtcd, OWN};

/// A call of `Lock` that waits on both sides.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) memory: LockCall,
    pub(super) etcd: JoinHandle<Answer<v3lockpb::LockResponse>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.etcd.abort();
    }
}

impl Pair<'_> {
    pub(super) async fn lock(&mut self, request: v3lockpb::LockRequest) -> Result {
        let request = self.with_numbers(request);
        let watches = self.etcd.metrics().await.watches();
        let memory = self.memory.lock(&request);
        let etcd = self.etcd.lock(self.to_etcd(request.clone()));
        match memory {
            LockWait::Waiting(memory) => {
                let waiting = Waiting { memory, etcd };
                // Then it has put its key, and looked who is ahead.
                let entered = async |metrics: &Metrics| {
                    metrics.watches() > watches || waiting.etcd.is_finished()
                };
                self.etcd.until("a call of Lock waits", entered).await;
                self.locks.push(waiting);
                self.note_hidden_lease(request.lease).await;
                Ok(())
            }
            LockWait::Done(memory) => {
                let mut etcd = answered(etcd).await?;
                self.note_hidden_lease(request.lease).await;
                etcd.renumber(&FromEtcd(&self.numbers));
                same(&request, &memory.map_err(Into::into), &etcd)
            }
        }
    }

    pub(super) async fn give_up(&mut self, index: usize) {
        if self.locks.is_empty() {
            return;
        }
        let lock = self.locks.remove(index % self.locks.len());
        self.memory.model.cancel_lock(lock.memory);
        drop(lock);
        // Then its key is deleted.
        let waiting = self.locks.len() as u64;
        let gone = async |metrics: &Metrics| metrics.locks() <= waiting;
        self.etcd.until("a call of Lock is given up", gone).await;
    }

    /// Compares the answers of those that wait no longer.
    pub(super) async fn quiesce_locks(&mut self) -> Result {
        let (mut waiting, locks) = (Vec::new(), std::mem::take(&mut self.locks));
        for mut lock in locks {
            let Some(memory) = self.memory.take_lock(lock.memory) else {
                waiting.push(lock);
                continue;
            };
            let mut etcd = answered(&mut lock.etcd).await?;
            etcd.renumber(&FromEtcd(&self.numbers));
            same(&"a call of Lock that waited", &memory, &etcd)?;
        }
        self.locks = waiting;
        Ok(())
    }

    /// The lease that a lock without one has been given, as far as it can be seen.
    async fn note_hidden_lease(&mut self, lease: i64) {
        if lease != 0 {
            return;
        }
        let list = Call::Leases(pb::LeaseLeasesRequest {});
        let memory = self.memory.call(&list);
        let etcd = self.etcd.call(list).await;
        let known = |id: i64| {
            self.numbers
                .picked
                .iter()
                .any(|pair| pair.0 == id || pair.1 == id)
        };
        let new = |answer: Answer| match answer {
            Ok(Reply::Leases(reply)) => {
                let mut ids = reply.leases.into_iter().map(|lease| lease.id);
                ids.find(|&id| id > OWN + 10 && !known(id))
            }
            _ => None,
        };
        if let (Some(memory), Some(etcd)) = (new(memory), new(etcd)) {
            self.numbers.picked.push((memory, etcd));
        }
    }
}

async fn answered(
    call: impl Future<Output = std::result::Result<Answer<v3lockpb::LockResponse>, JoinError>>,
) -> Result<Answer<v3lockpb::LockResponse>> {
    match timeout(PATIENCE, call).await {
        Ok(answer) => Ok(answer.unwrap()),
        Err(_) => Err(Stop::Mismatch(
            "a call of Lock was answered by the model alone".to_owned(),
        )),
    }
}
