//! The requests of the machine to etcd: each as a transaction, with the meaning of the answer.

use etcd_lock_core::kv::{
    Compare, DeleteRequest, KeyValue, OpResponse, PutRequest, RangeRequest, SortOrder, SortTarget,
    TxnRequest, TxnResponse,
};
use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};

use crate::knowledge::{EntryId, Snapshot};
use crate::value::{EntryValue, Nonce};

/// How many of the newest entries are read on entering: the own one, and the two before it, which are watched.
const NEWEST: u32 = 3;

/// A request that the machine wants to be sent. The driver answers each one exactly once, with a reply or a failure.
///
/// No request touches an entry of another client, and one that deletes compares the create revision.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Create the entry of a session if there is none, else read it. A transport must not repeat it by itself: a copy that
    /// is executed late creates an orphan.
    Enter {
        /// Under which lease.
        session: LeaseId,
        /// Of which attempt.
        nonce: Nonce,
        /// Whether the newest entries are read along. In a crowd of waiters of one client one shared snapshot is cheaper.
        reads_newest: bool,
    },
    /// Delete the entry of a session: a release or a withdrawal.
    Delete {
        /// Under which lease.
        session: LeaseId,
        /// The create revision of the entry that is meant.
        created: Revision,
    },
    /// Read all entries that were created up to a revision.
    Snapshot {
        /// The greatest create revision that is asked for.
        up_to: Revision,
    },
    /// Read these keys, each by itself.
    Check {
        /// The keys.
        keys: Vec<LockKey>,
    },
    /// Read the newest entries, to learn whether anybody waits behind a hold that is handed over between tasks.
    Others {
        /// The session that holds the lock.
        session: LeaseId,
    },
}

/// Which request a reply answers. There is at most one of each under way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Ticket {
    /// [`Request::Enter`] of this session.
    Enter(LeaseId),
    /// [`Request::Delete`] of this session.
    Delete(LeaseId),
    /// [`Request::Snapshot`].
    Snapshot,
    /// [`Request::Check`].
    Check,
    /// [`Request::Others`] of this session.
    Others(LeaseId),
}

/// The answer to a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// The entry that is there now.
    Entered {
        /// Its create revision.
        created: Revision,
        /// The nonce in its value; `None` where this version did not write it.
        nonce: Option<Nonce>,
        /// The revision of the store.
        revision: Revision,
        /// The newest entries, if they were read.
        newest: Option<Snapshot>,
    },
    /// The entry that was meant is not there, whether it was deleted now or before.
    Deleted {
        /// The revision of the store.
        revision: Revision,
    },
    /// Entries.
    Read(Snapshot),
    /// One observation for each key that was asked for.
    Checked(Vec<Observation>),
}

/// A key as it was at a revision.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Observation {
    /// The key.
    pub key: LockKey,
    /// The revision of the store when it was read.
    pub at: Revision,
    /// The create revision of the key and the nonce in its value, if it was there.
    pub found: Option<(Revision, Option<Nonce>)>,
}

impl Observation {
    /// A key that was read at a revision.
    #[must_use]
    pub const fn new(key: LockKey, at: Revision, found: Option<(Revision, Option<Nonce>)>) -> Self {
        Self { key, at, found }
    }
}

impl Request {
    /// The label of its answer.
    #[must_use]
    pub const fn ticket(&self) -> Ticket {
        match self {
            Self::Enter { session, .. } => Ticket::Enter(*session),
            Self::Delete { session, .. } => Ticket::Delete(*session),
            Self::Snapshot { .. } => Ticket::Snapshot,
            Self::Check { .. } => Ticket::Check,
            Self::Others { session } => Ticket::Others(*session),
        }
    }

