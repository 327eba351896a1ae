//! Reads and transactions: the part of etcd's KV service that locks and fenced writes need.

mod range;
mod txn;
mod write;

use bytes::Bytes;

use crate::{LeaseId, Revision};

pub use self::range::{RangeRequest, RangeResponse, SortOrder, SortTarget};
pub use self::txn::{Compare, CompareOp, CompareTarget, Op, OpResponse, TxnRequest, TxnResponse};
pub use self::write::{DeleteRequest, PutRequest};

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
