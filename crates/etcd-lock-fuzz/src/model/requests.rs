//! A sequence of requests out of bytes: for each a byte that says of which kind it is, a byte with the length of its
//! message, and the message as it is on the wire.

use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use prost::Message;

/// One request, or time that passes.
pub(crate) enum Request {
    Advance(Duration),
    CancelLock(usize),
    Compact(pb::CompactionRequest),
    Delete(pb::DeleteRangeRequest),
    Grant(pb::LeaseGrantRequest),
    KeepAlive(pb::LeaseKeepAliveRequest),
    Lock(v3lockpb::LockRequest),
    Put(pb::PutRequest),
    Range(pb::RangeRequest),
    Revoke(pb::LeaseRevokeRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Txn(pb::TxnRequest),
    Unlock(v3lockpb::UnlockRequest),
    Watch(pb::WatchRequest),
}

/// Those that can be read, up to the first that can't.
pub(crate) fn requests(bytes: &[u8]) -> impl Iterator<Item = Request> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (&[kind, length], after) = rest.split_first_chunk()?;
        let (message, after) = after.split_at_checked(length.into())?;
        rest = after;
        request(kind, message)
    })
}

fn request(kind: u8, message: &[u8]) -> Option<Request> {
    let first = message.first().copied().unwrap_or_default();
    match kind {
        b'a' => Some(Request::Advance(
            Duration::from_millis(100) * u32::from(first).pow(2),
        )),
        b'b' => Some(Request::CancelLock(first.into())),
        b'c' => decoded(message, Request::Compact),
        b'd' => decoded(message, Request::Delete),
        b'g' => decoded(message, Request::Grant),
        b'k' => decoded(message, Request::KeepAlive),
        b'l' => decoded(message, Request::Lock),
        b'p' => decoded(message, Request::Put),
        b'r' => decoded(message, Request::Range),
        b'e' => decoded(message, Request::Revoke),
        b't' => decoded(message, Request::TimeToLive),
        b'x' => decoded(message, Request::Txn),
        b'u' => decoded(message, Request::Unlock),
        b'w' => decoded(message, Request::Watch),
        _ => None,
    }
}

fn decoded<M: Message + Default>(
    message: &[u8],
    request: impl FnOnce(M) -> Request,
) -> Option<Request> {
    M::decode(message).ok().map(request)
}
