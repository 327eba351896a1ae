//! Requests of the `KV` service, but for transactions.

use etcd_lock_proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};
use proptest::prelude::{Just, Strategy};

use super::{ENUM_NUMBERS, key, lease_or_none, revision, seldom, value};
use crate::differential::numbers::AHEAD;

pub(super) fn range() -> impl Strategy<Value = pb::RangeRequest> + Clone {
    // An order that etcd knows of a target that it doesn't ends it (`tests/known_differences.rs`), so it isn't asked for.
    let sort =
        (ENUM_NUMBERS, ENUM_NUMBERS).prop_map(|(order, target)| {
            match SortTarget::try_from(target) {
                Err(_) if SortOrder::try_from(order).is_ok() => (order, SortTarget::Key.into()),
                _ => (order, target),
            }
        });
    let flags = (seldom(), seldom(), seldom());
    let filters = (filter(), filter(), filter(), filter());
    let limit = proptest::prop_oneof![2 => Just(0), 2 => 1_i64..4, 1 => Just(-1)];
    let at = proptest::prop_oneof![3 => Just(0), 2 => revision()];
    (super::range(), limit, at, sort, flags, filters).prop_map(
        |((key, range_end), limit, revision, sort, flags, filters)| pb::RangeRequest {
            key,
            range_end,
            limit,
            revision,
            sort_order: sort.0,
            sort_target: sort.1,
            serializable: flags.0,
            keys_only: flags.1,
            count_only: flags.2,
            min_mod_revision: filters.0,
            max_mod_revision: filters.1,
            min_create_revision: filters.2,
            max_create_revision: filters.3,
        },
    )
}

pub(super) fn put() -> impl Strategy<Value = pb::PutRequest> + Clone {
    let ignored = (seldom(), seldom(), seldom());
    (key(), value(), lease_or_none(), seldom(), ignored).prop_map(
        |(key, value, lease, prev_kv, (ignore_value, ignore_lease, is_bad))| {
            // A value or lease that is to be ignored must not be given; seldom it is all the same.
            pb::PutRequest {
                key,
                value: if ignore_value && !is_bad {
                    "".into()
                } else {
                    value
                },
                lease: if ignore_lease && !is_bad { 0 } else { lease },
                prev_kv,
                ignore_value,
                ignore_lease,
            }
        },
    )
}

pub(super) fn delete() -> impl Strategy<Value = pb::DeleteRangeRequest> + Clone {
    (super::range(), seldom()).prop_map(|((key, range_end), prev_kv)| pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

/// Always until the space is free: before that, etcd may or may not tell a watch of deletes at the compacted revision.
pub(super) fn compact() -> impl Strategy<Value = pb::CompactionRequest> + Clone {
    let back = AHEAD..AHEAD + 8;
    proptest::prop_oneof![4 => back, 1 => revision()].prop_map(|revision| pb::CompactionRequest {
        revision,
        physical: true,
    })
}

fn filter() -> impl Strategy<Value = i64> + Clone {
    proptest::prop_oneof![6 => Just(0), 1 => revision()]
}
