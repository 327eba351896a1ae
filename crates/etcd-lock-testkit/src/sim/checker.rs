//! The judge: it knows what the server did, hears what the processes claim, and finds where the two don't fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use bytes::Bytes;
use etcd_lock_core::watch::{Event, EventKind};
use etcd_lock_core::{LockKey, Revision};
use etcd_lock_session::FencingToken;

use super::history::{Held, Note};
use super::process::Micros;
use super::program::{name, resource};
use super::writes::Writes;

#[cfg(test)]
mod tests;

/// Who changed something on the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    Expiry,
    Process(usize),
    /// Somebody who is none of the processes.
    Stranger,
}

#[derive(Debug, Default)]
pub(super) struct Checker {
    locks: Vec<Lock>,
    claims: Vec<Claim>,
    writes: Writes,
    /// Entries that strangers have removed, by create revision: their holders can't know before they are told.
    taken_away: BTreeSet<Revision>,
    owners: BTreeMap<i64, usize>,
    /// The processes of whose entries some were removed by others than themselves.
    robbed: BTreeSet<usize>,
    violation: Option<String>,
    pub(super) grants: u64,
    pub(super) handovers: u64,
    pub(super) commits: u64,
}

/// A lock as the server has it.
#[derive(Debug, Default)]
struct Lock {
    queue: BTreeMap<Revision, Entry>,
    /// Every entry that was ever the oldest.
    held: BTreeMap<Revision, Bytes>,
    /// Entries under which nothing is done any more, and the processes that said so: among themselves their sessions need
    /// not wait for the deletion.
    over: BTreeMap<Revision, usize>,
    tokens: BTreeSet<FencingToken>,
    /// When somebody last came to hold it, was told so or gave it back.
    moved: Micros,
}

impl Lock {
    /// Whose turn it is, as the sessions of a process may see it.
    fn first(&self, process: usize) -> Option<(Revision, &Entry)> {
        let mut entries = self.queue.iter();
        let first = entries.find(|(created, _)| self.over.get(created) != Some(&process));
        first.map(|(created, entry)| (*created, entry))
    }

    /// Under which entry a process may write: the oldest, until one of its own was granted the lock after it.
    fn holder(&self, process: usize) -> Option<Revision> {
        let mut holder = None;
        for created in self.queue.keys() {
            if holder.is_none() || self.was_granted(*created) {
                holder = Some(*created);
            }
            if self.over.get(created) != Some(&process) {
                break;
            }
        }
        holder
    }

    /// Whether nobody stands before an entry of this revision but those of its process that are over.
    fn is_passed_on(&self, process: usize, created: Revision) -> bool {
        let mut before = self.queue.range(..created);
        before.all(|(before, _)| self.over.get(before) == Some(&process))
    }

    fn was_granted(&self, created: Revision) -> bool {
        let mut since = self.tokens.range(FencingToken::new(created, 0)..);
        since
            .next()
            .is_some_and(|token| token.create_revision() == created)
    }

    /// Notes whose turn it is, for the server and for each process. Whether that is news.
    fn turn(&mut self) -> bool {
        let before = self.held.len();
        for (created, entry) in &self.queue {
            self.held.insert(*created, entry.key.clone());
            if !self.over.contains_key(created) {
                break;
            }
        }
        self.held.len() > before
    }
}

#[derive(Debug)]
struct Entry {
    key: Bytes,
    /// How often a grant was handed on inside its process while this waited, and which grant it was.
    passed_over: (Revision, u64),
}

/// A process that thinks that it holds a lock.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) process: usize,
    pub(super) since: Micros,
    pub(super) held: Weak<dyn Held>,
    grant: u64,
    lock: usize,
    created: Revision,
    watched: bool,
}

impl Checker {
    pub(super) fn new(locks: usize) -> Self {
        Self {
            locks: (0..locks).map(|_| Lock::default()).collect(),
            ..Self::default()
        }
    }