    /// The transaction to send. `owner` is the data that a created entry shows of its owner.
    #[must_use]
    pub fn txn(&self, name: &LockName, owner: &[u8]) -> TxnRequest {
        match self {
            Self::Enter {
                session,
                nonce,
                reads_newest,
            } => {
                let value = EntryValue::new(*nonce, owner).encode();
                let txn = enter(&name.key(*session), *session, value);
                if *reads_newest {
                    return txn.and_then(newest(name));
                }
                txn
            }
            Self::Delete { session, created } => {
                let key = name.key(*session);
                TxnRequest::new()
                    .when(Compare::create_revision(key.as_bytes().clone(), *created))
                    .and_then(DeleteRequest::key(&key))
                    .idempotent()
            }
            Self::Snapshot { up_to } => {
                let all = RangeRequest::prefix(name.queue_prefix()).keys_only();
                read(all.with_max_create_revision(*up_to))
            }
            Self::Check { keys } => keys
                .iter()
                .fold(TxnRequest::new().idempotent(), |txn, key| {
                    txn.and_then(RangeRequest::key(key))
                }),
            Self::Others { .. } => read(newest(name)),
        }
    }

    /// The meaning of the answer to [`txn`](Self::txn), or `None` where no etcd would answer so.
    #[must_use]
    pub fn reply(&self, name: &LockName, answer: &TxnResponse) -> Option<Reply> {
        let revision = answer.header.revision;
        match self {
            Self::Enter { nonce, .. } => entered(name, *nonce, answer),
            Self::Delete { .. } => Some(Reply::Deleted { revision }),
            Self::Snapshot { up_to } => snapshot(name, answer, 0, *up_to).map(Reply::Read),
            Self::Check { keys } => {
                let keys = keys.iter().enumerate();
                Some(Reply::Checked(
                    keys.map(|(place, key)| {
                        let found = answer.kvs(place).first();
                        let found = found.map(|kv| (kv.create_revision, nonce_of(kv)));
                        Observation::new(key.clone(), revision, found)
                    })
                    .collect(),
                ))
            }
            Self::Others { .. } => snapshot(name, answer, 0, revision).map(Reply::Read),
        }
    }
}

fn enter(key: &LockKey, session: LeaseId, value: Vec<u8>) -> TxnRequest {
    TxnRequest::new()
        .when(Compare::create_revision(
            key.as_bytes().clone(),
            Revision::ZERO,
        ))
        .and_then(PutRequest::new(key, value).with_lease(session))
        .or_else(RangeRequest::key(key))
}

fn newest(name: &LockName) -> RangeRequest {
    RangeRequest::prefix(name.queue_prefix())
        .sorted_by(SortTarget::CreateRevision, SortOrder::Descending)
        .with_limit(NEWEST)
        .keys_only()
}

fn read(range: RangeRequest) -> TxnRequest {
    TxnRequest::new().and_then(range).idempotent()
}

fn entered(name: &LockName, nonce: Nonce, answer: &TxnResponse) -> Option<Reply> {
    let revision = answer.header.revision;
    let (created, nonce) = if answer.succeeded {
        (revision, Some(nonce))
    } else {
        let found = answer.kvs(0).first()?;
        (found.create_revision, nonce_of(found))
    };
    Some(Reply::Entered {
        created,
        nonce,
        revision,
        newest: snapshot(name, answer, 1, revision),
    })
}

/// The answer of the read at `place` of the branch taken.
fn snapshot(
    name: &LockName,
    answer: &TxnResponse,
    place: usize,
    up_to: Revision,
) -> Option<Snapshot> {
    let Some(OpResponse::Range(range)) = answer.responses.get(place) else {
        return None;
    };
    let entries = range.kvs.iter().filter_map(|kv| entry_id(name, kv));
    Some(Snapshot::new(
        answer.header.revision,
        up_to,
        !range.more,
        entries,
    ))
}

fn nonce_of(kv: &KeyValue) -> Option<Nonce> {
    EntryValue::parse(&kv.value).map(|value| value.nonce())
}

/// The entry that a key is, if it is one. Keys of other shapes below the name are somebody else's data.
fn entry_id(name: &LockName, kv: &KeyValue) -> Option<EntryId> {
    let key = LockKey::new(kv.key.clone()).ok()?;
    let (of, _) = key.parts()?;
    (of == *name).then(|| EntryId::new(key, kv.create_revision))
}
