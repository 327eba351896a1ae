//! The requests of a transport as messages, and the service that sends each of them once.

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
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::{Response, Status};
use tower::Service;
use v3lockpb::lock_client::LockClient;

use crate::attempt::attempt;
use crate::auth::Pass;
use crate::connection::Channel;
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::info::Info;
use crate::layers::{Call, Reply, Request, Streams};
use crate::streams;

/// The largest reply that is read: the keys of a queue of half a million waiters fit.
pub(crate) const MAX_REPLY: usize = 64 * 1024 * 1024;

/// A longer timeout is as good as none, and is not told.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How exactly the server is told how long its caller waits.
const STEP: Duration = Duration::from_millis(10);

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

    pub(crate) fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        self.0.list()
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

/// The reply of the server, converted; an error of either.
pub(crate) type Sent = Result<Result<Reply>, Box<Status>>;

/// Sends a request over a channel.
pub(crate) async fn send(request: Request, channel: Channel, pass: &Pass) -> Sent {
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

/// The metadata of a message.
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
            && let Some(timeout) = header(left)
        {
            request.metadata_mut().insert("grpc-timeout", timeout);
        }
        request
    }
}

/// A timeout as the header has it, with a number of at most eight digits. It is rounded up: a header that is the same in
/// all calls is sent as one byte, and one that differs each time pushes the others out of the table that both sides keep.
/// The server may as well learn of the end a moment late: ours comes first, and tells it.
fn header(left: Duration) -> Option<AsciiMetadataValue> {
    let steps = left.as_nanos().div_ceil(STEP.as_nanos());
    let millis = steps * STEP.as_millis();
    let text = match millis {
        0..100_000_000 => format!("{millis}m"),
        _ => format!("{}S", millis.div_ceil(1000)),
    };
    text.parse().ok()
}

/// Has a member without a leader refuse at once, instead of letting the caller wait for nothing.
pub(crate) fn with_leader<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_has_at_most_eight_digits() {
        let said = |left| header(left).unwrap().to_str().unwrap().to_owned();
        for (left, text) in [
            (Duration::ZERO, "0m"),
            (Duration::from_nanos(1), "10m"),
            (Duration::from_millis(10), "10m"),
            (Duration::from_micros(8_999_123), "9000m"),
            (Duration::from_millis(99_999_990), "99999990m"),
            (Duration::from_millis(99_999_991), "100000S"),
            (MAX_TIMEOUT, "31536000S"),
        ] {
            assert_eq!(said(left), text);
        }
    }
}
