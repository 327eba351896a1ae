//! Writing keys: etcd's `KV.Put`, `DeleteRange` and `Compact`.

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::KeyValue;
use prost::Message;

use super::Model;
use super::history::{Change, KeyRange};
use crate::Status;

/// The largest request that etcd puts into its log, by default (`embed.DefaultMaxRequestBytes`).
const MAX_REQUEST: usize = 1_572_864;

/// The bytes that etcd puts around a request of that size: its kind and length, and its number. One byte less for half of
/// all members, whose numbers of requests are one byte shorter.
const AROUND: usize = 18;

impl Model {
    /// Writes a key.
    ///
    /// # Errors
    /// For an empty key, a lease that doesn't exist, `ignore_*` with a value or a lease or without a key, and a request
    /// that is too large.
    pub fn put(&mut self, request: &pb::PutRequest) -> Result<pb::PutResponse, Status> {
        check_put(request)?;
        check_size(request)?;
        self.check_lease(request)?;
        self.check_ignored(request)?;
        let mut changes = Vec::new();
        let mut reply = self.apply_put(request, &mut changes);
        self.commit(changes);
        reply.header = self.header();
        Ok(reply)
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// For an empty key, and a request that is too large.
    pub fn delete_range(
        &mut self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        check_delete(request)?;
        check_size(request)?;
        let mut changes = Vec::new();
        let mut reply = self.apply_delete(request, &mut changes);
        self.commit(changes);
        reply.header = self.header();
        Ok(reply)
    }

    /// Forgets history before a revision.
    ///
    /// # Errors
    /// For a revision that is compacted already, or yet to come.
    pub fn compact(
        &mut self,
        request: &pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Status> {
        if request.revision <= self.history.compacted() {
            return Err(Status::compacted());
        }
        if request.revision > self.history.revision() {
            return Err(Status::future());
        }
        self.history.compact(request.revision);
        Ok(pb::CompactionResponse {
            header: self.header(),
        })
    }

    /// Whether the lease that a put names is there.
    pub(super) fn check_lease(&self, request: &pb::PutRequest) -> Result<(), Status> {
        if request.lease != 0 && !self.leases.contains(request.lease) {
            return Err(Status::lease_not_found());
        }
        Ok(())
    }

    /// Whether there is a key of which a put keeps what it is to ignore.
    pub(super) fn check_ignored(&self, request: &pb::PutRequest) -> Result<(), Status> {
        let needs_key = request.ignore_value || request.ignore_lease;
        if needs_key && self.history.get(&request.key).is_none() {
            return Err(Status::key_not_found());
        }
        Ok(())
    }

    pub(super) fn apply_put(
        &mut self,
        request: &pb::PutRequest,
        changes: &mut Vec<Change>,
    ) -> pb::PutResponse {
        let old = self.history.get(&request.key).cloned();
        let revision = self.history.next_revision();
        let known = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: request.key.clone(),
            value: if request.ignore_value {
                known.value
            } else {
                request.value.clone()
            },
            lease: if request.ignore_lease {
                known.lease
            } else {
                request.lease
            },
            create_revision: if old.is_some() {
                known.create_revision
            } else {
                revision
            },
            mod_revision: revision,
            version: known.version + 1,
        };
        self.leases.move_key(&request.key, known.lease, kv.lease);
        changes.push(self.history.change(&request.key, Some(kv)));
        pb::PutResponse {
            header: None,
            prev_kv: old.filter(|_| request.prev_kv),
        }
    }

    pub(super) fn apply_delete(
        &mut self,
        request: &pb::DeleteRangeRequest,
        changes: &mut Vec<Change>,
    ) -> pb::DeleteRangeResponse {
        let range = KeyRange::new(&request.key, &request.range_end);
        let keys = self
            .history
            .range(&range, i64::MAX)
            .map(|kv| kv.key.clone())
            .collect();
        let prev_kvs = self.delete_keys(keys, changes);
        pb::DeleteRangeResponse {
            header: None,
            deleted: i64::try_from(prev_kvs.len()).unwrap_or(i64::MAX),
            prev_kvs: if request.prev_kv {
                prev_kvs
            } else {
                Vec::new()
            },
        }
    }

    /// Deletes keys that are there.
    pub(super) fn delete_keys(
        &mut self,
        keys: Vec<Bytes>,
        changes: &mut Vec<Change>,
    ) -> Vec<KeyValue> {
        let mut deleted = Vec::with_capacity(keys.len());
        for key in keys {
            let change = self.history.change(&key, None);
            if let Some(before) = &change.before {
                self.leases.move_key(&key, before.lease, 0);
                deleted.push(before.clone());
            }
            changes.push(change);
        }
        deleted
    }

    /// Ends a revision: watchers and waiters are told, and history that is too long is cut.
    pub(super) fn commit(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.history.commit(&changes);
        let header = self.header();
        self.watches.tell(&changes, header);
        self.pass_on(&changes);
        // In steps, so that not every write has to do it.
        if self.history.len() > self.options.kept_revisions.saturating_mul(2) {
            let kept = i64::try_from(self.options.kept_revisions).unwrap_or(i64::MAX);
            self.history.compact(self.history.revision() - kept);
        }
    }
}

pub(super) fn check_put(request: &pb::PutRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(Status::empty_key());
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Status::invalid("etcdserver: value is provided"));
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Status::invalid("etcdserver: lease is provided"));
    }
    Ok(())
}

pub(super) fn check_delete(request: &pb::DeleteRangeRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        Err(Status::empty_key())
    } else {
        Ok(())
    }
}

/// Only what changes something goes through etcd's log, and only what goes through the log can be too large for it.
pub(super) fn check_size(request: &impl Message) -> Result<(), Status> {
    if request.encoded_len() + AROUND > MAX_REQUEST {
        return Err(Status::invalid("etcdserver: request is too large"));
    }
    Ok(())
}
