//! Keys that are written and deleted.

use bytes::Bytes;

use super::prefix_range;
use crate::LeaseId;

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
