//! The knowledge of the queue of one lock, and the verdict on an entry that follows from it.

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::{LockKey, Revision};

use crate::admission::admits;

/// An entry of the queue. A key that was deleted and put again is another entry.
///
/// Entries are ordered as etcd's lock clients order them: by create revision, and by key where one transaction created
/// two.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct EntryId {
    /// The revision that created it.
    pub created: Revision,
    /// Its key.
    pub key: LockKey,
}

impl EntryId {
    /// The entry of this key that was created at this revision.
    #[must_use]
    pub const fn new(key: LockKey, created: Revision) -> Self {
        Self { created, key }
    }
}

/// Live entries as of one revision.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The revision of the store when the entries were read.
    pub revision: Revision,
    /// Entries that were created after this revision were not asked for.
    pub up_to: Revision,
    /// Whether `entries` are all that were asked for.
    pub complete: bool,
    /// The live entries.
    pub entries: BTreeSet<EntryId>,
}

impl Snapshot {
    /// Entries that were read at `revision`, of those that were created up to `up_to`.
    #[must_use]
    pub fn new(
        revision: Revision,
        up_to: Revision,
        complete: bool,
        entries: impl IntoIterator<Item = EntryId>,
    ) -> Self {
        Self {
            revision,
            up_to,
            complete,
            entries: entries.into_iter().collect(),
        }
    }

    /// Up to which create revision the snapshot is the whole truth, if it is anywhere. A snapshot says nothing of entries
    /// that were created after it.
    pub(crate) fn complete_to(&self) -> Option<Revision> {
        self.complete.then(|| self.up_to.min(self.revision))
    }
}

/// The knowledge of an entry's predecessors.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Verdict {
    /// No live entry is older.
    Head,
    /// This entry is older and was not seen deleted. It is the newest such one that is known.
    Behind(EntryId),
    /// No older entry is known, and there may be some: a snapshot must be read.
    Unknown,
}

/// The live entries of a queue, as far as they are known.
///
/// > A new entry's create revision is greater than that of every existing entry. So the set of entries older than a given
/// > entry only ever shrinks.
///
/// Therefore one number says how far the knowledge reaches: of the entries that were created up to and including that
/// revision, all that live are known. From then on entries below it are only removed, never added, so that a stale
/// snapshot, a late event or a duplicate can delay a grant and can't cause one.
///
/// ```
/// use etcd_lock_core::{LeaseId, LockName, Revision};
/// use etcd_lock_queue::{EntryId, Knowledge, Snapshot, Verdict};
///
/// let name = LockName::new("report")?;
/// let entry = |lease, created| -> Result<_, etcd_lock_core::Error> {
///     Ok(EntryId::new(name.key(LeaseId::new(lease)?), Revision::new(created)?))
/// };
/// let (holder, waiter) = (entry(1, 5)?, entry(2, 8)?);
///
/// let mut knowledge = Knowledge::default();
/// assert_eq!(knowledge.verdict(&waiter), Verdict::Unknown);
///
/// let at = Revision::new(8)?;
/// knowledge.apply(&Snapshot::new(at, at, true, [holder.clone(), waiter.clone()]));
/// assert_eq!(knowledge.verdict(&waiter), Verdict::Behind(holder.clone()));
///
/// knowledge.deleted(&holder.key, Revision::new(9)?);
/// assert_eq!(knowledge.verdict(&waiter), Verdict::Head);
/// # Ok::<(), etcd_lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Knowledge {
    /// Entries that were not seen deleted, with the last revision at which each was seen to exist.
    live: BTreeMap<EntryId, Revision>,
    /// The same, by key.
    by_key: BTreeSet<(LockKey, Revision)>,
    /// All live entries that were created up to this revision are in `live`.
    complete_to: Revision,
    /// Of keys that were seen deleted: entries that were created up to this revision are gone. A snapshot that was read
    /// before still shows them.
    gone_up_to: BTreeMap<LockKey, Revision>,
    /// The latest deletion that a watch or a read of a key has shown.
    deleted_at: Revision,
    /// Entries that have come or gone since [`take_changes`](Self::take_changes).
    changes: Vec<EntryId>,
}

