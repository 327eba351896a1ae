//! Keys and all that they were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use etcd_lock_proto::mvccpb::KeyValue;

/// The multi-version store.
#[derive(Clone, Debug)]
pub(super) struct History {
    revision: i64,
    /// Below zero until there is a first compaction, which may be at zero.
    compacted: i64,
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// The keys that are there now, by folder and create revision: a queue is a folder, and who stands where in it is
    /// asked all the time.
    folders: BTreeMap<Bytes, BTreeSet<(i64, Bytes)>>,
    /// The keys that the revision `compacted` changed: those that it put are still there to be told of.
    changed_last: Vec<Bytes>,
    /// The keys that each revision changed, from the one after `compacted` on.
    log: VecDeque<Vec<Bytes>>,
}

/// A key as one revision left it; `None` where it was deleted.
#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    kv: Option<KeyValue>,
}

/// One change, with what was there before.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) now: Option<KeyValue>,
    pub(super) before: Option<KeyValue>,
    pub(super) revision: i64,
}

impl Default for History {
    fn default() -> Self {
        let (keys, folders) = (BTreeMap::new(), BTreeMap::new());
        Self {
            revision: 1,
            compacted: -1,
            keys,
            folders,
            changed_last: Vec::new(),
            log: VecDeque::from([Vec::new(), Vec::new()]),
        }
    }
}

