//! The in-memory etcd as a transport.

use std::future::{pending, ready};
use std::sync::Arc;

use async_trait::async_trait;
use etcd_lock_core::kv::{
    Compare, DeleteRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, LockRequest, LockResponse, Result, Revision,
    Timeout, Transport, UnlockRequest, UnlockResponse,
};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use futures_util::StreamExt;
use futures_util::stream::{self, select};
use tokio::sync::Notify;

use crate::model::{LockCall, LockWait, StreamId};
use crate::{MemoryEtcd, Status};

#[async_trait]
impl Transport for MemoryEtcd {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        let answer = self.answer(request);
        match options.timeout.checked()? {
            Timeout::Infinity => answer.await,
            Timeout::After(bound) => {
                tokio::time::timeout(bound, answer)
                    .await
                    .unwrap_or_else(|_| {
                        let text =
                            format!("the lock was not granted within the timeout of {bound:?}");
                        Err(Error::new(ErrorKind::LockTimeout, text))
                    })
            }
        }
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        let key = request.key.as_bytes().clone();
        let delete = TxnRequest::new().and_then(DeleteRequest::key(key.clone()));
        let txn = match request.create_revision {
            Some(created) => delete.when(Compare::create_revision(key, created)),
            None => delete,
        };
        Ok(UnlockResponse::new(self.txn(txn, options).await?.header))
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        begin(options).await?;
        self.with(|model| model.range(&request.into()))?.try_into()
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        begin(options).await?;
        let request = request.try_into()?;
        self.with(|model| model.txn(&request))?.try_into()
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        begin(options).await?;
        self.with(|model| model.lease_grant(&request.into()))?
            .try_into()
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        begin(options).await?;
        self.with(|model| model.lease_revoke(&lease.into()))?
            .try_into()
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        begin(options).await?;
        self.with(|model| model.lease_time_to_live(&request.into()))
            .try_into()
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        begin(options).await?;
        self.with(|model| model.lease_leases()).try_into()
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let etcd = self.clone();
        let replies = leases.map(move |lease| {
            etcd.with(|model| model.lease_keep_alive(&lease.into()))
                .try_into()
        });
        replies.chain(stream::once(pending())).boxed()
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.watch_stream(requests).1
    }
}

impl MemoryEtcd {
    /// Opens a watch stream, as [`Transport::watch`] does, and says which of the model's it is: for tests that make it fail.
    #[must_use]
    pub fn watch_stream(
        &self,
        requests: BoxStream<WatchRequest>,
    ) -> (StreamId, BoxStream<Result<WatchResponse>>) {
        let stream = Arc::new(WatchStream::open(self));
        let id = stream.id;
        let (asked, answered) = (stream.clone(), stream);
        let requests = requests.map(move |request| {
            asked.ask(request.into());
            None
        });
        let replies = stream::unfold(answered, |stream| async move {
            let reply = stream.next().await;
            Some((Some(reply.try_into()), stream))
        });
        // A client that has said all that it wants to may still listen.
        let requests = requests.chain(stream::once(pending()));
        (id, select(requests, replies).filter_map(ready).boxed())
    }

    async fn answer(&self, request: LockRequest) -> Result<LockResponse> {
        tokio::task::consume_budget().await;
        let asked = v3lockpb::LockRequest::from(request.clone());
        let answer = match self.with(|model| model.lock(&asked)) {
            LockWait::Done(answer) => answer,
            LockWait::Waiting(call) => PendingLock::new(self, call).answer().await,
        };
        let reply = answer?;
        let header = reply.header.unwrap_or_default().try_into()?;
        let key = request.key();
        // The reply doesn't say at which revision the key was created.
        let own = pb::RangeRequest::from(RangeRequest::key(key.as_bytes().clone()));
        let kvs = self.with(|model| model.range(&own))?.kvs;
        let Some(kv) = kvs.first() else {
            return Err(Status::lease_not_found().into());
        };
        let created = Revision::new(kv.create_revision)?;
        Ok(LockResponse::new(header, key, created))
    }
}

/// A call that waits; giving it up withdraws its queue entry.
pub(crate) struct PendingLock {
    etcd: MemoryEtcd,
    call: LockCall,
    signal: Arc<Notify>,
}

impl PendingLock {
    pub(crate) fn new(etcd: &MemoryEtcd, call: LockCall) -> Self {
        etcd.ensure_ticking();
        Self {
            etcd: etcd.clone(),
            call,
            signal: etcd.lock_signal(call),
        }
    }

    pub(crate) async fn answer(&self) -> Result<v3lockpb::LockResponse, Status> {
        loop {
            if let Some(answer) = self.etcd.with(|model| model.take_lock(self.call)) {
                return answer;
            }
            self.signal.notified().await;
        }
    }
}

impl Drop for PendingLock {
    fn drop(&mut self) {
        self.etcd.forget_lock(self.call);
    }
}

/// An open watch stream.
pub(crate) struct WatchStream {
    etcd: MemoryEtcd,
    id: StreamId,
    signal: Arc<Notify>,
}

impl WatchStream {
    pub(crate) fn open(etcd: &MemoryEtcd) -> Self {
        let id = etcd.with(|model| model.open_watch_stream());
        Self {
            etcd: etcd.clone(),
            id,
            signal: etcd.stream_signal(id),
        }
    }

    pub(crate) fn ask(&self, request: pb::WatchRequest) {
        self.etcd.ensure_ticking();
        self.etcd.with(|model| model.watch(self.id, request));
    }

    #[cfg(feature = "server")]
    pub(crate) fn count(&self) -> usize {
        self.etcd.with(|model| model.watch_count(self.id))
    }

    pub(crate) async fn next(&self) -> pb::WatchResponse {
        loop {
            if let Some(reply) = self.etcd.with(|model| model.next_watch_response(self.id)) {
                return reply;
            }
            self.signal.notified().await;
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.etcd.forget_stream(self.id);
    }
}

/// Nothing here takes time, but a loop of calls must let others run.
async fn begin(options: CallOptions) -> Result<()> {
    options.timeout.checked()?;
    tokio::task::consume_budget().await;
    Ok(())
}
