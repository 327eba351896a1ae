//! Transactions: operations that are executed together, if their conditions hold.

use bytes::Bytes;

use super::{DeleteRequest, KeyValue, PutRequest, RangeRequest, RangeResponse};
use crate::{LeaseId, ResponseHeader, Revision};

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
    /// Whether the transaction is idempotent, so that a transport may send it again after an unknown outcome.
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

    /// Says that the transaction is idempotent.
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