impl History {
    pub(super) const fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) const fn compacted(&self) -> i64 {
        self.compacted
    }

    /// How many revisions are kept.
    pub(super) fn len(&self) -> usize {
        self.log.len()
    }

    /// A key as it is now.
    pub(super) fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.keys.get(key)?.last()?.kv.as_ref()
    }

    /// The keys of a range, in order, as they were at a revision.
    pub(super) fn range<'a>(
        &'a self,
        range: &KeyRange,
        revision: i64,
    ) -> impl Iterator<Item = &'a KeyValue> + use<'a> {
        self.keys
            .range::<[u8], _>(range.bounds())
            .filter_map(move |(_, versions)| {
                let after = versions.partition_point(|version| version.revision <= revision);
                versions[..after].last()?.kv.as_ref()
            })
    }

    /// How many keys a range holds at a revision.
    pub(super) fn count(&self, range: &KeyRange, revision: i64) -> usize {
        self.range(range, revision).count()
    }

    /// How many keys there are below a folder now, and those of them that were created between two revisions, oldest first;
    /// or `None` where the folder has folders of its own: then the order is not known without looking at all of them.
    pub(super) fn folder(
        &self,
        range: &KeyRange,
        created: RangeInclusive<i64>,
    ) -> Option<(usize, impl DoubleEndedIterator<Item = &KeyValue>)> {
        let KeyRange::Between(start, end) = range else {
            return None;
        };
        let is_folder =
            start.last() == Some(&b'/') && *end == etcd_lock_core::kv::prefix_end(start);
        if !is_folder {
            return None;
        }
        let mut below = self
            .folders
            .range::<[u8], _>((Bound::Included(&**start), Bound::Excluded(&**end)));
        let (folder, keys) = below.next()?;
        if folder != start || below.next().is_some() {
            return None;
        }
        let (first, last) = created.into_inner();
        // An empty key stands before all keys of its revision.
        let wanted = (first, Bytes::new())..(last.saturating_add(1), Bytes::new());
        let wanted = (first <= last).then(|| keys.range(wanted));
        let wanted = wanted.into_iter().flatten();
        Some((keys.len(), wanted.filter_map(|(_, key)| self.get(key))))
    }

    /// Begins a revision; it counts only when something is changed in it.
    pub(super) const fn next_revision(&self) -> i64 {
        self.revision + 1
    }

    /// Changes a key at the next revision.
    pub(super) fn change(&mut self, key: &Bytes, kv: Option<KeyValue>) -> Change {
        let revision = self.next_revision();
        let before = self.get(key).cloned();
        self.index(key, before.as_ref(), kv.as_ref());
        // A lock's key is put once: no room for more from the start.
        let entry = self.keys.entry(key.clone());
        let versions = entry.or_insert_with(|| Vec::with_capacity(1));
        versions.push(Version {
            revision,
            kv: kv.clone(),
        });
        Change {
            key: key.clone(),
            now: kv,
            before,
            revision,
        }
    }

    /// Ends a revision that changed these keys.
    pub(super) fn commit(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            self.revision += 1;
            self.log
                .push_back(changes.iter().map(|change| change.key.clone()).collect());
        }
    }

    /// Everything that happened to a range from a revision on, in order.
    pub(super) fn since(&self, range: &KeyRange, revision: i64) -> Vec<Change> {
        if revision > self.revision {
            return Vec::new();
        }
        let first = revision.max(self.compacted);
        let skipped = usize::try_from(first - self.compacted).unwrap_or(0);
        let logged = std::iter::once(&self.changed_last).chain(&self.log);
        let numbered = (first..).zip(logged.skip(skipped));
        let changes = numbered.flat_map(|(revision, keys)| {
            let within = keys.iter().filter(|key| range.contains(key));
            within.filter_map(move |key| self.changed_at(key, revision))
        });
        changes.collect()
    }

    /// Forgets what was before a revision.
    pub(super) fn compact(&mut self, revision: i64) {
        while self.compacted < revision {
            self.compacted += 1;
            let changed = self.log.pop_front().unwrap_or_default();
            for key in &changed {
                self.prune(key);
            }
            self.changed_last = changed;
        }
    }

    fn changed_at(&self, key: &Bytes, revision: i64) -> Option<Change> {
        let versions = self.keys.get(key)?;
        let at = versions
            .binary_search_by_key(&revision, |version| version.revision)
            .ok()?;
        let before = at
            .checked_sub(1)
            .and_then(|before| versions[before].kv.clone());
        Some(Change {
            key: key.clone(),
            now: versions[at].kv.clone(),
            before,
            revision,
        })
    }

    fn prune(&mut self, key: &Bytes) {
        let Some(versions) = self.keys.get_mut(key) else {
            return;
        };
        let after = versions.partition_point(|version| version.revision <= self.compacted);
        let alive = after > 0 && versions[after - 1].kv.is_some();
        versions.drain(..after - usize::from(alive));
        if versions.is_empty() {
            self.keys.remove(key);
        }
    }

    fn index(&mut self, key: &Bytes, before: Option<&KeyValue>, now: Option<&KeyValue>) {
        let Some(slash) = key.iter().rposition(|&byte| byte == b'/') else {
            return;
        };
        let folder = key.slice(..=slash);
        if let Some(before) = before
            && let Some(keys) = self.folders.get_mut(&folder)
        {
            keys.remove(&(before.create_revision, key.clone()));
            if keys.is_empty() {
                self.folders.remove(&folder);
            }
        }
        if let Some(now) = now {
            self.folders
                .entry(folder)
                .or_default()
                .insert((now.create_revision, key.clone()));
        }
    }
}

/// A key, or a range of them, as requests name it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum KeyRange {
    One(Bytes),
    Between(Bytes, Bytes),
    From(Bytes),
}

impl KeyRange {
    /// No end is the one key, a NUL byte is all keys from the first on.
    pub(super) fn new(key: &Bytes, end: &Bytes) -> Self {
        match &**end {
            [] => Self::One(key.clone()),
            [0] => Self::From(key.clone()),
            _ => Self::Between(key.clone(), end.clone()),
        }
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::From(start) => &**start <= key,
            Self::Between(start, end) => &**start <= key && key < &**end,
        }
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        match self {
            Self::One(key) => (Bound::Included(key), Bound::Included(key)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
            // An end before the start is an empty range for etcd, and a panic for a map.
            Self::Between(start, end) if start >= end => {
                (Bound::Included(start), Bound::Excluded(start))
            }
            Self::Between(start, end) => (Bound::Included(start), Bound::Excluded(end)),
        }
    }
}
