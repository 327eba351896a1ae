//! One request, sent once, to one endpoint.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::watch::{WatchBody, WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, Error, ErrorKind, LeaseId, LockKey, LockResponse, Result, Revision, Timeout,
};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tower::Service;
use v3lockpb::lock_client::LockClient;

use crate::auth::{Auth, Pass};
use crate::layers::{Call, Reply, Request};
use crate::lock::Watching;
use crate::peers::{Peer, Peers};
use crate::{status, stream};

/// The largest reply that is read: the keys of a queue of half a million waiters fit.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// The longest time that the `grpc-timeout` header can say is 99,999,999 hours; longer is as good as none.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sends requests to the current endpoint, and leaves it when it can't be reached.
#[derive(Clone, Debug)]
pub(crate) struct Wire(pub(crate) Arc<Peers>);

impl Wire {
    /// Opens a keep-alive stream.
    pub(crate) fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        let leases = Outgoing(Box::pin(leases.map(pb::LeaseKeepAliveRequest::from)));
        let peers = self.0.clone();
        stream::open(async move {
            let asked = Asked::current(peers);
            let pass = asked.pass().await?;
            let mut client = LeaseClient::new(asked.peer().waiting());
            let request = pass.show(with_leader(tonic::Request::new(leases)));
            let replies = match client.lease_keep_alive(request).await {
                Ok(replies) => replies.into_inner(),
                Err(status) => return Err(asked.failed_on_stream(status, &pass).await),
            };
            let opened = Arc::new((asked, pass));
            Ok(replies.then(move |reply| {
                let opened = opened.clone();
                async move {
                    let (asked, pass) = &*opened;
                    match reply {
                        Ok(reply) => reply.try_into(),
                        Err(status) => Err(asked.failed_on_stream(status, pass).await),
                    }
                }
            }))
        })
    }
}

impl Watching for Wire {
    fn open_watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        let requests = Outgoing(Box::pin(requests.map(pb::WatchRequest::from)));
        let peers = self.0.clone();
        stream::open(async move {
            let asked = Asked::current(peers);
            let pass = asked.pass().await?;
            let client = WatchClient::new(asked.peer().waiting());
            let mut client = client.max_decoding_message_size(MAX_REPLY);
            let request = pass.show(with_leader(tonic::Request::new(requests)));
            let replies = match client.watch(request).await {
                Ok(replies) => replies.into_inner(),
                Err(status) => return Err(asked.failed_on_stream(status, &pass).await),
            };
            let opened = Arc::new((asked, pass));
            Ok(replies.then(move |reply| {
                let opened = opened.clone();
                async move {
                    let (asked, pass) = &*opened;
                    let reply = match reply {
                        Ok(reply) => WatchResponse::try_from(reply)?,
                        Err(status) => return Err(asked.failed_on_stream(status, pass).await),
                    };
                    if is_not_permitted(&reply) && asked.auth().is_over_on_stream(pass).await {
                        return Err(login_ended());
                    }
                    Ok(reply)
                }
            }))
        })
    }
}

impl Service<Request> for Wire {
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let asked = Asked::current(self.0.clone());
        Box::pin(async move {
            let pass = asked.pass().await?;
            let error = match asked.send(request.clone(), &pass).await {
                Err(error) if asked.auth().is_over(&pass, &error).await => error,
                sent => return sent,
            };
            // It may have waited in the queue until its token ended: to ask again is up to who knows what it left there.
            if matches!(request.call, Call::Lock(_)) {
                return Err(error);
            }
            let pass = asked.pass().await?;
            asked.send(request, &pass).await
        })
    }
}

/// What the server says, and what the conversion of its reply says.
type Sent = Result<Result<Reply>, Box<Status>>;

