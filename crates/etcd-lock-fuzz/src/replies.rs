//! Replies of a server. One that an etcd can give keeps everything, and any other is an error of kind `Protocol`.

mod parts;

use etcd_lock_core::kv::{OpResponse, RangeResponse, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{EventKind, WatchBody, WatchResponse};
use etcd_lock_core::{LeaseId, Ttl, UnlockResponse};
use etcd_lock_proto::{etcdserverpb as pb, v3lockpb};
use pb::response_op::Response;
use prost::Message;

use self::parts::{converted, is_header, is_kv, is_of, same_kv, same_kvs};

pub(crate) fn range_reply(bytes: &[u8]) {
    let Ok(reply) = pb::RangeResponse::decode(bytes) else {
        return;
    };
    let is_possible = is_header(reply.header) && is_range(&reply);
    if let Some(read) = converted::<_, RangeResponse>(&reply, is_possible) {
        is_of(&read.header, reply.header);
        same_range(&read, &reply);
    }
}

pub(crate) fn txn_reply(bytes: &[u8]) {
    let Ok(reply) = pb::TxnResponse::decode(bytes) else {
        return;
    };
    let is_possible = is_header(reply.header) && is_txn(&reply);
    if let Some(done) = converted::<_, TxnResponse>(&reply, is_possible) {
        is_of(&done.header, reply.header);
        same_txn(&done, &reply);
    }
}

pub(crate) fn watch_reply(bytes: &[u8]) {
    let Ok(reply) = pb::WatchResponse::decode(bytes) else {
        return;
    };
    let is_event = |event: &etcd_lock_proto::mvccpb::Event| {
        let prev = event.prev_kv.as_ref();
        (0..=1).contains(&event.r#type)
            && event.kv.as_ref().is_some_and(is_kv)
            && prev.is_none_or(is_kv)
    };
    let is_possible = match (reply.canceled, reply.created) {
        // A cancelled watch ends: no other field counts, and some servers leave the header out.
        (true, _) => reply.header.is_none() || is_header(reply.header),
        (false, true) => is_header(reply.header),
        (false, false) => is_header(reply.header) && reply.events.iter().all(is_event),
    };
    let Some(told) = converted::<_, WatchResponse>(&reply, is_possible) else {
        return;
    };
    assert_eq!(told.id, reply.watch_id);
    match told.body {
        WatchBody::Canceled {
            reason,
            compact_revision,
        } => {
            assert!(reply.canceled);
            assert_eq!(reason, reply.cancel_reason);
            let compacted = compact_revision.map_or(0, |at| at.get());
            assert_eq!(compacted, reply.compact_revision.max(0));
        }
        WatchBody::Created => assert!(reply.created && !reply.canceled),
        WatchBody::Events(events) => {
            assert_eq!(events.len(), reply.events.len());
            for (event, sent) in events.iter().zip(&reply.events) {
                assert_eq!(event.kind == EventKind::Delete, sent.r#type == 1);
                same_kv(&event.kv, sent.kv.as_ref().unwrap());
                assert_eq!(event.prev_kv.is_some(), sent.prev_kv.is_some());
            }
        }
        other => panic!("{other:?}"),
    }
}

/// The first byte says of which RPC.
pub(crate) fn lease_reply(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, bytes)) => grant(bytes),
        Some((1, bytes)) => keep_alive(bytes),
        Some((2, bytes)) => time_to_live(bytes),
        Some((3, bytes)) => leases(bytes),
        Some((4, bytes)) => revoke(bytes),
        Some((5, bytes)) => unlock(bytes),
        _ => {}
    }
}

fn grant(bytes: &[u8]) {
    if let Ok(reply) = pb::LeaseGrantResponse::decode(bytes) {
        let is_possible = is_header(reply.header) && reply.id > 0 && is_ttl(reply.ttl);
        if let Some(granted) = converted::<_, LeaseGrantResponse>(&reply, is_possible) {
            assert_eq!(
                (granted.id.get(), granted.ttl.as_secs()),
                (reply.id, reply.ttl)
            );
        }
    }
}

