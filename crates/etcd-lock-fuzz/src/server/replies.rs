//! Replies over HTTP: the framing of gRPC, its status, and the message.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;

use etcd_lock_core::{Error, Result, Transport};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_proto::etcdserverpb as pb;
use futures_util::stream::{self, StreamExt};
use prost::Message;

use super::calls::{grant, is_by_a_server, lease, left, options, read, run, said, watched, write};
use super::reply::Canned;

/// The first byte says which call is answered.
pub(crate) fn unary_reply(bytes: &[u8]) {
    let Some((&call, bytes)) = bytes.split_first() else {
        return;
    };
    if let Some(reply) = Canned::new(bytes) {
        run(asked(call, &reply));
    }
}

pub(crate) fn stream_replies(bytes: &[u8]) {
    if let Some(reply) = Canned::new(bytes) {
        run(streamed(&reply));
    }
}

async fn asked(call: u8, reply: &Canned) {
    let transport = transport(reply.clone());
    match call % 6 {
        0 => {
            is_right::<pb::RangeResponse, _>(reply, true, transport.range(read(), options()).await)
        }
        1 => is_right::<pb::TxnResponse, _>(reply, false, transport.txn(write(), options()).await),
        2 => is_right::<pb::LeaseGrantResponse, _>(
            reply,
            false,
            transport.lease_grant(grant(), options()).await,
        ),
        3 => is_right::<pb::LeaseRevokeResponse, _>(
            reply,
            false,
            transport.lease_revoke(lease(), options()).await,
        ),
        4 => is_right::<pb::LeaseTimeToLiveResponse, _>(
            reply,
            true,
            transport.lease_time_to_live(left(), options()).await,
        ),
        _ => is_right::<pb::LeaseLeasesResponse, _>(
            reply,
            true,
            transport.lease_leases(options()).await,
        ),
    }
}

/// A result is that of the first message. An error of a server that says that all is well leaves it open whether something
/// was changed.
fn is_right<M, T>(reply: &Canned, is_read: bool, result: Result<T>)
where
    M: Message + Default,
    T: TryFrom<M, Error = Error> + Debug + PartialEq,
{
    let first = reply.messages::<M>().into_iter().next();
    let expected = first.and_then(|message| T::try_from(message.ok()?).ok());
    match result {
        Ok(result) => assert_eq!(Some(result), expected),
        Err(error) => {
            is_by_a_server(&error, is_read);
            if reply.is_success() {
                assert_eq!(error.is_outcome_unknown(), !is_read, "{error:?}");
                assert!(expected.is_none() || !reply.is_one_message(), "{error:?}");
            }
        }
    }
}

async fn streamed(reply: &Canned) {
    let told = watched(&transport(reply.clone())).await;
    are_right::<pb::WatchResponse, _>(reply, told);
    let leases = Box::pin(stream::iter([lease()]).chain(stream::pending()));
    let renewed = said(transport(reply.clone()).lease_keep_alive(leases)).await;
    are_right::<pb::LeaseKeepAliveResponse, _>(reply, renewed);
}

/// Each result is that of its message.
fn are_right<M, T>(reply: &Canned, results: Vec<Result<T>>)
where
    M: Message + Default,
    T: TryFrom<M, Error = Error> + Debug + PartialEq,
{
    let mut messages = reply.messages::<M>().into_iter();
    for result in results {
        let message = messages.next().and_then(Result::ok);
        match result {
            Ok(result) => assert_eq!(result, T::try_from(message.unwrap()).unwrap()),
            Err(error) => is_by_a_server(&error, true),
        }
    }
}

fn transport(reply: Canned) -> GrpcTransport {
    let answer = move |_| ready(Ok::<_, Infallible>(reply.response()));
    GrpcTransport::builder(ConnectOptions::new().with_max_attempts(1))
        .channel(tower::service_fn(answer))
        .build()
        .unwrap()
}
