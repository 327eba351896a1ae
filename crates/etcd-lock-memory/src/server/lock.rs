//! The `Lock` service.

use etcd_lock_proto::v3lockpb as pb;
use futures_util::future::{Either, select};
use pb::lock_server::Lock;
use tonic::{Request, Response, Result};

use super::Served;
use crate::model::LockWait;
use crate::transport::PendingLock;

#[tonic::async_trait]
impl Lock for Served {
    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>> {
        let _open = self.locks.enter(request.remote_addr())?;
        let answer = match self.etcd.with(|model| model.lock(request.get_ref())) {
            LockWait::Done(answer) => answer,
            LockWait::Waiting(call) => {
                // Dropped with this future when the client hangs up or its deadline passes: then the key is deleted.
                let pending = PendingLock::new(&self.etcd, call);
                let answer = std::pin::pin!(pending.answer());
                match select(answer, std::pin::pin!(self.stopping())).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right((stopping, _)) => return Err(stopping),
                }
            }
        };
        Ok(Response::new(answer?))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>> {
        let reply = self.etcd.with(|model| model.unlock(request.get_ref()))?;
        Ok(Response::new(reply))
    }
}
