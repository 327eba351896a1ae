//! The records that the world writes into the history, in the order of its time, and the state of the server meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_core::watch::{Event, EventKind};
use etcd_lock_core::{LockKey, Revision};

use super::process::Micros;
use super::program::{name, resource};
use crate::checker::{Checker, Rule, Violation};
use crate::history::{Author, Client, Entry, Fact, Record};

/// The history under way, and its judge.
#[derive(Debug)]
pub(super) struct Records {
    checker: Checker,
    /// Records of processes that have run ahead of the world, which come when the world's time does.
    ahead: BTreeMap<(Micros, u64), Record>,
    last: u64,
    history: Option<Vec<Record>>,
    /// The entries of each lock, by create revision.
    queues: Vec<BTreeMap<Revision, Bytes>>,
    /// The leases that clients have asked for, and those that exist.
    owners: BTreeMap<i64, Client>,
    leases: BTreeSet<i64>,
}

impl Records {
    pub(super) fn new(locks: usize, keep: bool) -> Self {
        Self {
            checker: Checker::new(),
            ahead: BTreeMap::new(),
            last: 0,
            history: keep.then(Vec::new),
            queues: vec![BTreeMap::new(); locks],
            owners: BTreeMap::new(),
            leases: BTreeSet::new(),
        }
    }

    pub(super) const fn checker(&self) -> &Checker {
        &self.checker
    }

    pub(super) fn violated(&mut self, at: Micros, rule: Rule, text: impl Into<String>) {
        self.checker.violated(Violation::new(rule, at, text));
    }

    /// Something happens at a time, now or later.
    pub(super) fn add(&mut self, record: Record) {
        self.last += 1;
        self.ahead.insert((record.at, self.last), record);
    }

    /// Judges the records until now.
    pub(super) fn pass(&mut self, now: Micros) {
        self.feed_until(now);
        self.checker.advance(now);
    }

    fn feed_until(&mut self, now: Micros) {
        while let Some(first) = self.ahead.first_entry()
            && first.key().0 <= now
        {
            let record = first.remove();
            self.checker.feed(&record);
            if let Some(history) = &mut self.history {
                history.push(record);
            }
        }
    }

    /// Nothing happens any more. Returns the records, where they were to be kept.
    pub(super) fn end(&mut self, now: Micros) -> Vec<Record> {
        self.feed_until(Micros::MAX);
        self.add(Record::new(now, Fact::Ended));
        self.feed_until(Micros::MAX);
        self.history.take().unwrap_or_default()
    }

    /// A client asks for a lease.
    pub(super) fn leased(&mut self, at: Micros, client: Client, lease: i64, ttl: Micros) {
        self.owners.insert(lease, client);
        self.add(Record::observed(at, Fact::Leased { client, lease, ttl }));
    }

    /// The server has changed something, in one revision.
    pub(super) fn changed(&mut self, at: Micros, events: &[Event], by: Author) {
        for event in events {
            let fact = match self.entry_of(&event.kv.key) {
                Some((lock, lease)) => self.entry_changed(lock, lease, event, by),
                None => self.committed(event),
            };
            if let Some(fact) = fact {
                self.add(Record::new(at, fact));
            }
        }
    }

    /// These are the leases that exist now.
    pub(super) fn leases_are(&mut self, at: Micros, leases: &[i64], by: Author) {
        let now: BTreeSet<_> = leases.iter().copied().collect();
        let before = std::mem::replace(&mut self.leases, now);
        let (new, ended): (Vec<_>, Vec<_>) = before
            .symmetric_difference(&self.leases)
            .partition(|lease| self.leases.contains(lease));
        for lease in new {
            self.add(Record::new(at, Fact::LeaseBegan { lease }));
        }
        for lease in ended {
            self.add(Record::new(at, Fact::LeaseEnded { lease, by }));
        }
    }

    /// The lock of whose queue a key is an entry.
    pub(super) fn lock_of(&self, key: &Bytes) -> Option<usize> {
        self.entry_of(key).map(|(lock, _)| lock)
    }

    /// The entries of a queue, the oldest first.
    pub(super) fn entries(&self, lock: usize) -> Vec<Bytes> {
        self.queues[lock].values().cloned().collect()
    }

    /// The leases that a process has asked for, in any of its lives.
    pub(super) fn leases_of(&self, process: usize) -> Vec<i64> {
        let of = |client: &Client| usize::try_from(client.process) == Ok(process);
        let owned = self.owners.iter().filter(|(_, owner)| of(owner));
        owned.map(|(lease, _)| *lease).collect()
    }

    pub(super) fn queues_are_empty(&self) -> bool {
        self.queues.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn queues(&self) -> String {
        format!("{:?}", self.queues)
    }

    fn entry_of(&self, key: &Bytes) -> Option<(usize, i64)> {
        let (of, lease) = LockKey::new(key.clone()).ok()?.parts()?;
        let lock = (0..self.queues.len()).find(|lock| name(*lock).as_bytes() == of.as_bytes())?;
        Some((lock, lease.get()))
    }

    fn entry_changed(
        &mut self,
        lock: usize,
        lease: i64,
        event: &Event,
        by: Author,
    ) -> Option<Fact> {
        let key = &event.kv.key;
        let text = String::from_utf8_lossy(key);
        let queue = &mut self.queues[lock];
        match event.kind {
            // A value that is written into an entry doesn't make one.
            EventKind::Put if event.kv.version > 1 => None,
            EventKind::Put => {
                let created = event.kv.create_revision;
                queue.insert(created, key.clone());
                Some(Fact::Entered {
                    lock: name(lock),
                    entry: Entry::new(created.get(), text),
                    lease,
                })
            }
            EventKind::Delete => {
                let created = event.prev_kv.as_ref()?.create_revision;
                queue.remove(&created);
                Some(Fact::Left {
                    lock: name(lock),
                    entry: Entry::new(created.get(), text),
                    revision: event.kv.mod_revision.get(),
                    by,
                })
            }
        }
    }

    /// A write of a resource names itself.
    fn committed(&self, event: &Event) -> Option<Fact> {
        let is = |lock: usize| resource(lock).as_bytes() == event.kv.key;
        (0..self.queues.len()).find(|lock| is(*lock))?;
        let write = std::str::from_utf8(&event.kv.value).ok()?.parse().ok()?;
        Some(Fact::Committed { write })
    }
}
