//! The in-memory etcd as a state machine: no clock, no I/O, no chance. The same calls give the same answers.
//!
//! Requests and replies are etcd's own messages. Time is handed in by [`Model::advance`] and never passes by itself.
//! Events of watches, grants of locks and ends of leases that come between calls are kept until they are taken out.

mod cluster;
mod compare;
mod history;
mod kv;
mod lease;
mod lock;
mod range;
mod txn;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_lock_proto::etcdserverpb as pb;

pub use self::lock::{LockCall, LockWait};
pub use self::watch::{StreamId, WatchRefusal};

use self::history::History;
use self::lease::Leases;
use self::lock::Locks;
use self::watch::Watches;

/// Which etcd to be like, where they differ.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Version {
    /// A `Lock` whose lease ended during the wait is answered with OK.
    V3_4,
    /// It is refused.
    #[default]
    V3_5,
    /// As 3.5, and a watch that is refused because its stream's login has ended says so, as 3.5 does from 3.5.6 on.
    V3_6,
}

/// How a model behaves.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct ModelOptions {
    pub(crate) version: Version,
    pub(crate) kept_revisions: usize,
    pub(crate) min_ttl: i64,
    pub(crate) expiry_checks: Duration,
    pub(crate) max_txn_ops: usize,
}

impl ModelOptions {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            version: Version::V3_5,
            kept_revisions: 10_000,
            min_ttl: 2,
            expiry_checks: Duration::ZERO,
            max_txn_ops: 128,
        }
    }

    /// Which etcd to be like. 3.5 by default.
    pub const fn with_version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// How often leases are looked through for those whose time is up. Zero by default, so that each ends at its deadline, to
    /// the nanosecond; etcd looks every 500 ms, so that its leases end up to that much later.
    pub const fn with_expiry_checks(mut self, every: Duration) -> Self {
        self.expiry_checks = every;
        self
    }

    /// How many comparisons, or operations in a branch, a transaction may have: etcd's `--max-txn-ops`. 128 by default.
    pub const fn with_max_txn_ops(mut self, ops: usize) -> Self {
        self.max_txn_ops = ops;
        self
    }

    /// How many revisions of history are kept at least, and half of how many at the most: older ones are compacted away, so
    /// that memory stays bounded. 10,000 by default; `usize::MAX` keeps all of them.
    pub const fn with_kept_revisions(mut self, revisions: usize) -> Self {
        self.kept_revisions = revisions;
        self
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The in-memory etcd.
#[derive(Clone, Debug)]
pub struct Model {
    options: ModelOptions,
    now: Duration,
    raft_term: u64,
    history: History,
    leases: Leases,
    watches: Watches,
    locks: Locks,
}

impl Model {
    /// The cluster and its one member, in every header.
    pub const CLUSTER_ID: u64 = 0x0e7c_d10c;
    /// The one member.
    pub const MEMBER_ID: u64 = 0x0e7c_d001;
    /// The first term of its leader: itself.
    pub const RAFT_TERM: u64 = 2;

    /// An empty etcd, at revision 1 and time zero.
    #[must_use]
    pub fn new(options: ModelOptions) -> Self {
        Self {
            options,
            now: Duration::ZERO,
            raft_term: Self::RAFT_TERM,
            history: History::default(),
            leases: Leases::default(),
            watches: Watches::default(),
            locks: Locks::default(),
        }
    }

    /// Lets time pass, until `now` after the start: leases end in the order of their deadlines, and watches that are behind
    /// catch up. Time doesn't go back.
    pub fn advance(&mut self, now: Duration) {
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.end_due_leases();
            self.visit_watches();
        }
        self.now = self.now.max(now);
    }

    /// When the next lease ends, or the watches are seen to, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let lease = self.next_expiry();
        lease.into_iter().chain(self.watches.next_visit()).min()
    }

    /// The store's revision.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.history.revision()
    }

    /// Whether something waits to be taken out.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.watches.dirty.is_empty() || !self.locks.done.is_empty()
    }

    /// The watch streams that have got replies since this was last asked.
    pub fn take_dirty_streams(&mut self) -> BTreeSet<StreamId> {
        std::mem::take(&mut self.watches.dirty)
    }

    pub(crate) fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: Self::CLUSTER_ID,
            member_id: Self::MEMBER_ID,
            revision: self.history.revision(),
            raft_term: self.raft_term,
        })
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new(ModelOptions::new())
    }
}