impl Knowledge {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            live: BTreeMap::new(),
            by_key: BTreeSet::new(),
            complete_to: Revision::ZERO,
            gone_up_to: BTreeMap::new(),
            deleted_at: Revision::ZERO,
            changes: Vec::new(),
        }
    }

    /// Adds a snapshot.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        self.gone_up_to.retain(|_, at| *at > snapshot.revision);
        for entry in &snapshot.entries {
            if !self.gone_up_to.contains_key(&entry.key) {
                self.note(entry, snapshot.revision);
            }
        }
        let Some(complete_to) = snapshot.complete_to() else {
            return;
        };
        // Read, and not found: it was deleted by then.
        let known = self
            .live
            .keys()
            .take_while(|entry| entry.created <= complete_to);
        let gone = known.filter(|entry| !snapshot.entries.contains(entry));
        for entry in gone.cloned().collect::<Vec<_>>() {
            self.remove(&entry);
        }
        self.complete_to = self.complete_to.max(complete_to);
    }

    /// Adds one entry that existed at a revision, and returns whether it may still exist: an entry that is missing where
    /// all live ones are known was deleted since.
    pub fn note(&mut self, entry: &EntryId, existed_at: Revision) -> bool {
        if let Some(seen) = self.live.get_mut(entry) {
            *seen = existed_at.max(*seen);
            return true;
        }
        let may_exist = entry.created > self.complete_to;
        if may_exist {
            self.live.insert(entry.clone(), existed_at);
            self.by_key.insert((entry.key.clone(), entry.created));
            self.changes.push(entry.clone());
        }
        may_exist
    }

    /// A key was deleted at this revision.
    pub fn deleted(&mut self, key: &LockKey, revision: Revision) {
        for entry in self.entries_of(key) {
            if entry.created <= revision {
                self.remove_up_to(&entry, revision, revision);
            }
        }
    }

    /// A key was read at a revision, and was found to be the entry that was created at `found`, or none.
    pub fn observed(&mut self, key: &LockKey, at: Revision, found: Option<Revision>) {
        for entry in self.entries_of(key) {
            if entry.created <= at && Some(entry.created) != found {
                // The entry that is there now was created after the other was deleted.
                self.remove_up_to(&entry, found.map_or(at, |_| entry.created), at);
            }
        }
        if let Some(created) = found {
            let entry = EntryId::new(key.clone(), created);
            if let Some(seen) = self.live.get_mut(&entry) {
                *seen = at.max(*seen);
            }
        }
    }

    /// This entry was deleted, even where another one is under its key now.
    pub fn entry_deleted(&mut self, entry: &EntryId) {
        self.remove_up_to(entry, entry.created, self.deleted_at);
    }

    /// The verdict on an entry.
    #[must_use]
    pub fn verdict(&self, entry: &EntryId) -> Verdict {
        self.verdict_without(entry, |_| false)
    }

    /// The same, if predecessors that were released in this client, and whose deletion is under way, count as deleted.
    pub(crate) fn verdict_without(
        &self,
        entry: &EntryId,
        released: impl Fn(&EntryId) -> bool,
    ) -> Verdict {
        let predecessors = || self.predecessors(entry).filter(|other| !released(other));
        if self.knows_all_before(entry) && admits(predecessors()) {
            return Verdict::Head;
        }
        match predecessors().next_back() {
            Some(nearest) => Verdict::Behind(nearest.clone()),
            None => Verdict::Unknown,
        }
    }

    /// The known live entries that are older than an entry, the oldest first.
    pub fn predecessors<'a>(
        &'a self,
        entry: &EntryId,
    ) -> impl DoubleEndedIterator<Item = &'a EntryId> + use<'a> {
        self.live.range(..entry).map(|(other, _)| other)
    }

    /// Whether all live predecessors of an entry are known. A create revision that two entries share must be covered
    /// itself.
    #[must_use]
    pub fn knows_all_before(&self, entry: &EntryId) -> bool {
        entry.created <= self.complete_to
    }

    /// Whether an entry was not seen deleted.
    #[must_use]
    pub fn is_live(&self, entry: &EntryId) -> bool {
        self.live.contains_key(entry)
    }

    /// Whether an entry was last seen before the latest deletion. Most entries are deleted in the order of the queue, so that
    /// a stale one is likely to be gone as well.
    #[must_use]
    pub fn is_stale(&self, entry: &EntryId) -> bool {
        let seen = self.live.get(entry);
        seen.is_none_or(|seen| *seen < self.deleted_at)
    }

    /// Whether an entry of this key may have been deleted before a watch that began at `revision` could tell.
    #[must_use]
    pub fn has_gap(&self, key: &LockKey, revision: Revision) -> bool {
        let seen = |entry| self.live.get(entry).is_some_and(|seen| *seen < revision);
        self.entries_of(key).iter().any(seen)
    }

    /// Forgets the entries that are newer than any of ours, which nobody asks about.
    pub fn forget_after(&mut self, newest: Option<&EntryId>) {
        match newest {
            Some(newest) => {
                while let Some((last, _)) = self.live.last_key_value()
                    && last.created > newest.created
                {
                    let last = last.clone();
                    self.remove(&last);
                }
                self.complete_to = self.complete_to.min(newest.created);
            }
            None if self.live.is_empty() => {
                self.complete_to = Revision::ZERO;
                self.gone_up_to.clear();
                self.deleted_at = Revision::ZERO;
            }
            None => *self = Self::default(),
        }
    }

    /// The entries that have come or gone since this was asked last.
    pub(crate) fn take_changes(&mut self) -> Vec<EntryId> {
        std::mem::take(&mut self.changes)
    }

    fn entries_of(&self, key: &LockKey) -> Vec<EntryId> {
        let from = (key.clone(), Revision::ZERO);
        let of_key = self
            .by_key
            .range(from..)
            .take_while(|(other, _)| other == key);
        of_key
            .map(|(key, created)| EntryId::new(key.clone(), *created))
            .collect()
    }

    /// An entry was seen deleted, with all of its key that were created up to a revision.
    fn remove_up_to(&mut self, entry: &EntryId, up_to: Revision, seen_at: Revision) {
        self.deleted_at = seen_at.max(self.deleted_at);
        let gone_up_to = self.gone_up_to.entry(entry.key.clone()).or_default();
        *gone_up_to = up_to.max(*gone_up_to);
        self.remove(entry);
    }

    fn remove(&mut self, entry: &EntryId) {
        if self.live.remove(entry).is_some() {
            self.by_key.remove(&(entry.key.clone(), entry.created));
            self.changes.push(entry.clone());
        }
    }
}