async fn send(request: Request, peer: &Peer, pass: &Pass) -> Sent {
    let cover = Cover {
        left: request.left(),
        pass,
    };
    match request.call {
        Call::Range(call) => {
            let reply = kv(peer).range(cover.of(pb::RangeRequest::from(call))).await;
            convert(reply, Reply::Range)
        }
        Call::Txn(call) => {
            let reply = kv(peer).txn(cover.of(pb::TxnRequest::from(call))).await;
            convert(reply, Reply::Txn)
        }
        Call::LeaseGrant(call) => {
            let call = cover.of(pb::LeaseGrantRequest::from(call));
            convert(lease(peer).lease_grant(call).await, Reply::LeaseGrant)
        }
        Call::LeaseRevoke(id) => {
            let call = cover.of(pb::LeaseRevokeRequest::from(id));
            convert(lease(peer).lease_revoke(call).await, Reply::LeaseRevoke)
        }
        Call::LeaseTimeToLive(call) => {
            let call = cover.of(pb::LeaseTimeToLiveRequest::from(call));
            convert(
                lease(peer).lease_time_to_live(call).await,
                Reply::LeaseTimeToLive,
            )
        }
        Call::LeaseLeases => {
            let call = cover.of(pb::LeaseLeasesRequest {});
            convert(lease(peer).lease_leases(call).await, Reply::LeaseLeases)
        }
        Call::Lock(call) => {
            let call = with_leader(cover.of(v3lockpb::LockRequest::from(call)));
            let reply = LockClient::new(peer.waiting()).lock(call).await?;
            Ok(lock_reply(reply.into_inner()))
        }
        Call::Unlock(call) => {
            let call = cover.of(v3lockpb::UnlockRequest::from(call));
            convert(
                LockClient::new(peer.short()).unlock(call).await,
                Reply::Unlock,
            )
        }
    }
}

fn kv(peer: &Peer) -> KvClient<Channel> {
    KvClient::new(peer.short()).max_decoding_message_size(MAX_REPLY)
}

fn lease(peer: &Peer) -> LeaseClient<Channel> {
    LeaseClient::new(peer.short()).max_decoding_message_size(MAX_REPLY)
}

fn convert<M, T>(reply: Result<Response<M>, Status>, variant: impl FnOnce(T) -> Reply) -> Sent
where
    T: TryFrom<M, Error = Error>,
{
    Ok(T::try_from(reply?.into_inner()).map(variant))
}

/// The RPC's reply lacks the create revision: zero stands for it until the key is read back.
fn lock_reply(reply: v3lockpb::LockResponse) -> Result<Reply> {
    let odd = || {
        Error::new(
            ErrorKind::Protocol,
            "a grant without a header or a key: is it an etcd?",
        )
    };
    let header = reply.header.ok_or_else(odd)?.try_into()?;
    let key = LockKey::new(reply.key).map_err(|error| odd().with_source(error))?;
    Ok(Reply::Lock(LockResponse::new(header, key, Revision::ZERO)))
}

/// What goes with a message.
struct Cover<'a> {
    left: Timeout,
    pass: &'a Pass,
}

impl Cover<'_> {
    /// Tells the server who asks and how long it will wait, so that the server cleans up by itself.
    fn of<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = self.pass.show(tonic::Request::new(message));
        if let Timeout::After(left) = self.left
            && left < MAX_TIMEOUT
        {
            request.set_timeout(left);
        }
        request
    }
}

/// Has a member without a leader refuse at once, instead of letting the caller wait for nothing.
fn with_leader<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
    request
}

fn is_not_permitted(reply: &WatchResponse) -> bool {
    matches!(&reply.body, WatchBody::Canceled { reason, .. } if reason.contains("permission denied"))
}

fn login_ended() -> Error {
    let text = "the login ended: the stream has to be opened with a new one";
    Error::new(ErrorKind::Unavailable, text)
}

/// A stream of messages under a name of its own: the compiler can't show that a future with a bare trait object in it may
/// be sent to another thread.
struct Outgoing<T>(BoxStream<T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// The endpoint that a request goes to.
struct Asked {
    peers: Arc<Peers>,
    number: usize,
}

impl Asked {
    fn current(peers: Arc<Peers>) -> Self {
        let number = peers.current();
        Self { peers, number }
    }

    fn peer(&self) -> &Peer {
        self.peers.peer(self.number)
    }

    fn auth(&self) -> &Auth {
        self.peers.auth()
    }

    /// What its requests have to show.
    async fn pass(&self) -> Result<Pass> {
        let pass = self.auth().pass(self.peer().short()).await;
        pass.map_err(|status| self.failed(status, true))
    }

    async fn send(&self, request: Request, pass: &Pass) -> Result<Reply> {
        let is_read = request.call.is_read();
        match send(request, self.peer(), pass).await {
            Ok(reply) => reply,
            Err(status) => Err(self.failed(*status, is_read)),
        }
    }

    /// As [`failed`](Self::failed), for a stream, which is opened again where another token may be better.
    async fn failed_on_stream(&self, status: Status, pass: &Pass) -> Error {
        let error = self.failed(status, true);
        match self.auth().is_over(pass, &error).await {
            true => login_ended().with_source(error),
            false => error,
        }
    }

    /// Says what a status means, and leaves the endpoint where it means that it can't be reached.
    fn failed(&self, status: Status, is_read: bool) -> Error {
        let error = status::error(status, self.peer().name(), is_read);
        if matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol
        ) {
            self.peers.leave(self.number);
        }
        error
    }
}
