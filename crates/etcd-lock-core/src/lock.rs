//! Taking and releasing a lock, as in etcd's `v3lockpb.Lock` service.

use bytes::Bytes;

use crate::{Error, FencingToken, LeaseId, LockKey, LockName, Revision};

/// Asks for a lock: in the name of a lease, which bounds how long a dead holder can keep it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LockRequest {
    /// Which lock.
    pub name: LockName,
    /// The lease that holds it. A lock that this lease holds already is granted again at once.
    pub lease: LeaseId,
    /// The description of the owner in the queue entry, for people to read; empty by default. etcd's own `Lock` RPC has no
    /// room for it, so a transport that uses it leaves it out.
    pub value: Bytes,
}

impl LockRequest {
    /// A request for `name` with `lease`.
    #[must_use]
    pub const fn new(name: LockName, lease: LeaseId) -> Self {
        Self {
            name,
            lease,
            value: Bytes::new(),
        }
    }

    /// Says who owns the queue entry.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = value.into();
        self
    }

    /// The key that will stand in the queue.
    #[must_use]
    pub fn key(&self) -> LockKey {
        self.name.key(self.lease)
    }
}

/// The lock is held.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LockResponse {
    /// The member that answered, and the revision of the store.
    pub header: ResponseHeader,
    /// The key that exists for as long as the lock is held: give it to `unlock`, or guard a transaction with it.
    pub key: LockKey,
    /// The revision at which the key was created: the first part of the [`token`](Self::token). The header's revision is
    /// another number.
    pub create_revision: Revision,
}

impl LockResponse {
    /// A grant.
    #[must_use]
    pub const fn new(header: ResponseHeader, key: LockKey, create_revision: Revision) -> Self {
        Self {
            header,
            key,
            create_revision,
        }
    }

    /// The fencing token: give it along with every write to a resource that can refuse an older one. Later
    /// holders of this lock have greater ones.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        FencingToken::new(self.create_revision, 0)
    }
}

/// Gives a lock back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnlockRequest {
    /// The key that `lock` returned.
    pub key: LockKey,
    /// The grant that is meant: with it, a later hold under the same key is left alone.
    pub create_revision: Option<Revision>,
}

impl UnlockRequest {
    /// Releases the hold that the key stands for.
    #[must_use]
    pub const fn new(key: LockKey) -> Self {
        Self {
            key,
            create_revision: None,
        }
    }

    /// Releases only the hold whose key was created at this revision.
    #[must_use]
    pub const fn with_create_revision(mut self, revision: Revision) -> Self {
        self.create_revision = Some(revision);
        self
    }
}

/// The key is gone: now, or it was before. (etcd tells the two apart as little as this does.)
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnlockResponse {
    /// The member that answered, and the revision of the store.
    pub header: ResponseHeader,
}

impl UnlockResponse {
    /// A release.
    #[must_use]
    pub const fn new(header: ResponseHeader) -> Self {
        Self { header }
    }
}

/// The member that answered, and the revision of the store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ResponseHeader {
    /// The cluster.
    pub cluster_id: u64,
    /// The member of it that answered.
    pub member_id: u64,
    /// The store's revision when the reply was made.
    pub revision: Revision,
    /// The term of the cluster's leader.
    pub raft_term: u64,
}

impl ResponseHeader {
    /// A header, for transports.
    #[must_use]
    pub const fn new(cluster_id: u64, member_id: u64, revision: Revision, raft_term: u64) -> Self {
        Self {
            cluster_id,
            member_id,
            revision,
            raft_term,
        }
    }
}

impl TryFrom<&crate::Context> for LockRequest {
    type Error = Error;

    /// # Errors
    /// `InvalidArgument` when the name or the lease is missing or can't be right.
    fn try_from(ctx: &crate::Context) -> Result<Self, Error> {
        ctx.timeout().checked()?;
        let name = ctx
            .name()
            .ok_or_else(|| missing("lock", "name", "with_name"))?;
        let lease = ctx
            .lease()
            .ok_or_else(|| missing("lock", "lease", "with_lease"))?;
        Ok(Self::new(
            LockName::new(name.clone())?,
            LeaseId::new(lease)?,
        ))
    }
}

impl TryFrom<&crate::Context> for UnlockRequest {
    type Error = Error;

    /// # Errors
    /// `InvalidArgument` when the key is missing or empty.
    fn try_from(ctx: &crate::Context) -> Result<Self, Error> {
        ctx.timeout().checked()?;
        let key = ctx
            .key()
            .ok_or_else(|| missing("unlock", "key", "with_key"))?;
        Ok(Self::new(LockKey::new(key.clone())?))
    }
}

fn missing(call: &str, what: &str, setter: &str) -> Error {
    Error::invalid_argument(format!("{call} needs a {what}: add {setter}"))
}