    pub(super) const fn violation(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    /// The first violation counts: the rest may follow from it.
    pub(super) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A process has asked for a lease.
    pub(super) fn lease(&mut self, lease: i64, process: usize) {
        self.owners.insert(lease, process);
    }

    /// The server has changed something, in one revision.
    pub(super) fn changed(&mut self, at: Micros, events: &[Event], cause: Cause) {
        for event in events {
            let key = &event.kv.key;
            let entry = LockKey::new(key.clone()).ok().and_then(|key| key.parts());
            if let Some((of, lease)) = entry {
                let Some(lock) = self.number(of.as_bytes(), name) else {
                    continue;
                };
                match event.kind {
                    EventKind::Put => self.entered(lock, event),
                    EventKind::Delete => self.left(lock, event, lease.get(), cause),
                }
            } else if let Some(lock) = self.number(key, resource) {
                self.written(lock, &event.kv.value);
            }
        }
        for lock in &mut self.locks {
            if lock.turn() {
                lock.moved = at;
            }
        }
    }

    /// Takes a note. `holds` says whether a holder claims to hold at this moment.
    pub(super) fn note(&mut self, process: usize, at: Micros, note: Note, holds: bool) {
        match note {
            Note::Granted {
                grant,
                lock,
                key,
                token,
                limit,
                watched,
                held,
            } => {
                self.locks[lock].moved = at;
                let created = token.create_revision();
                self.locks[lock].over.remove(&created);
                self.granted(process, lock, &key, token, limit, holds);
                self.claims.push(Claim {
                    process,
                    since: at,
                    held,
                    grant,
                    lock,
                    created,
                    watched,
                });
            }
            Note::Lost {
                grant, held: true, ..
            } => self.violated(format!(
                "loss: grant {grant} was said to be lost, and is said to be held"
            )),
            Note::Released { grant } => {
                for claim in self.claims.extract_if(.., |claim| claim.grant == grant) {
                    let lock = &mut self.locks[claim.lock];
                    lock.moved = at;
                    lock.over.insert(claim.created, claim.process);
                    lock.turn();
                }
            }
            Note::Failed { lock, error }
                if error.to_string().contains("deleted by somebody else")
                    && !self.robbed.contains(&process) =>
            {
                self.violated(format!(
                    "error: process {process} gave up on lock {lock} with \"{error}\", and nobody had deleted anything"
                ));
            }
            Note::Write { id, lock, created } => self.writes.began(id, process, lock, created),
            Note::WriteEnded { id, end } => self.writes.ended(id, end),
            _ => {}
        }
    }

    /// The claims of a process end with it.
    pub(super) fn died(&mut self, process: usize) {
        self.claims.retain(|claim| claim.process != process);
        for lock in &mut self.locks {
            lock.over.retain(|_, of| *of != process);
        }
    }

    /// The claims that were made until now.
    pub(super) fn claims(&self, now: Micros) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(move |claim| claim.since <= now)
    }

    /// What is wrong with a claim that is made at this moment.
    pub(super) fn contradiction(&self, claim: &Claim) -> Option<String> {
        let first = self.locks[claim.lock].first(claim.process);
        if first.is_some_and(|(created, _)| created == claim.created)
            || self.taken_away.contains(&claim.created)
        {
            return None;
        }
        Some(format!(
            "exclusion: process {} claims lock {} with grant {} of revision {}, but the server has {:?} there",
            claim.process, claim.lock, claim.grant, claim.created, first
        ))
    }

    /// A process was told of a deletion on a watch stream.
    pub(super) fn told(&mut self, process: usize, key: &Bytes, deleted: Revision) {
        let watched = self
            .claims
            .iter()
            .filter(|claim| claim.process == process && claim.watched && claim.created < deleted);
        for claim in watched {
            let lock = &self.locks[claim.lock];
            if lock.held.get(&claim.created) == Some(key) {
                self.taken_away.remove(&claim.created);
            }
        }
    }

    /// The lock of whose queue a key is an entry.
    pub(super) fn lock_of(&self, key: &Bytes) -> Option<usize> {
        let (of, _) = LockKey::new(key.clone()).ok()?.parts()?;
        self.number(of.as_bytes(), name)
    }

    /// The entries of a queue, the oldest first.
    pub(super) fn entries(&self, lock: usize) -> Vec<Bytes> {
        let entries = self.locks[lock].queue.values();
        entries.map(|entry| entry.key.clone()).collect()
    }

    pub(super) fn leases_of(&self, process: usize) -> Vec<i64> {
        let owned = self.owners.iter().filter(|(_, owner)| **owner == process);
        owned.map(|(lease, _)| *lease).collect()
    }