fn keep_alive(bytes: &[u8]) {
    if let Ok(reply) = pb::LeaseKeepAliveResponse::decode(bytes) {
        let is_possible = is_header(reply.header) && reply.id > 0 && reply.ttl <= Ttl::MAX_SECS;
        if let Some(renewed) = converted::<_, LeaseKeepAliveResponse>(&reply, is_possible) {
            assert_eq!(renewed.id.get(), reply.id);
            assert_eq!(renewed.ttl.map_or(0, Ttl::as_secs), reply.ttl.max(0));
        }
    }
}

fn time_to_live(bytes: &[u8]) {
    if let Ok(reply) = pb::LeaseTimeToLiveResponse::decode(bytes) {
        let is_possible = is_header(reply.header)
            && reply.id > 0
            && (reply.granted_ttl == 0 || is_ttl(reply.granted_ttl));
        if let Some(lease) = converted::<_, LeaseTimeToLiveResponse>(&reply, is_possible) {
            assert_eq!(lease.id.get(), reply.id);
            assert_eq!(lease.remaining.is_none(), reply.ttl < 0);
            assert_eq!(lease.granted.map_or(0, Ttl::as_secs), reply.granted_ttl);
            assert_eq!(lease.keys, reply.keys);
        }
    }
}

fn leases(bytes: &[u8]) {
    if let Ok(reply) = pb::LeaseLeasesResponse::decode(bytes) {
        let listed = converted::<_, LeaseLeasesResponse>(&reply, is_header(reply.header));
        if let Some(listed) = listed {
            let ids = reply
                .leases
                .iter()
                .map(|lease| lease.id)
                .filter(|&id| id > 0);
            assert!(listed.leases.iter().copied().map(LeaseId::get).eq(ids));
        }
    }
}

fn revoke(bytes: &[u8]) {
    if let Ok(reply) = pb::LeaseRevokeResponse::decode(bytes) {
        converted::<_, LeaseRevokeResponse>(&reply, is_header(reply.header));
    }
}

fn unlock(bytes: &[u8]) {
    if let Ok(reply) = v3lockpb::UnlockResponse::decode(bytes) {
        converted::<_, UnlockResponse>(&reply, is_header(reply.header));
    }
}

fn is_ttl(secs: i64) -> bool {
    (1..=Ttl::MAX_SECS).contains(&secs)
}

/// A reply inside of a transaction may lack its header.
fn is_inner(header: Option<pb::ResponseHeader>) -> bool {
    header.is_none() || is_header(header)
}

fn is_range(reply: &pb::RangeResponse) -> bool {
    reply.count >= 0 && reply.kvs.iter().all(is_kv)
}

fn is_txn(reply: &pb::TxnResponse) -> bool {
    reply.responses.iter().all(|op| match &op.response {
        Some(Response::ResponseRange(reply)) => is_inner(reply.header) && is_range(reply),
        Some(Response::ResponsePut(reply)) => reply.prev_kv.as_ref().is_none_or(is_kv),
        Some(Response::ResponseDeleteRange(reply)) => {
            reply.deleted >= 0 && reply.prev_kvs.iter().all(is_kv)
        }
        Some(Response::ResponseTxn(reply)) => is_inner(reply.header) && is_txn(reply),
        None => false,
    })
}

fn same_range(read: &RangeResponse, reply: &pb::RangeResponse) {
    same_kvs(&read.kvs, &reply.kvs);
    assert_eq!(read.more, reply.more);
    assert_eq!(read.count, u64::try_from(reply.count).unwrap());
}

fn same_txn(done: &TxnResponse, reply: &pb::TxnResponse) {
    assert_eq!(done.succeeded, reply.succeeded);
    assert_eq!(done.responses.len(), reply.responses.len());
    for (done, reply) in done.responses.iter().zip(&reply.responses) {
        match (done, reply.response.as_ref().unwrap()) {
            (OpResponse::Range(read), Response::ResponseRange(reply)) => same_range(read, reply),
            (OpResponse::Put { prev_kv }, Response::ResponsePut(reply)) => {
                assert_eq!(prev_kv.is_some(), reply.prev_kv.is_some());
            }
            (OpResponse::Delete { deleted, prev_kvs }, Response::ResponseDeleteRange(reply)) => {
                assert_eq!(*deleted, u64::try_from(reply.deleted).unwrap());
                same_kvs(prev_kvs, &reply.prev_kvs);
            }
            (OpResponse::Txn(done), Response::ResponseTxn(reply)) => same_txn(done, reply),
            (done, reply) => panic!("{reply:?} became {done:?}"),
        }
    }
}
