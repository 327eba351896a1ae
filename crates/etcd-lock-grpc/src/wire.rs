//! One request, sent once, to one endpoint.
//!
//! Each attempt has a bound: [`Options::with_attempt_timeout`](crate::Options::with_attempt_timeout), or a third of the
//! request's own timeout where that is less, but never less than [`LEAST_BOUND`]. The look-up of the name, the connection,
//! the wait for a turn on it and the login count. When it has passed, a request that may be repeated is given up here and
//! can be sent to another endpoint. One that may not is waited for as long as its endpoint gives signs of life: nothing would
//! be won by giving it up earlier. Either is given up when the cluster has got another leader since, because what was on its
//! way to the one before is lost.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_lock_core::lease::LeaseKeepAliveResponse;
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, Error, ErrorKind, LeaseId, LockKey, LockResponse, Result, Revision, Timeout,
};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use futures_util::future::BoxFuture;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::metadata::MetadataValue;
use tonic::{Response, Status};
use tower::Service;
use v3lockpb::lock_client::LockClient;

use crate::auth::Pass;
use crate::connection::Channel;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::info::Info;
use crate::layers::{Call, Reply, Request, Streams};
use crate::monitor::HELD_UP;
use crate::pool::{Purpose, Slot};
use crate::{status, streams};

/// The largest reply that is read: the keys of a queue of half a million waiters fit.
pub(crate) const MAX_REPLY: usize = 64 * 1024 * 1024;

/// The least bound of an attempt: what is slower than this on a healthy network isn't well.
const LEAST_BOUND: Duration = Duration::from_millis(500);

/// The longest time that the `grpc-timeout` header can say is 99,999,999 hours; longer is as good as none.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sends each request once, to the endpoint of choice: what is below the layers of a
/// [`GrpcTransport`](crate::GrpcTransport).
#[derive(Clone, Debug)]
pub struct Wire(Arc<Endpoints>);

impl Wire {
    pub(crate) fn new(endpoints: Endpoints) -> Self {
        Self(Arc::new(endpoints))
    }

    pub(crate) fn info(&self) -> Info {
        self.0.info()
    }
}

impl Streams for Wire {
    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        streams::keep_alive(self.0.clone(), leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        streams::watch(self.0.clone(), requests)
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
        Box::pin(attempt(self.0.clone(), request))
    }
}

async fn attempt(endpoints: Arc<Endpoints>, request: Request) -> Result<Reply> {
    let bound = bound(request.timeout, endpoints.bound());
    let until = Instant::now() + bound;
    let (number, method) = (request.attempt, request.call.method());
    let prepared = timeout_at(until, Attempt::prepare(endpoints, until, &request.call)).await;
    let attempt = prepared.unwrap_or_else(|_| Err(not_asked(bound)))?;
    let result = attempt.run(request).await;
    tracing::debug!(
        rpc.method = method,
        server.address = attempt.endpoint.name(),
        attempt = number,
        error.type = result.as_ref().err().map(|error| error.kind().as_str()),
        "attempt ended"
    );
    result
}

/// How long one attempt may take.
fn bound(timeout: Timeout, usual: Duration) -> Duration {
    match timeout {
        Timeout::After(all) => (all / 3).max(LEAST_BOUND).min(usual),
        Timeout::Infinity => usual,
    }
}

/// An endpoint that can be asked.
struct Attempt {
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    slot: Slot,
    pass: Pass,
    until: Instant,
}

impl Attempt {
    async fn prepare(endpoints: Arc<Endpoints>, until: Instant, call: &Call) -> Result<Self> {
        let purpose = match call {
            Call::Lock(_) => Purpose::Lock,
            _ => Purpose::Short,
        };
        let (endpoint, slot) = endpoints.slot(purpose).await?;
        let pass = endpoints.auth().pass(&endpoint).await?;
        Ok(Self {
            endpoints,
            endpoint,
            slot,
            pass,
            until,
        })
    }

    async fn run(&self, request: Request) -> Result<Reply> {
        let error = match self.send(request.clone(), &self.pass).await {
            Err(error) if self.endpoints.auth().is_over(&self.pass, &error) => error,
            sent => return sent,
        };
        // It may have waited in the queue until its token ended: to ask again is up to who knows what it left there.
        if matches!(request.call, Call::Lock(_)) {
            return Err(error);
        }
        let pass = timeout_at(self.until, self.endpoints.auth().pass(&self.endpoint));
        let pass = pass.await.unwrap_or(Err(error))?;
        self.send(request, &pass).await
    }

