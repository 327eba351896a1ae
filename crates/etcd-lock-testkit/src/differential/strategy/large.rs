//! Requests that are as large as etcd takes them, or larger.

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use pb::request_op::Request;
use proptest::prelude::Strategy;
use proptest::sample::select;

use super::{key, seldom, txn};
use crate::differential::call::{Call, Step};
use crate::differential::numbers::OWN;

/// One that fits with all that is around it, whatever the number of etcd's request, and one that doesn't.
const SIZES: [usize; 2] = [LIMIT - 200, LIMIT];

/// The largest request that etcd puts into its log.
const LIMIT: usize = 3 << 19;

/// Names of locks, which are in one request seven times.
const NAMES: [usize; 2] = [200_000, 300_000];

pub(super) fn step() -> impl Strategy<Value = Step> + Clone {
    let put = put().prop_map(Call::Put);
    let range = name().prop_map(|key| Call::Range(read(key)));
    let delete = name().prop_map(|key| {
        Call::Delete(pb::DeleteRangeRequest {
            key,
            ..pb::DeleteRangeRequest::default()
        })
    });
    let unlock = name().prop_map(|key| Call::Unlock(v3lockpb::UnlockRequest { key }));
    let lock = select(&NAMES[..]).prop_map(|size| {
        Step::Lock(v3lockpb::LockRequest {
            name: filled(size),
            lease: OWN + 1,
        })
    });
    let calls =
        proptest::prop_oneof![4 => put, 1 => range, 1 => delete, 1 => unlock, 4 => transaction()];
    proptest::prop_oneof![8 => calls.prop_map(Step::Call), 1 => lock]
}

/// With a large read or a large put, and with or without another put.
fn transaction() -> impl Strategy<Value = Call> + Clone {
    let large = proptest::prop_oneof![
        name().prop_map(|key| Request::RequestRange(read(key))),
        put().prop_map(Request::RequestPut),
    ];
    (large, txn::op(), seldom()).prop_map(|(large, other, alone)| {
        let mut success = vec![txn::request(large)];
        if !alone {
            success.push(other);
        }
        Call::Txn(pb::TxnRequest {
            success,
            ..pb::TxnRequest::default()
        })
    })
}

fn put() -> impl Strategy<Value = pb::PutRequest> + Clone {
    (key(), name(), seldom()).prop_map(|(key, value, prev_kv)| pb::PutRequest {
        key,
        value,
        prev_kv,
        ..pb::PutRequest::default()
    })
}

fn read(key: Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key,
        ..pb::RangeRequest::default()
    }
}

fn name() -> impl Strategy<Value = Bytes> + Clone {
    select(&SIZES[..]).prop_map(filled)
}

fn filled(size: usize) -> Bytes {
    vec![b'x'; size].into()
}
