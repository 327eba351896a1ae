//! The transport of a simulated process: it hands everything to the world and waits.

use std::sync::Arc;
use std::time::Duration;

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
    BoxStream, CallOptions, Error, ErrorKind, LeaseId, LockRequest, LockResponse, Result, Timeout,
    Transport, UnlockRequest, UnlockResponse,
};
use futures_util::StreamExt;
use futures_util::stream::{poll_fn, select};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Call, Hub, Outgoing, Reply, StreamEnd, StreamItem};

/// Longer than any run: a call that waits without an end is ended by the world.
const FOREVER: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub(super) struct SimTransport(pub(super) Arc<Hub>);

impl SimTransport {
    async fn call(&self, call: Call, options: CallOptions) -> Result<Reply> {
        let bound = options.timeout.checked()?.as_duration().unwrap_or(FOREVER);
        let (sender, receiver) = oneshot::channel();
        let is_read = call.is_read();
        let mut pending = Pending {
            hub: &self.0,
            id: Some(self.0.next_id()),
        };
        if let Some(id) = pending.id {
            self.0.say(Outgoing::Call(id, call, sender));
        }
        let answer = tokio::time::timeout(bound, receiver).await;
        match answer {
            Ok(answer) => {
                pending.id = None;
                answer.unwrap_or_else(|_| Err(lost("the connection is gone")))
            }
            Err(_) => {
                let error = Error::new(ErrorKind::Timeout, format!("no answer within {bound:?}"));
                Err(if is_read {
                    error
                } else {
                    error.with_outcome_unknown()
                })
            }
        }
    }
}

/// A call that is given up when this is dropped.
struct Pending<'a> {
    hub: &'a Hub,
    id: Option<u64>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.hub.say(Outgoing::Cancel(id));
        }
    }
}

/// A failure after which the request may have been executed.
pub(super) fn lost(text: &str) -> Error {
    Error::new(ErrorKind::Unavailable, text).with_outcome_unknown()
}

#[async_trait]
impl Transport for SimTransport {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        match self.call(Call::Lock(request), options).await? {
            Reply::Lock(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        let key = request.key.as_bytes().clone();
        let delete = TxnRequest::new().and_then(DeleteRequest::key(key.clone()));
        let txn = match request.create_revision {
            Some(created) => delete
                .when(Compare::create_revision(key, created))
                .idempotent(),
            None => delete,
        };
        Ok(UnlockResponse::new(self.txn(txn, options).await?.header))
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        match self.call(Call::Range(request), options).await? {
            Reply::Range(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        match self.call(Call::Txn(request), options).await? {
            Reply::Txn(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        match self.call(Call::Grant(request), options).await? {
            Reply::Grant(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        match self.call(Call::Revoke(lease), options).await? {
            Reply::Revoke(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        match self.call(Call::TimeToLive(request), options).await? {
            Reply::TimeToLive(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        match self.call(Call::Leases, options).await? {
            Reply::Leases(reply) => Ok(reply),
            _ => Err(odd()),
        }
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let (sender, replies) = mpsc::unbounded_channel();
        let open = Open::new(&self.0, StreamEnd::KeepAlive(sender));
        open.stream(leases, StreamItem::KeepAlive, replies)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        let (sender, replies) = mpsc::unbounded_channel();
        let open = Open::new(&self.0, StreamEnd::Watch(sender));
        open.stream(requests, StreamItem::Watch, replies)
    }
}

/// An open stream, closed when this is dropped.
struct Open {
    hub: Arc<Hub>,
    id: u64,
}

impl Open {
    fn new(hub: &Arc<Hub>, end: StreamEnd) -> Self {
        let (hub, id) = (hub.clone(), hub.next_id());
        hub.say(Outgoing::Open(id, end));
        Self { hub, id }
    }

    fn stream<Q: Send + 'static, A: Send + 'static>(
        self,
        requests: BoxStream<Q>,
        item: impl Fn(Q) -> StreamItem + Send + 'static,
        mut replies: mpsc::UnboundedReceiver<Result<A>>,
    ) -> BoxStream<Result<A>> {
        let asked = requests
            .map(move |request| {
                self.hub.say(Outgoing::Send(self.id, item(request)));
                None
            })
            .chain(futures_util::stream::pending());
        let answered = poll_fn(move |cx| replies.poll_recv(cx)).map(Some);
        // Without a word from the world the stream ends without a status.
        let ended = futures_util::stream::once(async { None });
        let replies = answered.map(Some).chain(ended);
        select(asked.map(Some), replies)
            .take_while(|item| std::future::ready(item.is_some()))
            .filter_map(|item| std::future::ready(item.flatten()))
            .scan(false, |failed, reply| {
                let over = std::mem::replace(failed, reply.is_err());
                std::future::ready((!over).then_some(reply))
            })
            .boxed()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hub.say(Outgoing::Close(self.id));
    }
}

fn odd() -> Error {
    Error::new(ErrorKind::Protocol, "another call's reply")
}

/// The timeout of calls that a program makes by itself.
pub(super) const PATIENCE: CallOptions = CallOptions::new(Timeout::After(Duration::from_secs(5)));
