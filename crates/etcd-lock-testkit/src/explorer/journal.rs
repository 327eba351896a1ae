//! The history of a world, as it happens: what etcd did and what clients asked for, were granted and claimed.
//!
//! An exhaustive search writes none, so that a world stays small: whether one is written makes no difference to what may
//! happen, and two worlds that differ in that alone are equal.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use etcd_lock_core::{ErrorKind, LeaseId, LockKey, Revision};
use etcd_lock_queue::{CallerId, EntryId};

use super::pace::Pace;
use crate::checker::Checker;
use crate::history::{Author, Client, Entry, Fact, Micros, Record};

/// The name of the lock, as histories have it.
pub(super) const LOCK: &str = "a";

/// Writes a history, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Option<Box<Pages>>);

#[derive(Clone, Debug)]
struct Pages {
    checker: Checker,
    /// The records, where somebody wants to read them.
    history: Option<Vec<Record>>,
    now: Micros,
    /// How many waits, grants and writes there were.
    numbers: u64,
    current: BTreeMap<(usize, CallerId), Current>,
    writes: BTreeMap<(usize, CallerId), (u64, bool)>,
    /// Why sessions ended.
    ends: BTreeMap<LeaseId, ErrorKind>,
    /// Something has happened that claims are to be compared with.
    is_news: bool,
}

/// The state of a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Current {
    Waits(u64),
    Holds(u64),
}

impl Journal {
    /// One that writes, and keeps what it writes or has it judged only.
    pub(super) fn new(keeps: bool) -> Self {
        Self(Some(Box::new(Pages {
            checker: Checker::new(),
            history: keeps.then(Vec::new),
            now: 0,
            numbers: 0,
            current: BTreeMap::new(),
            writes: BTreeMap::new(),
            ends: BTreeMap::new(),
            is_news: false,
        })))
    }

    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn into_checker(self) -> Checker {
        self.0.map(|pages| pages.checker).unwrap_or_default()
    }

    pub(super) fn checker(&mut self) -> Option<&mut Checker> {
        self.0.as_mut().map(|pages| &mut pages.checker)
    }

    /// The records so far, where they are kept.
    pub(super) fn history(&self) -> &[Record] {
        let kept = self.0.as_ref().and_then(|pages| pages.history.as_deref());
        kept.unwrap_or_default()
    }

    /// The records after the first so many, where they are kept.
    pub(super) fn kept(&self, after: usize) -> Option<Vec<Record>> {
        let kept = self.0.as_ref()?.history.as_ref()?;
        Some(kept.get(after..).unwrap_or_default().to_vec())
    }

    pub(super) fn write(&mut self, fact: impl FnOnce() -> Fact) {
        if let Some(pages) = &mut self.0 {
            pages.write(fact());
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, tick: u64, pace: Pace) {
        if let Some(pages) = &mut self.0 {
            pages.now = pages.now.max(tick * pace.tick());
            pages.is_news = true;
        }
    }

    /// Until now a client was disturbed.
    pub(super) fn disturbed(&mut self, client: usize, cause: &str) {
        if let Some(pages) = &mut self.0 {
            let fact = Fact::Disturbed {
                process: Some(client as u32),
                cause: cause.to_owned(),
                until: pages.now + 1,
            };
            pages.write(fact);
        }
    }

    pub(super) fn entered(&mut self, entry: &EntryId, lease: i64) {
        self.write(|| Fact::Entered {
            lock: LOCK.to_owned(),
            entry: of(entry),
            lease,
        });
        self.news();
    }

    pub(super) fn left(&mut self, entry: &EntryId, revision: Revision, by: Author) {
        self.write(|| Fact::Left {
            lock: LOCK.to_owned(),
            entry: of(entry),
            revision: revision.get(),
            by,
        });
        self.news();
    }

    pub(super) fn news(&mut self) {
        if let Some(pages) = &mut self.0 {
            pages.is_news = true;
        }
    }

    /// Whether claims are to be written, which is then done.
    pub(super) fn takes_claims(&mut self) -> bool {
        let pages = self.0.as_mut();
        pages.is_some_and(|pages| std::mem::take(&mut pages.is_news))
    }

    /// A caller begins to wait; the number of its wait.
    pub(super) fn waits(&mut self, client: usize, caller: CallerId) -> u64 {
        self.number(client, caller, Current::Waits)
    }

    /// A caller holds the lock; the number of its grant.
    pub(super) fn holds(&mut self, client: usize, caller: CallerId) -> u64 {
        self.number(client, caller, Current::Holds)
    }

    fn number(
        &mut self,
        client: usize,
        caller: CallerId,
        current: impl FnOnce(u64) -> Current,
    ) -> u64 {
        let Some(pages) = &mut self.0 else {
            return 0;
        };
        pages.numbers += 1;
        let number = pages.numbers;
        pages.current.insert((client, caller), current(number));
        number
    }

    pub(super) fn current(&self, client: usize, caller: CallerId) -> Option<Current> {
        let pages = self.0.as_ref()?;
        pages.current.get(&(client, caller)).copied()
    }

    /// The wait or the hold of a caller has ended.
    pub(super) fn ends(&mut self, client: usize, caller: CallerId) -> Option<Current> {
        let pages = self.0.as_mut()?;
        pages.current.remove(&(client, caller))
    }

    /// A caller sends a fenced write; its number.
    pub(super) fn writes(&mut self, client: usize, caller: CallerId) -> u64 {
        let Some(pages) = &mut self.0 else {
            return 0;
        };
        pages.numbers += 1;
        let write = (pages.numbers, false);
        pages.writes.insert((client, caller), write);
        write.0
    }

    /// The fenced write of a caller, and whether it was committed.
    pub(super) fn written(&mut self, client: usize, caller: CallerId) -> Option<&mut (u64, bool)> {
        let pages = self.0.as_mut()?;
        pages.writes.get_mut(&(client, caller))
    }

    /// Why a session ends.
    pub(super) fn session_ends(&mut self, session: LeaseId, kind: ErrorKind) {
        if let Some(pages) = &mut self.0 {
            pages.ends.insert(session, kind);
        }
    }

    pub(super) fn end_of(&self, session: LeaseId) -> ErrorKind {
        let pages = self.0.as_ref();
        let kind = pages.and_then(|pages| pages.ends.get(&session));
        kind.copied().unwrap_or(ErrorKind::Lost)
    }
}

impl Pages {
    /// Each record has a time of its own.
    fn write(&mut self, fact: Fact) {
        self.now += 1;
        let record = Record::new(self.now, fact);
        self.checker.feed(&record);
        if let Some(history) = &mut self.history {
            history.push(record);
        }
    }
}

impl PartialEq for Journal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Journal {}

impl Hash for Journal {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// A client, as histories name it.
pub(super) const fn name(client: usize) -> Client {
    Client::new(client as u32, 1)
}

/// An entry, as histories have it.
pub(super) fn of(entry: &EntryId) -> Entry {
    Entry::new(entry.created.get(), text(&entry.key))
}

pub(super) fn text(key: &LockKey) -> String {
    String::from_utf8_lossy(key.as_bytes()).into_owned()
}

/// Entries of strangers and the deletions of each key, which only walks need.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Outside {
    /// The keys of strangers' entries, and since when they are there.
    pub(super) keys: BTreeMap<LockKey, u64>,
    /// When each key was deleted last.
    pub(super) deleted: BTreeMap<LockKey, Revision>,
}
