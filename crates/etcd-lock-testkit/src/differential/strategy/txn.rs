//! Transactions.

use etcd_lock_proto::etcdserverpb as pb;
use pb::compare::TargetUnion;
use pb::request_op::Request;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy};

use super::{ENUM_NUMBERS, keys, lease_or_none, revision, value};

/// One more than etcd takes.
const TOO_MANY: usize = 129;
/// So many on both levels together are too many.
const MANY: usize = 65;

pub(super) fn txn() -> impl Strategy<Value = pb::TxnRequest> + Clone {
    let flat = parts(op().boxed());
    let nested = flat
        .clone()
        .prop_map(|txn| request(Request::RequestTxn(txn)));
    let mixed = parts(proptest::prop_oneof![2 => op(), 1 => nested].boxed());
    let deep = mixed
        .clone()
        .prop_map(|txn| request(Request::RequestTxn(txn)));
    let deeper = parts(proptest::prop_oneof![2 => op(), 1 => deep].boxed());
    proptest::prop_oneof![8 => flat, 4 => mixed, 2 => deeper, 1 => large(), 1 => large_inside()]
}

fn parts(
    op: proptest::strategy::BoxedStrategy<pb::RequestOp>,
) -> impl Strategy<Value = pb::TxnRequest> + Clone {
    let parts = (vec(compare(), 0..3), vec(op.clone(), 0..4), vec(op, 0..3));
    parts.prop_map(|(compare, success, failure)| pb::TxnRequest {
        compare,
        success,
        failure,
    })
}

pub(super) fn op() -> impl Strategy<Value = pb::RequestOp> + Clone {
    let some = proptest::prop_oneof![
        4 => keys::range().prop_map(Request::RequestRange),
        5 => keys::put().prop_map(Request::RequestPut),
        2 => delete().prop_map(Request::RequestDeleteRange),
    ];
    option::weighted(0.98, some).prop_map(|request| pb::RequestOp { request })
}

/// Without end it is left out: etcd overlooks that it may delete a key that the same transaction puts, and changes the key
/// twice at one revision, which the model refuses.
fn delete() -> impl Strategy<Value = pb::DeleteRangeRequest> + Clone {
    keys::delete().prop_map(|mut delete| {
        if *delete.range_end == [0] {
            delete.range_end.clear();
        }
        delete
    })
}

pub(super) fn request(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn compare() -> impl Strategy<Value = pb::Compare> + Clone {
    let right = option::weighted(
        0.9,
        proptest::prop_oneof![
            (-1_i64..4).prop_map(TargetUnion::Version),
            revision().prop_map(TargetUnion::CreateRevision),
            revision().prop_map(TargetUnion::ModRevision),
            value().prop_map(TargetUnion::Value),
            lease_or_none().prop_map(TargetUnion::Lease),
        ],
    );
    let matching = proptest::prop_oneof![4 => Just(true), 1 => Just(false)];
    (super::range(), ENUM_NUMBERS, ENUM_NUMBERS, right, matching).prop_map(
        |((key, range_end), result, target, target_union, matching)| pb::Compare {
            result,
            target: match &target_union {
                Some(right) if matching => target_of(right),
                _ => target,
            },
            key,
            range_end,
            target_union,
        },
    )
}

fn target_of(right: &TargetUnion) -> i32 {
    match right {
        TargetUnion::Version(_) => 0,
        TargetUnion::CreateRevision(_) => 1,
        TargetUnion::ModRevision(_) => 2,
        TargetUnion::Value(_) => 3,
        TargetUnion::Lease(_) => 4,
    }
}

/// As many operations as etcd takes, or one more.
fn large() -> impl Strategy<Value = pb::TxnRequest> + Clone {
    let ops = (keys::range(), TOO_MANY - 1..=TOO_MANY);
    ops.prop_map(|(range, count)| pb::TxnRequest {
        success: vec![request(Request::RequestRange(range)); count],
        ..pb::TxnRequest::default()
    })
}

/// The same on two levels.
fn large_inside() -> impl Strategy<Value = pb::TxnRequest> + Clone {
    let ops = (keys::range(), MANY - 2..=MANY);
    ops.prop_map(|(range, count)| {
        let mut success = vec![request(Request::RequestRange(range)); count];
        let inside = pb::TxnRequest {
            success: success.clone(),
            ..pb::TxnRequest::default()
        };
        success[0] = request(Request::RequestTxn(inside));
        pb::TxnRequest {
            success,
            ..pb::TxnRequest::default()
        }
    })
}
