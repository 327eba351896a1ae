//! Reads of a queue: who stands in it.
//!
//! Where many of this process stand in one queue, they share their reads: etcd reads all of a queue to tell anybody who
//! stands before them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};
use etcd_lock_core::{LockName, ResponseHeader, Result, Revision};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::sleep;

use super::line::Line;
use super::{Inner, entry, over};

/// How many of the oldest are read at once: so many hand-overs need no other read.
const OLDEST: u32 = 32;

/// How many bytes of keys a shared read asks for, and how many keys at most.
const SHARED_BYTES: usize = 1 << 20;
const SHARED_KEYS: usize = 4096;

/// How long a shared read waits for others who want to know the same, for each of this process who stands there: a small
/// part of the time in which they can all have their turn.
const MOMENT: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(100);

/// The entries of a queue as of one revision.
#[derive(Debug)]
pub(super) struct Roll {
    header: ResponseHeader,
    /// Key and create revision, the newest first.
    entries: Vec<(Bytes, Revision)>,
    /// Whether there are older ones.
    more: bool,
}

impl Roll {
    /// Reads it from keys sorted by create revision, the newest first.
    pub(super) fn read(
        header: ResponseHeader,
        name: &LockName,
        kvs: &[KeyValue],
        more: bool,
    ) -> Self {
        let entries = kvs
            .iter()
            .filter(|kv| entry(&kv.key, name).is_some())
            .map(|kv| (kv.key.clone(), kv.create_revision))
            .collect();
        Self {
            header,
            entries,
            more,
        }
    }

    /// Reads it from the oldest keys, the oldest first.
    pub(super) fn of_oldest(header: ResponseHeader, name: &LockName, kvs: &[KeyValue]) -> Self {
        let mut roll = Self::read(header, name, kvs, false);
        roll.entries.reverse();
        roll
    }

    /// The line before an entry that was created at `created`, or `None` where foreign or newer keys fill the roll and
    /// more of the queue has to be read.
    pub(super) fn line(&self, created: Revision, near: usize) -> Option<Line> {
        let first = self.entries.partition_point(|(_, of)| *of >= created);
        let ahead = &self.entries[first..];
        if self.more && ahead.is_empty() {
            return None;
        }
        let complete = !self.more && ahead.len() <= near;
        let watched = if complete { ahead.len() } else { 1 };
        Some(Line {
            header: self.header,
            ahead: ahead[..watched].to_vec(),
            complete,
            adjacent: true,
        })
    }

    /// Whether an entry stands in the queue, if the roll tells.
    pub(super) fn has(&self, key: &Bytes, created: Revision) -> Option<bool> {
        let at = self.entries.partition_point(|(_, of)| *of > created);
        match self.entries.get(at) {
            Some((other, of)) if *of == created => Some(other == key),
            Some(_) => Some(false),
            None => (!self.more).then_some(false),
        }
    }

    /// Asks for the newest entries of the queue: right after our own was put, for those before us.
    pub(super) fn newest(name: &LockName, near: usize) -> RangeRequest {
        all(name).with_limit(one_more(near) + 1)
    }

    /// Asks for the oldest entries, with what is written in them.
    pub(super) fn oldest(name: &LockName) -> RangeRequest {
        RangeRequest::prefix(name.queue_prefix())
            .sorted_by(SortTarget::CreateRevision, SortOrder::Ascending)
            .with_limit(OLDEST)
    }

    /// Asks for the entries that came before one that was created at `created`.
    pub(super) fn before(name: &LockName, created: Revision, near: usize) -> RangeRequest {
        Self::all_before(name, created).with_limit(one_more(near))
    }

    /// The same, however many there are.
    pub(super) fn all_before(name: &LockName, created: Revision) -> RangeRequest {
        let last = Revision::new(created.get() - 1).unwrap_or(Revision::ZERO);
        all(name).with_max_create_revision(last)
    }
}

/// Who of this process stands in which queue, and the reads that are about to be made for them.
#[derive(Default)]
pub(super) struct Rolls(Mutex<HashMap<LockName, Crowd>>);

/// Those of this process who enter one queue or stand there.
#[derive(Default)]
struct Crowd {
    standing: usize,
    next: Option<Reading>,
}

