//! Reads and transactions: the part of etcd's KV service that locks and fenced writes need.

use bytes::Bytes;

use crate::{LeaseId, ResponseHeader, Revision};

/// The end of the range of all keys that begin with `prefix`: the least key above them, or a single NUL byte (etcd's
/// "up to the last key") where there is none.
///
/// ```
/// assert_eq!(etcd_lock_core::kv::prefix_end(b"job/"), "job0");
/// assert_eq!(etcd_lock_core::kv::prefix_end(b"a\xff"), "b");
/// assert_eq!(etcd_lock_core::kv::prefix_end(b"\xff"), "\0");
/// ```
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let Some(last) = prefix.iter().rposition(|&byte| byte < 0xff) else {
        return Bytes::from_static(b"\0");
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}

/// The range of all keys that begin with `prefix`: the first key and the end. etcd has no empty key, so that the range of the
/// empty prefix begins with the least key that there can be.
pub(crate) fn prefix_range(prefix: Bytes) -> (Bytes, Bytes) {
    let end = prefix_end(&prefix);
    match prefix.is_empty() {
        true => (Bytes::from_static(b"\0"), end),
        false => (prefix, end),
    }
}

/// A key and what etcd knows about it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision that created it; a key that was deleted and put again has a greater one.
    pub create_revision: Revision,
    /// The revision that changed it last.
    pub mod_revision: Revision,
    /// How often it was put since it was created, 1 at first.
    pub version: i64,
    /// The lease that it is attached to.
    pub lease: Option<LeaseId>,
}

impl KeyValue {
    /// A key with its value; the numbers are to be filled in.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            ..Self::default()
        }
    }
}

/// Asks for keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RangeRequest {
    /// The first key.
    pub key: Bytes,
    /// The end of the range, not included; empty for the one key alone.
    pub range_end: Bytes,
    /// How many keys at most; 0 for all.
    pub limit: u32,
    /// Read the store as it was at this revision, or now.
    pub revision: Option<Revision>,
    /// By what the keys are ordered; by key, ascending, by default.
    pub sort: Option<(SortTarget, SortOrder)>,
    /// Leave out keys created after this revision.
    pub max_create_revision: Option<Revision>,
    /// Leave the values out.
    pub keys_only: bool,
    /// Leave all keys out and count them.
    pub count_only: bool,
    /// Let a member answer by itself, possibly with old data. Never use this to decide who holds a lock.
    pub serializable: bool,
}

impl RangeRequest {
    /// Asks for one key.
    #[must_use]
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    /// Asks for all keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let (first, range_end) = prefix_range(prefix.into());
        Self {
            range_end,
            ..Self::key(first)
        }
    }

    /// Bounds how many keys are answered.
    #[must_use]
    pub const fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Reads the store as it was at a revision.
    #[must_use]
    pub const fn at_revision(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Orders the keys.
    #[must_use]
    pub const fn sorted_by(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.sort = Some((target, order));
        self
    }

    /// Leaves out keys created after a revision.
    #[must_use]
    pub const fn with_max_create_revision(mut self, revision: Revision) -> Self {
        self.max_create_revision = Some(revision);
        self
    }

    /// Leaves the values out.
    #[must_use]
    pub const fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Leaves all keys out and counts them.
    #[must_use]
    pub const fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }

    /// Lets a member answer by itself, possibly with old data.
    #[must_use]
    pub const fn serializable(mut self) -> Self {
        self.serializable = true;
        self
    }
}

/// By what keys are ordered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "etcd has these five")]
pub enum SortTarget {
    /// The revision that created them: the order of a lock's queue.
    CreateRevision,
    /// Their bytes.
    Key,
    /// The revision that changed them last.
    ModRevision,
    /// Their values' bytes.
    Value,
    /// How often they were put.
    Version,
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum SortOrder {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// Keys that were asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RangeResponse {
    /// The member that answered, and its revision. Inside a transaction only its revision is set.
    pub header: ResponseHeader,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// How many keys are in the range, before the limit and before `max_create_revision`.
    pub count: u64,
}

impl RangeResponse {
    /// A reply, for transports.
    #[must_use]
    pub const fn new(header: ResponseHeader, kvs: Vec<KeyValue>, more: bool, count: u64) -> Self {
        Self {
            header,
            kvs,
            more,
            count,
        }
    }
}

/// Asks for a key to be written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PutRequest {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease to attach it to, instead of any that it has.
    pub lease: Option<LeaseId>,
    /// Answer what it was before.
    pub prev_kv: bool,
}

impl PutRequest {
    /// Writes a key that no lease can end.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// Attaches the key to a lease.
    #[must_use]
    pub const fn with_lease(mut self, lease: LeaseId) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Asks for what the key was before.
    #[must_use]
    pub const fn with_prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// Asks for keys to be deleted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeleteRequest {
    /// The first key.
    pub key: Bytes,
    /// The end of the range, not included; empty for the one key alone.
    pub range_end: Bytes,
    /// Answer what they were.
    pub prev_kv: bool,
}

