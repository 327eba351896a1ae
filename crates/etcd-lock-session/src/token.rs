//! Fencing tokens.

use std::fmt;

use etcd_lock_core::Revision;

/// A number that grows with every grant of a lock, so that a resource can refuse a holder that was overtaken.
///
/// It is a pair: the create revision of the queue entry, and a count of the hand-overs inside the process below it. The
/// holder is the oldest of all entries and every new one gets a greater revision of the whole store, so the next grant of
/// etcd has a greater first part; a hand-over inside the process keeps the first part and adds one to the second.
/// A resource that stores tokens must compare both parts: the order of this type, or of [`to_bytes`](Self::to_bytes).
///
/// ```
/// # use etcd_lock_core::Revision;
/// # use etcd_lock_session::FencingToken;
/// let earlier = FencingToken::new(Revision::new(33)?, 7);
/// let later = FencingToken::new(Revision::new(34)?, 0);
/// assert!(earlier < later);
/// assert!(earlier.to_bytes() < later.to_bytes());
/// assert_eq!(later.to_string(), "34.0");
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FencingToken {
    create_revision: Revision,
    handover: u64,
}

impl FencingToken {
    /// The token of a grant.
    #[must_use]
    pub const fn new(create_revision: Revision, handover: u64) -> Self {
        Self {
            create_revision,
            handover,
        }
    }

    /// The create revision of the queue entry: what etcd itself can compare.
    #[must_use]
    pub const fn create_revision(self) -> Revision {
        self.create_revision
    }

    /// How often the lock was handed over inside the session before.
    #[must_use]
    pub const fn handover(self) -> u64 {
        self.handover
    }

    /// Sixteen bytes, big-endian, in the same order as the tokens: for resources that compare bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.create_revision.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.handover.to_be_bytes());
        bytes
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.create_revision, self.handover)
    }
}