/// One of them, until it is dropped.
pub(super) struct Standing<'a> {
    rolls: &'a Rolls,
    name: &'a LockName,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.rolls.with(|crowds| {
            let Some(crowd) = crowds.get_mut(self.name) else {
                return;
            };
            crowd.standing -= 1;
            if crowd.standing == 0 {
                crowds.remove(self.name);
            }
        });
    }
}

/// A read that many wait for. It goes on as long as one of them does.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Arc<Roll>>>>;

impl Rolls {
    /// Somebody of this process enters a queue.
    pub(super) fn stand<'a>(&'a self, name: &'a LockName) -> Standing<'a> {
        self.with(|crowds| crowds.entry(name.clone()).or_default().standing += 1);
        Standing { rolls: self, name }
    }

    /// How many of this process stand in a queue.
    pub(super) fn standing(&self, name: &LockName) -> usize {
        self.with(|crowds| crowds.get(name).map_or(0, |crowd| crowd.standing))
    }

    /// The next read of a queue, which begins after this call.
    pub(super) fn next(inner: &Arc<Inner>, name: &LockName) -> Reading {
        inner.rolls.with(|crowds| {
            let crowd = crowds.entry(name.clone()).or_default();
            // One that nobody waits for any more was given up before it began.
            let next = crowd.next.take();
            let next = next.filter(|next| next.strong_count() > Some(1));
            let next = next.unwrap_or_else(|| {
                let many = crowd.standing.try_into().unwrap_or(u32::MAX);
                let pause = MOMENT.saturating_mul(many).min(LONGEST);
                let read = read(Arc::downgrade(inner), name.clone(), pause);
                read.boxed().shared()
            });
            crowd.next = Some(next.clone());
            next
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut HashMap<LockName, Crowd>) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn read(inner: Weak<Inner>, name: LockName, pause: Duration) -> Result<Arc<Roll>> {
    sleep(pause).await;
    let inner = inner.upgrade().ok_or_else(over)?;
    // Who asks from here on may know more than what is read now.
    inner
        .rolls
        .with(|crowds| crowds.get_mut(&name)?.next.take());
    let keys = (SHARED_BYTES / (name.as_bytes().len() + 18)).clamp(1, SHARED_KEYS);
    let newest = all(&name).with_limit(keys as u32);
    let reply = inner.transport.range(newest, inner.request()).await?;
    let roll = Roll::read(reply.header, &name, &reply.kvs, reply.more);
    Ok(Arc::new(roll))
}

/// How many keys a read of the line asks for: one more than can be near, to see whether that is all.
fn one_more(near: usize) -> u32 {
    u32::try_from(near).unwrap_or(u32::MAX - 2) + 1
}

fn all(name: &LockName) -> RangeRequest {
    RangeRequest::prefix(name.queue_prefix())
        .sorted_by(SortTarget::CreateRevision, SortOrder::Descending)
        .keys_only()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(keys: &[(&str, i64)], more: bool) -> Roll {
        let kvs: Vec<_> = keys
            .iter()
            .map(|(key, created)| {
                let mut kv = KeyValue::new(key.to_string(), "");
                kv.create_revision = revision(*created);
                kv
            })
            .collect();
        let name = LockName::new("a").unwrap();
        Roll::read(ResponseHeader::default(), &name, &kvs, more)
    }

    fn line(keys: &[(&str, i64)], more: bool) -> Option<(Vec<i64>, bool)> {
        let line = roll(keys, more).line(revision(50), 4)?;
        let ahead = line.ahead.iter().map(|(_, created)| created.get());
        Some((ahead.collect(), line.complete))
    }

    fn revision(number: i64) -> Revision {
        Revision::new(number).unwrap()
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
    fn later_entries_are_not_before_us() {
        assert_eq!(
            line(&[("a/b", 60), ("a/9", 50), ("a/8", 40)], false),
            Some((vec![40], true))
        );
    }

    #[test]
    fn an_entry_is_known_by_its_key_and_its_revision() {
        let keys = [("a/9", 50), ("a/8", 40)];
        let has = |more, key: &str, created| {
            roll(&keys, more).has(&Bytes::copy_from_slice(key.as_bytes()), revision(created))
        };
        assert_eq!(has(false, "a/8", 40), Some(true));
        assert_eq!(has(false, "a/8", 50), Some(false));
        assert_eq!(has(false, "a/7", 45), Some(false));
        assert_eq!(has(false, "a/7", 30), Some(false));
        assert_eq!(has(true, "a/7", 30), None);
    }
}
