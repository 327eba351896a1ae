//! The `KV` service.

use etcd_lock_proto::etcdserverpb as pb;
use pb::kv_server::Kv;
use tonic::{Request, Response, Result};

use super::Served;

#[tonic::async_trait]
impl Kv for Served {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>> {
        let reply = self.etcd.with(|model| model.range(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>> {
        let reply = self.etcd.with(|model| model.put(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>> {
        let reply = self
            .etcd
            .with(|model| model.delete_range(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>> {
        let reply = self.etcd.with(|model| model.txn(request.get_ref()))?;
        Ok(Response::new(reply))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>> {
        let reply = self.etcd.with(|model| model.compact(request.get_ref()))?;
        Ok(Response::new(reply))
    }
}
