//! Reading keys: etcd's `KV.Range`.

use std::cmp::Ordering;

use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::KeyValue;
use pb::range_request::{SortOrder, SortTarget};

use super::Model;
use super::history::{History, KeyRange};
use crate::Status;

impl Model {
    /// Reads keys.
    ///
    /// # Errors
    /// For an empty key, and for revisions that are compacted or yet to come.
    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        check(request)?;
        if request.revision > 0 {
            check_revision(&self.history, request)?;
        }
        let mut reply = read(&self.history, request, self.history.revision());
        reply.header = self.header();
        Ok(reply)
    }
}

pub(super) fn check(request: &pb::RangeRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        Err(Status::empty_key())
    } else {
        Ok(())
    }
}

/// A transaction doesn't take a revision below zero for now, as a read by itself does.
pub(super) fn check_revision(history: &History, request: &pb::RangeRequest) -> Result<(), Status> {
    if request.revision > history.revision() {
        return Err(Status::future());
    }
    if request.revision != 0 && request.revision < history.compacted() {
        return Err(Status::compacted());
    }
    Ok(())
}

/// Reads as of the request's revision, or as of `current`.
pub(super) fn read(
    history: &History,
    request: &pb::RangeRequest,
    current: i64,
) -> pb::RangeResponse {
    let range = KeyRange::new(&request.key, &request.range_end);
    let at = if request.revision > 0 {
        request.revision
    } else {
        current
    };
    if request.count_only {
        let count = history.count(&range, at);
        return reply(Vec::new(), count, false);
    }
    if let Some(reply) = read_folder(history, request, &range) {
        return reply;
    }
    let all = history.range(&range, at);
    let mut count = 0;
    let mut kvs: Vec<_> = all
        .inspect(|_| count += 1)
        .filter(|kv| passes(request, kv))
        .collect();
    sort(request, &mut kvs);
    let limit = limit(request).unwrap_or(kvs.len());
    let more = kvs.len() > limit;
    let kvs = kvs
        .into_iter()
        .take(limit)
        .map(|kv| answered(request, kv))
        .collect();
    reply(kvs, count, more)
}

/// The way of a lock's queue: a folder as it is now, by create revision, of which only the first few are wanted.
fn read_folder(
    history: &History,
    request: &pb::RangeRequest,
    range: &KeyRange,
) -> Option<pb::RangeResponse> {
    let limit = limit(request)?;
    if request.revision > 0 || request.sort_target() != SortTarget::Create {
        return None;
    }
    let newest = match request.max_create_revision {
        0 => i64::MAX,
        newest => newest,
    };
    let created = request.min_create_revision..=newest;
    let (count, oldest_first) = history.folder(range, created)?;
    let take = |kvs: &mut dyn Iterator<Item = &KeyValue>| {
        let kvs = kvs.filter(|kv| passes(request, kv)).take(limit + 1);
        kvs.map(|kv| answered(request, kv)).collect::<Vec<_>>()
    };
    let mut kvs = match request.sort_order() {
        SortOrder::Descend => take(&mut oldest_first.rev()),
        SortOrder::Ascend | SortOrder::None => take(&mut { oldest_first }),
    };
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    Some(reply(kvs, count, more))
}

fn passes(request: &pb::RangeRequest, kv: &KeyValue) -> bool {
    let above = |min: i64, revision| min == 0 || revision >= min;
    let below = |max: i64, revision| max == 0 || revision <= max;
    above(request.min_mod_revision, kv.mod_revision)
        && below(request.max_mod_revision, kv.mod_revision)
        && above(request.min_create_revision, kv.create_revision)
        && below(request.max_create_revision, kv.create_revision)
}

/// A target other than the key sorts upwards where no order is given; numbers that are no target or order don't sort.
fn sort(request: &pb::RangeRequest, kvs: &mut [&KeyValue]) {
    let Ok(target) = SortTarget::try_from(request.sort_target) else {
        return;
    };
    let order = match SortOrder::try_from(request.sort_order) {
        Ok(SortOrder::None) if target != SortTarget::Key => SortOrder::Ascend,
        Ok(order) => order,
        Err(_) => return,
    };
    let by = |a: &&KeyValue, b: &&KeyValue| compare(target, a, b);
    match order {
        SortOrder::None => {}
        SortOrder::Ascend => kvs.sort_by(by),
        SortOrder::Descend => kvs.sort_by(|a, b| by(b, a)),
    }
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

fn limit(request: &pb::RangeRequest) -> Option<usize> {
    usize::try_from(request.limit)
        .ok()
        .filter(|&limit| limit > 0)
}

fn answered(request: &pb::RangeRequest, kv: &KeyValue) -> KeyValue {
    let mut kv = kv.clone();
    if request.keys_only {
        kv.value.clear();
    }
    kv
}

fn reply(kvs: Vec<KeyValue>, count: usize, more: bool) -> pb::RangeResponse {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    pb::RangeResponse {
        header: None,
        kvs,
        more,
        count,
    }
}
