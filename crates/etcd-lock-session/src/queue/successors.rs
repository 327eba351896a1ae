//! Who comes next, as a holder knows it and tells its successor.
//!
//! In a long queue somebody whose predecessor goes can't know whether others stand before it, and etcd reads all of the
//! queue to tell. But who has read that once knows the next dozens in their order, in which nothing changes but that some
//! leave. So a release writes them into the entry of the first of them, and who sees that entry go knows whose turn it is.

use etcd_lock_core::kv::{Compare, DeleteRequest, KeyValue, PutRequest, TxnRequest};
use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};

use super::entry;

/// What an entry's value begins with that was written by a release.
const MARK: &[u8] = b"next\0";

/// How many bytes there are for each who comes next. It all stays in etcd's history until that is compacted.
const PLACE: usize = 12;

/// The entries right behind one, oldest first, with nobody between them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Successors(Vec<Place>);

/// An entry of a queue whose name is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) lease: LeaseId,
    pub(crate) created: Revision,
}

impl Successors {
    /// Those behind an entry, from the oldest entries of its queue. It ends before one whose value is somebody's own.
    pub(super) fn behind(place: Place, name: &LockName, kvs: &[KeyValue]) -> Self {
        let entries = kvs.iter().filter_map(|kv| {
            let (_, lease) = entry(&kv.key, name)?;
            Some((lease, kv))
        });
        let behind = entries.skip_while(|(_, kv)| kv.create_revision <= place.created);
        let writable = behind.take_while(|(lease, kv)| {
            kv.value.is_empty() && kv.version == 1 && kv.lease == lease.get()
        });
        let places = writable.map(|(lease, kv)| Place {
            lease,
            created: kv.create_revision,
        });
        Self(places.collect())
    }

    /// What the value of an entry says of those behind it, which is written when it is the entry's turn.
    pub(crate) fn read(value: &[u8], created: Revision) -> Option<Self> {
        let places = value.strip_prefix(MARK)?.chunks(PLACE);
        let mut last = created.get();
        let places = places.map(|place| {
            let (lease, later) = place.split_first_chunk()?;
            last = last.checked_add(u32::from_be_bytes(later.try_into().ok()?).into())?;
            Some(Place {
                lease: LeaseId::new(i64::from_be_bytes(*lease)).ok()?,
                created: Revision::new(last).ok()?,
            })
        });
        places.collect::<Option<_>>().map(Self)
    }

    /// Those behind an entry that comes first.
    pub(super) fn after(&self, place: Place) -> Option<Self> {
        let (first, rest) = self.0.split_first()?;
        (*first == place).then(|| Self(rest.to_vec()))
    }

    /// Who stands right before an entry that doesn't come first.
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        let at = self.0.iter().position(|other| *other == place)?;
        self.0.get(at.checked_sub(1)?).copied()
    }

    /// Deletes an entry and tells the first of those behind it that it is its turn, and who comes then: `None` where nobody
    /// is known.
    pub(super) fn release(&self, key: &LockKey, created: Revision) -> Option<TxnRequest> {
        let (name, _) = key.parts()?;
        let (first, rest) = self.0.split_first()?;
        let next = name.key(first.lease);
        let value = written(rest, first.created);
        let key = key.as_bytes();
        // An entry that somebody has written to since is left as it is.
        let txn = TxnRequest::new()
            .when(Compare::create_revision(key.clone(), created))
            .when(Compare::mod_revision(
                next.as_bytes().clone(),
                first.created,
            ))
            .and_then(DeleteRequest::key(key.clone()))
            .and_then(PutRequest::new(next.as_bytes().clone(), value).with_lease(first.lease));
        // Done twice, the second finds the key gone and does nothing.
        Some(txn.idempotent())
    }
}

/// The value of an entry that was created at `last`, for those behind it: for each the lease, and how much later it came.
fn written(places: &[Place], mut last: Revision) -> Vec<u8> {
    let mut value = MARK.to_vec();
    for Place { lease, created } in places {
        let Ok(later) = u32::try_from(created.get() - last.get()) else {
            break;
        };
        value.extend(lease.get().to_be_bytes());
        value.extend(later.to_be_bytes());
        last = *created;
    }
    value
}

#[cfg(test)]
impl From<&[Place]> for Successors {
    fn from(places: &[Place]) -> Self {
        Self(places.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64) -> Revision {
        Revision::new(number).unwrap()
    }

    fn place(lease: i64, created: i64) -> Place {
        let lease = LeaseId::new(lease).unwrap();
        let created = revision(created);
        Place { lease, created }
    }

    fn entry(lease: i64, created: i64, value: &'static str) -> KeyValue {
        let mut kv = KeyValue::new(format!("a/{lease:x}"), value);
        kv.create_revision = revision(created);
        kv.version = 1;
        kv.lease = lease;
        kv
    }

    fn behind(created: i64, kvs: &[KeyValue]) -> Successors {
        let name = LockName::new("a").unwrap();
        Successors::behind(place(1, created), &name, kvs)
    }

    #[test]
    fn what_is_written_is_read() {
        let places = [
            place(2, 7),
            place(i64::MAX, 8),
            place(3, 7 + i64::from(u32::MAX)),
        ];
        let value = written(&places, revision(5));
        assert_eq!(
            Successors::read(&value, revision(5)),
            Some(Successors(places.to_vec()))
        );
    }

    #[test]
    fn who_came_too_much_later_is_left_out() {
        let places = [place(2, 7), place(3, 8 + i64::from(u32::MAX))];
        let value = written(&places, revision(5));
        let read = Successors::read(&value, revision(5)).unwrap();
        assert_eq!(read.0, places[..1]);
    }

    #[test]
    fn values_of_others_say_nothing() {
        for value in [
            &b""[..],
            b"next",
            b"{}",
            b"next\0\0",
            b"next\0\xff\0\0\0\0\0\0\0\0\0\0\x01",
        ] {
            assert_eq!(Successors::read(value, revision(5)), None, "{value:?}");
        }
        let nobody = Some(Successors::default());
        assert_eq!(Successors::read(b"next\0", revision(5)), nobody);
        let late = written(&[place(2, 6)], revision(5));
        let last = Revision::new(i64::MAX).unwrap();
        assert_eq!(Successors::read(&late, last), None);
    }

    #[test]
    fn the_list_ends_before_what_is_not_ours_to_write_to() {
        let with_owner = entry(3, 7, "somebody");
        let mut rewritten = entry(3, 7, "");
        rewritten.version = 2;
        let mut of_another_lease = entry(3, 7, "");
        of_another_lease.lease = 4;
        for third in [with_owner, rewritten, of_another_lease] {
            let kvs = [entry(1, 5, ""), entry(2, 6, ""), third, entry(4, 8, "")];
            assert_eq!(behind(5, &kvs).0, [place(2, 6)]);
        }
    }

    #[test]
    fn foreign_keys_stand_in_nobodys_way() {
        let mut foreign = entry(3, 6, "note");
        foreign.key = "a/b/3".into();
        let kvs = [entry(1, 5, "x"), foreign, entry(2, 7, "")];
        assert_eq!(behind(5, &kvs).0, [place(2, 7)]);
    }
}