    pub(super) fn queues_are_empty(&self) -> bool {
        self.locks.iter().all(|lock| lock.queue.is_empty())
    }

    /// The lock, if there is one, where somebody stands first since before then and nothing comes of it.
    pub(super) fn stuck_since(&self, before: Micros) -> Option<usize> {
        let stuck = |lock: &Lock| !lock.queue.is_empty() && lock.moved < before;
        self.locks.iter().position(stuck)
    }

    pub(super) fn queues(&self) -> String {
        format!(
            "{:?}",
            self.locks
                .iter()
                .map(|lock| &lock.queue)
                .collect::<Vec<_>>()
        )
    }

    /// The end: nothing happens any more.
    pub(super) fn settle(&mut self) {
        if let Some(wrong) = self.writes.settle() {
            self.violated(wrong);
        }
    }

    fn granted(
        &mut self,
        process: usize,
        number: usize,
        key: &LockKey,
        token: FencingToken,
        limit: u64,
        holds: bool,
    ) {
        self.grants += 1;
        let created = token.create_revision();
        let taken_away = self.taken_away.contains(&created);
        let lock = &mut self.locks[number];
        let mut wrong = None;
        // Whose entry a stranger removed may hear of the end of its own process's hold before.
        let passed_on = taken_away && lock.is_passed_on(process, created);
        if lock.held.get(&created) != Some(key.as_bytes()) && !passed_on {
            wrong = Some(format!(
                "order: {key} was granted with {token}, and was never the oldest"
            ));
        }
        let last = lock.tokens.last().copied();
        if holds && !taken_away && last.is_some_and(|last| last >= token) {
            wrong = Some(format!("tokens: {token} was granted after {last:?}"));
        }
        if !lock.tokens.insert(token) {
            wrong = Some(format!("tokens: {token} was granted twice"));
        }
        self.handovers += u64::from(token.handover() > 0);
        // Behind an entry that is gone, as its holder doesn't know yet, nobody waits.
        if token.handover() > 0 && lock.queue.contains_key(&created) {
            for (waiting, entry) in lock.queue.iter_mut().filter(|(other, _)| **other > created) {
                let (of, times) = &mut entry.passed_over;
                *times = if *of == created { *times + 1 } else { 1 };
                *of = created;
                // Whether others wait is asked early, so the limit may be reached twice.
                if *times > limit * 2 {
                    wrong = Some(format!(
                        "hand-over: the entry of revision {waiting} was passed over {times} times, the limit is {limit}"
                    ));
                }
            }
        }
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    fn entered(&mut self, lock: usize, event: &Event) {
        let entry = Entry {
            key: event.kv.key.clone(),
            passed_over: (Revision::ZERO, 0),
        };
        let queue = &mut self.locks[lock].queue;
        queue.entry(event.kv.create_revision).or_insert(entry);
    }

    fn left(&mut self, lock: usize, event: &Event, lease: i64, cause: Cause) {
        let Some(before) = &event.prev_kv else {
            return;
        };
        let created = before.create_revision;
        self.locks[lock].queue.remove(&created);
        self.locks[lock].over.remove(&created);
        if !matches!(cause, Cause::Process(_)) {
            self.robbed.extend(self.owners.get(&lease));
        }
        match cause {
            Cause::Expiry => {}
            Cause::Stranger => {
                self.taken_away.insert(created);
            }
            Cause::Process(process) => {
                let owner = self.owners.get(&lease);
                if owner != Some(&process) {
                    self.violated(format!(
                        "deletion: process {process} deleted the entry of revision {created}, which is of {owner:?}"
                    ));
                }
            }
        }
    }

    fn written(&mut self, lock: usize, value: &Bytes) {
        let of = &self.locks[lock];
        let holder = |process| of.holder(process);
        let Some(committed) = self.writes.committed(lock, value, holder) else {
            return;
        };
        self.commits += 1;
        if let Err(wrong) = committed {
            self.violated(wrong);
        }
    }

    fn number(&self, key: &[u8], of: impl Fn(usize) -> String) -> Option<usize> {
        (0..self.locks.len()).find(|lock| of(*lock).as_bytes() == key)
    }
}
