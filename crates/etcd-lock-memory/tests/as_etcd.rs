//! Answers in which the in-memory etcd once differed from a real one, or might have: the comparison with etcd 3.4.23 and 3.5.1
//! found most of them.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use bytes::Bytes;
use etcd_lock_memory::model::{LockWait, Model, StreamId};
use etcd_lock_memory::{Code, Status};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use pb::request_op::Request;
use pb::watch_request::RequestUnion;

#[test]
fn put_looks_for_the_lease_before_the_key() {
    let status = Model::default()
        .put(&put_without_key_and_lease())
        .unwrap_err();
    assert_eq!(status.code, Code::NotFound);
}

#[test]
fn txn_looks_for_the_key_before_the_lease() {
    let put = Request::RequestPut(put_without_key_and_lease());
    let status = Model::default().txn(&txn([put])).unwrap_err();
    assert_eq!(status.message, "etcdserver: key not found");
}

#[test]
fn txn_looks_at_its_puts_before_its_reads() {
    let put = pb::PutRequest {
        lease: 1,
        ..put("b")
    };
    let ops = [read_at(99), Request::RequestPut(put)];
    let status = Model::default().txn(&txn(ops)).unwrap_err();
    assert_eq!(status.code, Code::NotFound);
}

#[test]
fn only_a_read_by_itself_takes_a_negative_revision_for_now() {
    let mut model = compacted();
    let read = pb::RangeRequest {
        key: "a".into(),
        revision: -1,
        ..pb::RangeRequest::default()
    };
    assert_eq!(model.range(&read).unwrap().count, 1);
    let status = model.txn(&txn([read_at(-1)])).unwrap_err();
    assert_eq!(
        status.message,
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[test]
fn watch_from_the_last_revision_that_there_can_be_waits() {
    let mut model = compacted();
    let stream = model.open_watch_stream();
    let replies = watch(&mut model, stream, 0, i64::MAX);
    assert_eq!(replies.len(), 1);
    assert!(replies[0].created);
}

#[test]
fn watch_that_came_too_late_is_not_called_cancelled_after_a_compaction_at_zero() {
    let mut model = Model::default();
    let stream = model.open_watch_stream();
    model.compact(&at(0)).unwrap();
    let ended = watch(&mut model, stream, 0, -1).remove(1);
    assert!(!ended.canceled && !ended.created && ended.compact_revision == 0);
    model.put(&put("a")).unwrap();
    assert!(model.next_watch_response(stream).is_none());
}

#[test]
fn watch_that_came_too_late_keeps_its_id_until_it_is_cancelled() {
    let mut model = compacted();
    let stream = model.open_watch_stream();
    let replies = watch(&mut model, stream, 7, 1);
    assert!(replies[0].created && replies[1].canceled);

    let refused = watch(&mut model, stream, 7, 0).remove(0);
    assert!(refused.created && refused.canceled, "{refused:?}");

    let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 });
    assert!(ask(&mut model, stream, cancel)[0].canceled);
    let created = watch(&mut model, stream, 7, 0).remove(0);
    assert!(created.created && !created.canceled, "{created:?}");
}

#[test]
fn watch_from_the_compacted_revision_is_told_of_its_puts() {
    let mut model = compacted();
    let stream = model.open_watch_stream();
    let revision = model.revision();
    let replies = watch(&mut model, stream, 0, revision);
    let told = replies[1].events[0].kv.as_ref().unwrap();
    assert_eq!(told.mod_revision, revision);
}

#[test]
fn key_of_a_lock_with_a_negative_lease_has_a_sign() {
    let mut model = Model::default();
    grant(&mut model, -5);
    let request = v3lockpb::LockRequest {
        name: "l".into(),
        lease: -5,
    };
    let LockWait::Done(held) = model.lock(&request) else {
        panic!("the lock is free")
    };
    assert_eq!(held.unwrap().key, "l/-5");
}

#[test]
fn picked_lease_numbers_grow() {
    let mut model = Model::default();
    let (first, second) = (grant(&mut model, 0), grant(&mut model, 0));
    assert!(0 < first && first < second);
}

#[test]
fn first_compaction_may_be_at_zero() {
    let mut model = Model::default();
    model.compact(&at(0)).unwrap();
    let status = model.compact(&at(0)).unwrap_err();
    assert_eq!(status.code, Code::OutOfRange);
    model.compact(&at(1)).unwrap();
}

#[test]
fn delete_that_is_too_large_is_refused() {
    let delete = pb::DeleteRangeRequest {
        key: too_large(),
        ..pb::DeleteRangeRequest::default()
    };
    let status = Model::default().delete_range(&delete).unwrap_err();
    is_too_large(&status, Code::InvalidArgument);
}

#[test]
fn txn_that_only_reads_may_be_large() {
    let read = pb::RangeRequest {
        key: too_large(),
        ..pb::RangeRequest::default()
    };
    let read = Request::RequestRange(read);
    let mut model = Model::default();
    model.txn(&txn([read.clone()])).unwrap();
    let ops = [read, Request::RequestPut(put("a"))];
    let status = model.txn(&txn(ops)).unwrap_err();
    is_too_large(&status, Code::InvalidArgument);
}

/// A key at the compacted revision, which is not the first.
fn compacted() -> Model {
    let mut model = Model::default();
    model.put(&put("a")).unwrap();
    model.put(&put("a")).unwrap();
    let now = model.revision();
    model.compact(&at(now)).unwrap();
    model
}

const fn at(revision: i64) -> pb::CompactionRequest {
    pb::CompactionRequest {
        revision,
        physical: true,
    }
}

/// So many bytes as a request has at the most.
fn too_large() -> Bytes {
    vec![b'k'; 3 << 19].into()
}

fn is_too_large(status: &Status, code: Code) {
    assert_eq!(status.code, code);
    assert_eq!(status.message, "etcdserver: request is too large");
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.into(),
        ..pb::PutRequest::default()
    }
}

fn put_without_key_and_lease() -> pb::PutRequest {
    pb::PutRequest {
        lease: 1,
        ignore_value: true,
        ..put("a")
    }
}

fn read_at(revision: i64) -> Request {
    Request::RequestRange(pb::RangeRequest {
        key: "a".into(),
        revision,
        ..pb::RangeRequest::default()
    })
}

fn txn<const N: usize>(ops: [Request; N]) -> pb::TxnRequest {
    let op = |op| pb::RequestOp { request: Some(op) };
    pb::TxnRequest {
        success: ops.map(op).to_vec(),
        ..pb::TxnRequest::default()
    }
}

fn grant(model: &mut Model, id: i64) -> i64 {
    let request = pb::LeaseGrantRequest { ttl: 60, id };
    model.lease_grant(&request).unwrap().id
}

fn watch(model: &mut Model, stream: StreamId, id: i64, start: i64) -> Vec<pb::WatchResponse> {
    let create = pb::WatchCreateRequest {
        key: "a".into(),
        start_revision: start,
        watch_id: id,
        ..pb::WatchCreateRequest::default()
    };
    ask(model, stream, RequestUnion::CreateRequest(create))
}

fn ask(model: &mut Model, stream: StreamId, request: RequestUnion) -> Vec<pb::WatchResponse> {
    let request_union = Some(request);
    model.watch(stream, pb::WatchRequest { request_union });
    std::iter::from_fn(|| model.next_watch_response(stream)).collect()
}
