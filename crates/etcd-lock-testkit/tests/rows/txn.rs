//! Rows of `KV.Txn`.

use etcd_lock_proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;
use tonic::Code;

use super::etcd::{Answer, Etcd, deletion, prefix, put, range, refusal};

pub(crate) async fn an_unknown_lease_undoes_the_branch_taken(etcd: &Etcd) {
    let bad = pb::PutRequest {
        lease: 0xdead,
        ..put("bad", "")
    };
    let ops = vec![op(put("good", "")), op(bad)];
    let taken = pb::TxnRequest {
        success: ops.clone(),
        ..pb::TxnRequest::default()
    };
    let refused = refusal(Code::NotFound, "etcdserver: requested lease not found");
    assert_eq!(etcd.txn(taken).await, refused);
    assert!(etcd.get(b"good").await.is_none());

    let left = pb::TxnRequest {
        success: vec![op(put("good", ""))],
        failure: ops,
        ..pb::TxnRequest::default()
    };
    assert!(etcd.txn(left).await.unwrap().succeeded);
}

/// All numbers of a key that isn't there are zero, and it has no value to compare.
pub(crate) async fn a_missing_key_compares_as_zero(etcd: &Etcd) {
    let zeros = [
        TargetUnion::Version(0),
        TargetUnion::CreateRevision(0),
        TargetUnion::ModRevision(0),
        TargetUnion::Lease(0),
    ];
    for zero in zeros {
        assert!(holds(etcd, compare("missing", CompareResult::Equal, zero)).await);
    }
    for result in [CompareResult::Equal, CompareResult::NotEqual] {
        let value = TargetUnion::Value("".into());
        assert!(!holds(etcd, compare("missing", result, value)).await);
    }
}

pub(crate) async fn a_comparison_of_a_range_is_of_all_its_keys(etcd: &Etcd) {
    let over = |key: &str, result, target| pb::Compare {
        range_end: prefix(key).range_end,
        ..compare(key, result, target)
    };
    let once = || TargetUnion::Version(1);
    etcd.set("all/1", "").await;
    etcd.set("all/2", "").await;
    assert!(holds(etcd, over("all/", CompareResult::Equal, once())).await);
    etcd.set("all/2", "").await;
    assert!(!holds(etcd, over("all/", CompareResult::Equal, once())).await);
    assert!(holds(etcd, over("none/", CompareResult::Less, once())).await);
    let value = TargetUnion::Value("".into());
    assert!(!holds(etcd, over("none/", CompareResult::Equal, value)).await);
}

pub(crate) async fn a_key_is_not_written_twice(etcd: &Etcd) {
    let duplicate = refusal(
        Code::InvalidArgument,
        "etcdserver: duplicate key given in txn request",
    );
    let twice = vec![op(put("twice", "1")), op(put("twice", "2"))];
    assert_eq!(done(etcd, twice).await, duplicate);
    let around = pb::DeleteRangeRequest {
        range_end: prefix("twi").range_end,
        ..deletion("twi")
    };
    let deleted = vec![
        op(put("twice", "1")),
        pb::RequestOp {
            request: Some(Request::RequestDeleteRange(around)),
        },
    ];
    assert_eq!(done(etcd, deleted).await, duplicate);
}

pub(crate) async fn more_than_128_operations_are_too_many(etcd: &Etcd) {
    let reads = |count| vec![read(range(b"read")); count];
    let refused = refusal(
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request",
    );
    assert_eq!(done(etcd, reads(128)).await.unwrap().responses.len(), 128);
    assert_eq!(done(etcd, reads(129)).await, refused);
    let compares = |count| pb::TxnRequest {
        compare: vec![compare("read", CompareResult::Equal, TargetUnion::Version(0)); count],
        ..pb::TxnRequest::default()
    };
    assert!(etcd.txn(compares(128)).await.unwrap().succeeded);
    assert_eq!(etcd.txn(compares(129)).await, refused);
}

pub(crate) async fn an_operation_that_is_none_is_refused(etcd: &Etcd) {
    let none = vec![pb::RequestOp::default()];
    let refused = refusal(Code::InvalidArgument, "etcdserver: key not found");
    assert_eq!(done(etcd, none).await, refused);
}

pub(crate) async fn an_operation_sees_those_before_it(etcd: &Etcd) {
    let ops = vec![op(put("seen", "new")), read(range(b"seen"))];
    let reply = done(etcd, ops).await.unwrap();
    let revision = reply.header.unwrap().revision;
    let inner = pb::ResponseHeader {
        revision,
        ..pb::ResponseHeader::default()
    };
    let [
        Some(Response::ResponsePut(put)),
        Some(Response::ResponseRange(read)),
    ] = [&reply.responses[0].response, &reply.responses[1].response]
    else {
        panic!("{reply:?}");
    };
    assert_eq!((put.header, read.header), (Some(inner), Some(inner)));
    assert_eq!(&*read.kvs[0].value, b"new");
    assert_eq!(read.kvs[0].mod_revision, revision);
}

/// It isn't for the log, so it may be larger than what is.
pub(crate) async fn a_transaction_that_only_reads_may_be_large(etcd: &Etcd) {
    let long = "k".repeat(3 << 19);
    let reads = vec![read(range(long.as_bytes()))];
    assert!(done(etcd, reads).await.unwrap().succeeded);
    let refused = refusal(Code::InvalidArgument, "etcdserver: request is too large");
    let writes = vec![read(range(long.as_bytes())), op(put("short", ""))];
    assert_eq!(done(etcd, writes).await, refused);
}

async fn holds(etcd: &Etcd, compare: pb::Compare) -> bool {
    let request = pb::TxnRequest {
        compare: vec![compare],
        ..pb::TxnRequest::default()
    };
    etcd.txn(request).await.unwrap().succeeded
}

async fn done(etcd: &Etcd, success: Vec<pb::RequestOp>) -> Answer<pb::TxnResponse> {
    let request = pb::TxnRequest {
        success,
        ..pb::TxnRequest::default()
    };
    etcd.txn(request).await
}

pub(crate) fn compare(key: &str, result: CompareResult, right: TargetUnion) -> pb::Compare {
    let target = match &right {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.to_owned().into(),
        range_end: "".into(),
        target_union: Some(right),
    }
}

pub(crate) fn op(put: pb::PutRequest) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(Request::RequestPut(put)),
    }
}

pub(crate) fn read(range: pb::RangeRequest) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(Request::RequestRange(range)),
    }
}

pub(crate) fn delete(key: &str) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(Request::RequestDeleteRange(deletion(key))),
    }
}
