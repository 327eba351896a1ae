//! The conditions of a transaction.

use std::cmp::Ordering;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb::Compare;
use etcd_lock_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use etcd_lock_proto::mvccpb::KeyValue;

use super::history::{History, KeyRange};

/// Whether a condition holds for its key, or for every key of its range.
pub(super) fn holds(history: &History, compare: &Compare) -> bool {
    let range = KeyRange::new(&compare.key, &compare.range_end);
    let mut keys = history.range(&range, i64::MAX).peekable();
    if keys.peek().is_some() {
        return keys.all(|kv| holds_for(compare, kv));
    }
    // A key that isn't there has no value to compare, and zero for every number.
    compare.target() != CompareTarget::Value && holds_for(compare, &KeyValue::default())
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = order(compare, kv);
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        // etcd's switch falls through for a result that it doesn't know.
        Err(_) => true,
    }
}

fn order(compare: &Compare, kv: &KeyValue) -> Ordering {
    let union = compare.target_union.as_ref();
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => kv.value.cmp(&value(union)),
        Ok(CompareTarget::Version) => kv.version.cmp(&number(union, CompareTarget::Version)),
        Ok(CompareTarget::Create) => kv
            .create_revision
            .cmp(&number(union, CompareTarget::Create)),
        Ok(CompareTarget::Mod) => kv.mod_revision.cmp(&number(union, CompareTarget::Mod)),
        Ok(CompareTarget::Lease) => kv.lease.cmp(&number(union, CompareTarget::Lease)),
        Err(_) => Ordering::Equal,
    }
}

/// A right side of another kind than the target counts as zero.
fn number(union: Option<&TargetUnion>, target: CompareTarget) -> i64 {
    match (union, target) {
        (Some(TargetUnion::Version(number)), CompareTarget::Version)
        | (Some(TargetUnion::CreateRevision(number)), CompareTarget::Create)
        | (Some(TargetUnion::ModRevision(number)), CompareTarget::Mod)
        | (Some(TargetUnion::Lease(number)), CompareTarget::Lease) => *number,
        _ => 0,
    }
}

fn value(union: Option<&TargetUnion>) -> Bytes {
    match union {
        Some(TargetUnion::Value(value)) => value.clone(),
        _ => Bytes::new(),
    }
}
