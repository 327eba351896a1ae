//! Facts of `KV.Txn`.

use etcd_lock_proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use tonic::Code;

use super::etcd::{Answer, Etcd, deletion, prefix, put, range, refusal};

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
