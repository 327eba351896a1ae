//! Locks: etcd's `v3lockpb.Lock` service, its traps included.

mod waits;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use pb::request_op::Request;

use super::history::{Change, KeyRange};
use super::{Model, Version, kv};
use crate::status::{Code, Status};

pub use self::waits::LockCall;

use self::waits::Entry;
pub(super) use self::waits::Locks;

/// The time to live of the lease that a `Lock` without one gets, in seconds; nobody keeps it alive.
const HIDDEN_TTL: i64 = 60;

/// The state of a call of `Lock` once it has been made.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_enums, reason = "a call is answered or it waits")]
pub enum LockWait {
    /// It is answered.
    Done(Result<v3lockpb::LockResponse, Status>),
    /// It waits; its answer is to be taken out later.
    Waiting(LockCall),
}

impl Model {
    /// Takes a lock, or waits for it, as the RPC does: a waiter learns that its own key is gone when its turn comes.
    pub fn lock(&mut self, request: &v3lockpb::LockRequest) -> LockWait {
        match self.enter(request) {
            Err(status) => LockWait::Done(Err(status.in_lock_service())),
            Ok(entry) => match self.ahead_of(&entry) {
                None => LockWait::Done(Ok(self.grant(&entry.key))),
                Some(ahead) => LockWait::Waiting(self.locks.wait(entry, ahead)),
            },
        }
    }

    /// Takes the answer of a call that waited, once it has come.
    pub fn take_lock(&mut self, call: LockCall) -> Option<Result<v3lockpb::LockResponse, Status>> {
        self.locks.done.remove(&call)
    }

    /// The calls of `Lock` whose answers wait to be taken out.
    pub fn answered_locks(&self) -> impl Iterator<Item = LockCall> {
        self.locks.done.keys().copied()
    }

    /// Gives up a call. As in etcd, giving up the RPC deletes its key by name, whoever has put it, unless it was answered.
    pub fn cancel_lock(&mut self, call: LockCall) {
        self.locks.done.remove(&call);
        if let Some(waiting) = self.locks.remove(call) {
            self.delete_key(&waiting.entry.key);
        }
    }

    /// Deletes a lock's key, whoever it belongs to, if it is there.
    ///
    /// # Errors
    /// For an empty key, and for one that is too large.
    pub fn unlock(
        &mut self,
        request: &v3lockpb::UnlockRequest,
    ) -> Result<v3lockpb::UnlockResponse, Status> {
        if request.key.is_empty() {
            return Err(Status::empty_key().in_lock_service());
        }
        let delete = pb::DeleteRangeRequest {
            key: request.key.clone(),
            ..pb::DeleteRangeRequest::default()
        };
        kv::check_size(&delete).map_err(Status::in_lock_service)?;
        self.delete_key(&request.key);
        Ok(v3lockpb::UnlockResponse {
            header: self.header(),
        })
    }

    /// Has the calls that waited for keys that are gone now look again.
    pub(super) fn pass_on(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.now.is_none()) {
            for call in self.locks.waiting_for(&change.key) {
                self.look_again(call);
            }
        }
    }

    fn look_again(&mut self, call: LockCall) {
        let Some(mut waiting) = self.locks.remove(call) else {
            return;
        };
        if let Some(ahead) = self.ahead_of(&waiting.entry) {
            waiting.ahead = ahead;
            self.locks.put_back(call, waiting);
            return;
        }
        let gone = self.created(&waiting.entry.key).is_none();
        // 3.4 doesn't look whether the key is still there.
        let answer = match self.options.version {
            Version::V3_5 | Version::V3_6 if gone => Err(expired()),
            _ => Ok(self.grant(&waiting.entry.key)),
        };
        self.locks.done.insert(call, answer);
    }

    fn created(&self, key: &Bytes) -> Option<i64> {
        self.history.get(key).map(|kv| kv.create_revision)
    }

    fn enter(&mut self, request: &v3lockpb::LockRequest) -> Result<Entry, Status> {
        let mut lease = request.lease;
        if lease == 0 {
            let hidden = pb::LeaseGrantRequest {
                ttl: HIDDEN_TTL,
                id: 0,
            };
            lease = self.lease_grant(&hidden)?.id;
        }
        let prefix = joined(&request.name, b"/");
        let key = joined(&prefix, in_hex(lease).as_bytes());
        kv::check_size(&entering(&prefix, &key, lease))?;
        if let Some(created) = self.created(&key) {
            return Ok(Entry {
                prefix,
                key,
                created,
            });
        }
        let put = pb::PutRequest {
            key: key.clone(),
            lease,
            ..pb::PutRequest::default()
        };
        self.check_lease(&put)?;
        let mut changes = Vec::new();
        self.apply_put(&put, &mut changes);
        self.commit(changes);
        Ok(Entry {
            created: self.history.revision(),
            prefix,
            key,
        })
    }

    /// The newest of the keys that came before an entry.
    fn ahead_of(&self, entry: &Entry) -> Option<Bytes> {
        let range = KeyRange::new(
            &entry.prefix,
            &etcd_lock_core::kv::prefix_end(&entry.prefix),
        );
        if let Some((_, mut ahead)) = self.history.folder(&range, 0..=entry.created - 1) {
            return ahead.next_back().map(|kv| kv.key.clone());
        }
        let all = self.history.range(&range, i64::MAX);
        let ahead = all.filter(|kv| kv.create_revision < entry.created);
        ahead
            .max_by_key(|kv| kv.create_revision)
            .map(|kv| kv.key.clone())
    }

    fn grant(&self, key: &Bytes) -> v3lockpb::LockResponse {
        v3lockpb::LockResponse {
            header: self.header(),
            key: key.clone(),
        }
    }

    fn delete_key(&mut self, key: &Bytes) {
        if self.history.get(key).is_some() {
            let mut changes = Vec::new();
            self.delete_keys(vec![key.clone()], &mut changes);
            self.commit(changes);
        }
    }
}

fn expired() -> Status {
    Status::new(Code::Unknown, "mutex: session is expired")
}

/// As Go writes it: a number below zero with a sign.
fn in_hex(lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.unsigned_abs())
}

fn joined(a: &[u8], b: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(a.len() + b.len());
    both.put_slice(a);
    both.put_slice(b);
    both.freeze()
}

/// The transaction that etcd's `Lock` sends to itself to enter a queue: with long names, many times as large as the call.
fn entering(prefix: &Bytes, key: &Bytes, lease: i64) -> pb::TxnRequest {
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    let own = pb::RangeRequest {
        key: key.clone(),
        ..pb::RangeRequest::default()
    };
    let first = pb::RangeRequest {
        key: prefix.clone(),
        range_end: etcd_lock_core::kv::prefix_end(prefix),
        limit: 1,
        sort_order: pb::range_request::SortOrder::Ascend.into(),
        sort_target: pb::range_request::SortTarget::Create.into(),
        ..pb::RangeRequest::default()
    };
    let put = pb::PutRequest {
        key: key.clone(),
        lease,
        ..pb::PutRequest::default()
    };
    let is_missing = pb::Compare {
        target: pb::compare::CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(pb::compare::TargetUnion::CreateRevision(0)),
        ..pb::Compare::default()
    };
    pb::TxnRequest {
        compare: vec![is_missing],
        success: vec![
            op(Request::RequestPut(put)),
            op(Request::RequestRange(first.clone())),
        ],
        failure: vec![
            op(Request::RequestRange(own)),
            op(Request::RequestRange(first)),
        ],
    }
}