impl DeleteRequest {
    /// Deletes one key.
    #[must_use]
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    /// Deletes all keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let (first, range_end) = prefix_range(prefix.into());
        Self {
            range_end,
            ..Self::key(first)
        }
    }

    /// Asks for what the keys were.
    #[must_use]
    pub const fn with_prev_kv(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// One transaction: if all comparisons are true the one list of operations, else the other, at one revision.
///
/// ```
/// use etcd_lock_core::kv::{Compare, DeleteRequest, PutRequest, TxnRequest};
/// use etcd_lock_core::Revision;
///
/// let only_while_held = TxnRequest::new()
///     .when(Compare::create_revision("job/1f", Revision::new(42)?))
///     .and_then(PutRequest::new("result", "done"))
///     .or_else(DeleteRequest::key("draft"));
/// assert_eq!(only_while_held.success.len(), 1);
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TxnRequest {
    /// The conditions of the branch of success.
    pub compare: Vec<Compare>,
    /// The operations for when all conditions hold.
    pub success: Vec<Op>,
    /// The operations for when one doesn't.
    pub failure: Vec<Op>,
    /// Whether doing it twice is as good as once, so that it may be repeated where the outcome is unknown.
    pub idempotent: bool,
}

impl TxnRequest {
    /// A transaction that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compare.push(compare);
        self
    }

    /// Adds an operation for when all conditions hold.
    #[must_use]
    pub fn and_then(mut self, op: impl Into<Op>) -> Self {
        self.success.push(op.into());
        self
    }

    /// Adds an operation for when one doesn't.
    #[must_use]
    pub fn or_else(mut self, op: impl Into<Op>) -> Self {
        self.failure.push(op.into());
        self
    }

    /// Whether neither branch has anything but reads.
    ///
    /// ```
    /// use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
    ///
    /// let read = TxnRequest::new().and_then(RangeRequest::key("a"));
    /// assert!(read.is_read_only());
    /// assert!(!read.or_else(PutRequest::new("a", "")).is_read_only());
    /// ```
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let mut ops = self.success.iter().chain(&self.failure);
        ops.all(|op| matches!(op, Op::Range(_)))
    }

    /// Vouches that doing it twice is as good as once.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }
}

/// An operation of a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Delete keys.
    Delete(DeleteRequest),
    /// Write a key.
    Put(PutRequest),
    /// Read keys.
    Range(RangeRequest),
    /// Another transaction, with comparisons of its own. etcd decides about the comparisons of all nested transactions before
    /// the first operation is executed, and does not check permissions for what is inside (3.4 and 3.5).
    Txn(TxnRequest),
}

impl From<DeleteRequest> for Op {
    fn from(request: DeleteRequest) -> Self {
        Self::Delete(request)
    }
}

impl From<PutRequest> for Op {
    fn from(request: PutRequest) -> Self {
        Self::Put(request)
    }
}

impl From<RangeRequest> for Op {
    fn from(request: RangeRequest) -> Self {
        Self::Range(request)
    }
}

impl From<TxnRequest> for Op {
    fn from(request: TxnRequest) -> Self {
        Self::Txn(request)
    }
}

/// A condition on one key. A key that isn't there has zero for every number, and no value at all: a comparison of its
/// value is false.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Compare {
    /// Which key.
    pub key: Bytes,
    /// The relation in which the left side, the store's, must be to the right one.
    pub op: CompareOp,
    /// The right side.
    pub target: CompareTarget,
}

impl Compare {
    /// The key was created at this revision; [`Revision::ZERO`] means that it isn't there.
    #[must_use]
    pub fn create_revision(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self::new(
            key,
            CompareOp::Equal,
            CompareTarget::CreateRevision(revision),
        )
    }

    /// The key was changed last at this revision.
    #[must_use]
    pub fn mod_revision(key: impl Into<Bytes>, revision: Revision) -> Self {
        Self::new(key, CompareOp::Equal, CompareTarget::ModRevision(revision))
    }

    /// The key has this value.
    #[must_use]
    pub fn value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::new(key, CompareOp::Equal, CompareTarget::Value(value.into()))
    }

    /// Any comparison.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, op: CompareOp, target: CompareTarget) -> Self {
        Self {
            key: key.into(),
            op,
            target,
        }
    }
}

/// The relation between the store's side and the other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "etcd has these four")]
pub enum CompareOp {
    /// The same.
    Equal,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Not the same.
    NotEqual,
}

/// The property of a key that is compared, and its counterpart.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CompareTarget {
    /// The revision that created it.
    CreateRevision(Revision),
    /// Its lease, by its number, which is 0 for none.
    Lease(Option<LeaseId>),
    /// The revision that changed it last.
    ModRevision(Revision),
    /// Its value.
    Value(Bytes),
    /// How often it was put.
    Version(i64),
}

/// The outcome of a transaction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TxnResponse {
    /// The member that answered, and its revision.
    pub header: ResponseHeader,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The reply of each operation of the branch taken, in order.
    pub responses: Vec<OpResponse>,
}

impl TxnResponse {
    /// A reply, for transports.
    #[must_use]
    pub const fn new(header: ResponseHeader, succeeded: bool, responses: Vec<OpResponse>) -> Self {
        Self {
            header,
            succeeded,
            responses,
        }
    }

    /// The keys that the read at `index` of the branch taken answered; none where it wasn't a read.
    #[must_use]
    pub fn kvs(&self, index: usize) -> &[KeyValue] {
        match self.responses.get(index) {
            Some(OpResponse::Range(range)) => &range.kvs,
            _ => &[],
        }
    }
}

/// The reply of one operation of a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpResponse {
    /// Keys were deleted.
    Delete {
        /// How many.
        deleted: u64,
        /// The deleted keys and values, where they were asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// A key was written.
    Put {
        /// The key and value before, where they were asked for and there were any.
        prev_kv: Option<KeyValue>,
    },
    /// Keys were read.
    Range(RangeResponse),
    /// A nested transaction was executed. Its header is empty: the outer transaction has the revision.
    Txn(TxnResponse),
}