    async fn send(&self, request: Request, pass: &Pass) -> Result<Reply> {
        let (is_read, is_repeatable) = (request.call.is_read(), request.call.is_repeatable());
        let mut silence = self.endpoint.silence();
        let (mut channel, mut question, mut wait) = (self.slot.channel.clone(), None, None);
        if matches!(request.call, Call::Lock(_)) {
            wait = Some(self.endpoint.wait());
        } else {
            let asked = Arc::new(self.endpoint.ask());
            channel = channel.answering(asked.clone());
            question = Some(asked);
        }
        let superseded = self.endpoint.superseded(self.endpoint.term());
        let sent = send(request, channel, pass);
        tokio::pin!(sent, superseded);
        let (mut is_bounded, mut until) = (is_repeatable, self.until);
        let sent = loop {
            tokio::select! {
                biased;
                sent = &mut sent => break sent,
                () = silence.found() => return Err(self.unanswered(is_read)),
                () = &mut superseded, if question.as_ref().is_some_and(|asked| !asked.is_closed()) => {
                    return Err(self.unanswered(is_read));
                }
                () = sleep_until(until), if is_bounded => {
                    if Instant::now() > until + HELD_UP {
                        until = Instant::now() + HELD_UP;
                        continue;
                    }
                    if !question.as_ref().is_some_and(|asked| asked.is_closed()) {
                        self.endpoint.suspect("a request got no answer in time");
                        return Err(self.unanswered(is_read));
                    }
                    // The reply has begun, so the endpoint is well: how long it is may take until the deadline.
                    is_bounded = false;
                }
            }
        };
        drop(wait);
        let reply = match sent {
            Ok(reply) => reply?,
            Err(status) => {
                return Err(status::note(
                    *status,
                    &self.endpoint,
                    question.as_deref(),
                    is_read,
                ));
            }
        };
        if let Some(header) = reply.header() {
            self.endpoint.check(header)?;
            self.endpoint.note_term(header.raft_term);
        }
        self.endpoint.succeed();
        Ok(reply)
    }

    fn unanswered(&self, is_read: bool) -> Error {
        let text = format!("{} gave no answer in time", self.endpoint.name());
        let error = Error::new(ErrorKind::Unavailable, text);
        match is_read {
            true => error,
            false => error.with_outcome_unknown(),
        }
    }
}

fn not_asked(bound: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("no endpoint could be asked within {bound:?}"),
    )
}

/// What the server says, and what the conversion of its reply says.
type Sent = Result<Result<Reply>, Box<Status>>;

async fn send(request: Request, channel: Channel, pass: &Pass) -> Sent {
    let cover = Cover {
        left: request.left(),
        pass,
    };
    match request.call {
        Call::Range(call) => {
            let call = cover.of(pb::RangeRequest::from(call));
            convert(kv(channel).range(call).await, Reply::Range)
        }
        Call::Txn(call) => {
            let call = match pb::TxnRequest::try_from(call) {
                Ok(call) => cover.of(call),
                Err(unsupported) => return Ok(Err(unsupported)),
            };
            convert(kv(channel).txn(call).await, Reply::Txn)
        }
        Call::LeaseGrant(call) => {
            let call = cover.of(pb::LeaseGrantRequest::from(call));
            convert(lease(channel).lease_grant(call).await, Reply::LeaseGrant)
        }
        Call::LeaseRevoke(id) => {
            let call = cover.of(pb::LeaseRevokeRequest::from(id));
            convert(lease(channel).lease_revoke(call).await, Reply::LeaseRevoke)
        }
        Call::LeaseTimeToLive(call) => {
            let call = cover.of(pb::LeaseTimeToLiveRequest::from(call));
            let reply = lease(channel).lease_time_to_live(call).await;
            convert(reply, Reply::LeaseTimeToLive)
        }
        Call::LeaseLeases => {
            let call = cover.of(pb::LeaseLeasesRequest {});
            convert(lease(channel).lease_leases(call).await, Reply::LeaseLeases)
        }
        Call::Lock(call) => {
            let call = with_leader(cover.of(v3lockpb::LockRequest::from(call)));
            let reply = LockClient::new(channel).lock(call).await?;
            Ok(lock_reply(reply.into_inner()))
        }
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_REPLY)
}

fn lease(channel: Channel) -> LeaseClient<Channel> {
    LeaseClient::new(channel).max_decoding_message_size(MAX_REPLY)
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
pub(crate) fn with_leader<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
    request
}
