//! Who stands before us.

use bytes::Bytes;
use etcd_lock_core::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};
use etcd_lock_core::{LockKey, LockName, ResponseHeader, Revision};

/// Up to this many entries before us are all watched, so that the last one to go is the grant, without asking again. In
/// a longer queue only the predecessor is watched: nobody is woken for every hand-over.
const NEAR: usize = 4;

/// How many keys a read of the line asks for: one more than can be near, to see whether that is all.
const LIMIT: u32 = NEAR as u32 + 1;

/// The entries before ours, as of one revision.
#[derive(Debug)]
pub(crate) struct Line {
    /// The reply that told of it.
    pub(crate) header: ResponseHeader,
    /// Key and create revision, the nearest first.
    pub(crate) ahead: Vec<(Bytes, Revision)>,
    /// Whether nobody stands before those.
    pub(crate) complete: bool,
    /// Whether nobody stands between those and us.
    pub(crate) adjacent: bool,
}

impl Line {
    /// Reads a line from keys sorted by create revision, the newest first, that [`Line::request`] asked for, or `None`
    /// where foreign keys fill the reply and all of them have to be read.
    pub(crate) fn read(
        header: ResponseHeader,
        name: &LockName,
        created: Revision,
        kvs: &[KeyValue],
        more: bool,
    ) -> Option<Self> {
        let mut ahead: Vec<_> = kvs
            .iter()
            .filter(|kv| kv.create_revision < created && is_entry(&kv.key, name))
            .map(|kv| (kv.key.clone(), kv.create_revision))
            .collect();
        let complete = !more && ahead.len() <= NEAR;
        if more && ahead.is_empty() {
            return None;
        }
        if !complete {
            ahead.truncate(1);
        }
        Some(Self {
            header,
            ahead,
            complete,
            adjacent: true,
        })
    }

    /// The line as far as one key tells that was read with the put of our own entry: `None` where it isn't there.
    pub(crate) fn behind(header: ResponseHeader, key: &Bytes, kvs: &[KeyValue]) -> Option<Self> {
        let kv = kvs.first().filter(|kv| kv.key == *key)?;
        Some(Self {
            header,
            ahead: vec![(kv.key.clone(), kv.create_revision)],
            complete: false,
            adjacent: false,
        })
    }

    /// In a long line, who stands right before us.
    pub(crate) fn neighbour(&self) -> Option<&Bytes> {
        let (key, _) = self.ahead.first().filter(|_| !self.complete)?;
        Some(key)
    }

    /// Nobody stands before us: the lock is ours.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.complete
    }

    /// Asks for the newest entries of the queue: right after our own was put, for those before us.
    pub(crate) fn newest(name: &LockName) -> RangeRequest {
        Self::all(name).with_limit(LIMIT + 1)
    }

    /// Asks for the entries that came before one that was created at `created`.
    pub(crate) fn before(name: &LockName, created: Revision) -> RangeRequest {
        Self::all_before(name, created).with_limit(LIMIT)
    }

    /// The same, however many there are.
    pub(crate) fn all_before(name: &LockName, created: Revision) -> RangeRequest {
        let last = Revision::new(created.get() - 1).unwrap_or(Revision::ZERO);
        Self::all(name).with_max_create_revision(last)
    }

    fn all(name: &LockName) -> RangeRequest {
        RangeRequest::prefix(name.queue_prefix())
            .sorted_by(SortTarget::CreateRevision, SortOrder::Descending)
            .keys_only()
    }
}

/// Whether a key below `<name>/` is an entry of this queue, and not of `<name>/something`, nor anything else.
fn is_entry(key: &Bytes, name: &LockName) -> bool {
    let parts = LockKey::new(key.clone()).ok().and_then(|key| key.parts());
    parts.is_some_and(|(of, _)| of == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(keys: &[(&str, i64)], more: bool) -> Option<(Vec<i64>, bool)> {
        let name = LockName::new("a").unwrap();
        let kvs: Vec<_> = keys
            .iter()
            .map(|(key, created)| {
                let mut kv = KeyValue::new(key.to_string(), "");
                kv.create_revision = Revision::new(*created).unwrap();
                kv
            })
            .collect();
        let line = Line::read(
            ResponseHeader::default(),
            &name,
            Revision::new(50).unwrap(),
            &kvs,
            more,
        )?;
        Some((
            line.ahead
                .iter()
                .map(|(_, created)| created.get())
                .collect(),
            line.complete,
        ))
    }

    #[test]
    fn a_short_line_is_watched_as_a_whole() {
        assert_eq!(line(&[("a/9", 50)], false), Some((vec![], true)));
        assert_eq!(
            line(&[("a/9", 50), ("a/8", 40), ("a/7", 30)], false),
            Some((vec![40, 30], true))
        );
    }

    #[test]
    fn of_a_long_line_only_the_predecessor() {
        let keys = [
            ("a/9", 50),
            ("a/5", 40),
            ("a/4", 30),
            ("a/3", 20),
            ("a/2", 10),
            ("a/1", 5),
        ];
        assert_eq!(line(&keys, true), Some((vec![40], false)));
        assert_eq!(line(&keys, false), Some((vec![40], false)));
    }

    #[test]
    fn foreign_keys_are_no_entries() {
        let keys = [
            ("a/9", 50),
            ("a/b/8", 40),
            ("a/notes", 30),
            ("a/0", 20),
            ("a/1", 5),
        ];
        assert_eq!(line(&keys, false), Some((vec![5], true)));
        assert_eq!(line(&keys[..4], true), None);
    }

    #[test]
    fn one_key_tells_nothing_of_the_others() {
        let key = Bytes::from("a/8");
        let kvs = [KeyValue::new("a/8", "")];
        let line = Line::behind(ResponseHeader::default(), &key, &kvs).unwrap();
        assert!(!line.is_empty() && !line.complete && !line.adjacent);
        assert!(Line::behind(ResponseHeader::default(), &key, &[]).is_none());
    }

    #[test]
    fn later_entries_are_not_before_us() {
        assert_eq!(
            line(&[("a/b", 60), ("a/9", 50), ("a/8", 40)], false),
            Some((vec![40], true))
        );
    }
}
