//! Property tests of the knowledge against a full queue: with any part of what happens, in any order and however often, it says
//! `Head` of the head only.
#![allow(
    clippy::unwrap_used,
    reason = "it is test code: a panic is how it reports"
)]

use std::collections::{BTreeMap, BTreeSet};

use etcd_lock_core::{LeaseId, LockKey, LockName, Revision};
use etcd_lock_queue::{EntryId, Knowledge, Snapshot, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;

/// A change of the queue, and the part of it that reaches the knowledge.
#[derive(Clone, Debug)]
enum Step {
    /// Creates the entry of a key, with others in one transaction where there are several.
    Create(Vec<i64>),
    Delete(i64),
    /// Another key of the store is written.
    Write,
    /// Reads all entries that were created up to one of the revisions so far.
    Read(Index),
    /// Reads the two newest entries.
    ReadNewest,
    /// Reads one key.
    ReadKey(i64),
    /// Something that was sent reaches the knowledge, now and perhaps again later.
    Deliver(Index),
    /// Only entries up to this live one are asked about from now on.
    Forget(Index),
}

/// A message that a server has sent.
#[derive(Clone, Debug)]
enum Message {
    Snapshot(Snapshot),
    Deleted(LockKey, Revision),
    Observed(LockKey, Revision, Option<Revision>),
    Created(EntryId),
}

/// The queue as it is.
#[derive(Default)]
struct Queue {
    revision: i64,
    live: BTreeMap<LockKey, Revision>,
    sent: Vec<Message>,
}

impl Queue {
    fn now(&self) -> Revision {
        Revision::new(self.revision).unwrap()
    }

    fn entries(&self) -> BTreeSet<EntryId> {
        let live = self.live.iter();
        live.map(|(key, created)| EntryId::new(key.clone(), *created))
            .collect()
    }

    fn create(&mut self, leases: &[i64]) {
        self.revision += 1;
        for lease in leases {
            let (key, now) = (key(*lease), self.now());
            let created = *self.live.entry(key.clone()).or_insert(now);
            self.sent.push(Message::Created(EntryId::new(key, created)));
        }
    }

    fn delete(&mut self, lease: i64) {
        if self.live.remove(&key(lease)).is_some() {
            self.revision += 1;
            self.sent.push(Message::Deleted(key(lease), self.now()));
        }
    }

    fn read(&mut self, up_to: i64) {
        let up_to = Revision::new(up_to).unwrap();
        let entries = self.entries().into_iter();
        let entries = entries.filter(|entry| entry.created <= up_to);
        self.sent.push(Message::Snapshot(Snapshot::new(
            self.now(),
            up_to,
            true,
            entries,
        )));
    }

    fn read_newest(&mut self) {
        let entries = self.entries();
        let complete = entries.len() <= 2;
        let newest = entries.into_iter().rev().take(2);
        let now = self.now();
        self.sent
            .push(Message::Snapshot(Snapshot::new(now, now, complete, newest)));
    }

    fn read_key(&mut self, lease: i64) {
        let found = self.live.get(&key(lease)).copied();
        self.sent
            .push(Message::Observed(key(lease), self.now(), found));
    }
}

fn key(lease: i64) -> LockKey {
    LockName::new("a")
        .unwrap()
        .key(LeaseId::new(lease).unwrap())
}

fn deliver(knowledge: &mut Knowledge, message: &Message) {
    match message {
        Message::Snapshot(snapshot) => knowledge.apply(snapshot),
        Message::Deleted(key, revision) => knowledge.deleted(key, *revision),
        Message::Observed(key, at, found) => knowledge.observed(key, *at, *found),
        Message::Created(entry) => {
            knowledge.note(entry, entry.created);
        }
    }
}

/// Whether nothing that is known is wrong.
fn is_true(knowledge: &Knowledge, queue: &Queue) -> Result<(), TestCaseError> {
    let live = queue.entries();
    for entry in &live {
        let is_head = live.first() == Some(entry);
        let verdict = knowledge.verdict(entry);
        prop_assert!(is_head || verdict != Verdict::Head, "{entry:?} of {live:?}");
        if knowledge.knows_all_before(entry) {
            for other in live.range(..entry) {
                prop_assert!(knowledge.is_live(other), "{other:?} is not known to live");
            }
        }
    }
    Ok(())
}

fn step() -> impl Strategy<Value = Step> {
    let lease = 1..6_i64;
    prop_oneof![
        4 => proptest::collection::vec(1..6_i64, 1..3).prop_map(Step::Create),
        4 => lease.clone().prop_map(Step::Delete),
        1 => Just(Step::Write),
        2 => any::<Index>().prop_map(Step::Read),
        2 => Just(Step::ReadNewest),
        2 => lease.prop_map(Step::ReadKey),
        8 => any::<Index>().prop_map(Step::Deliver),
        1 => any::<Index>().prop_map(Step::Forget),
    ]
}

fn take(step: &Step, queue: &mut Queue, knowledge: &mut Knowledge) {
    match step {
        Step::Create(leases) => queue.create(leases),
        Step::Delete(lease) => queue.delete(*lease),
        Step::Write => queue.revision += 1,
        Step::Read(at) => {
            let up_to = at.index(usize::try_from(queue.revision).unwrap() + 1);
            queue.read(i64::try_from(up_to).unwrap());
        }
        Step::ReadNewest => queue.read_newest(),
        Step::ReadKey(lease) => queue.read_key(*lease),
        Step::Deliver(which) if !queue.sent.is_empty() => {
            deliver(knowledge, which.get(&queue.sent));
        }
        Step::Forget(which) => {
            let live: Vec<_> = queue.entries().into_iter().collect();
            let newest = (!live.is_empty()).then(|| which.get(&live));
            knowledge.forget_after(newest);
        }
        Step::Deliver(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn late_lost_and_doubled_messages_never_make_a_head(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut queue, mut knowledge) = (Queue::default(), Knowledge::new());
        for step in &steps {
            take(step, &mut queue, &mut knowledge);
            is_true(&knowledge, &queue)?;
        }
    }

    #[test]
    fn a_snapshot_of_now_makes_every_verdict_exact(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut queue, mut knowledge) = (Queue::default(), Knowledge::new());
        for step in &steps {
            take(step, &mut queue, &mut knowledge);
        }
        let now = queue.revision;
        queue.read(now);
        deliver(&mut knowledge, queue.sent.last().unwrap());
        let live = queue.entries();
        for entry in &live {
            let exact = match live.range(..entry).next_back() {
                Some(predecessor) => Verdict::Behind(predecessor.clone()),
                None => Verdict::Head,
            };
            prop_assert_eq!(knowledge.verdict(entry), exact);
        }
    }
}

/// The positive control: knowledge that counts a snapshot for an entry that was created after it is caught.
#[test]
fn a_snapshot_that_is_older_than_the_entry_would_make_a_false_head() {
    let entry = |lease, created| EntryId::new(key(lease), Revision::new(created).unwrap());
    let (older, newer) = (entry(1, 2), entry(2, 3));
    let at = |revision| Revision::new(revision).unwrap();

    let mut knowledge = Knowledge::new();
    knowledge.apply(&Snapshot::new(at(1), at(3), true, []));
    assert_eq!(knowledge.verdict(&newer), Verdict::Unknown);

    let mut wrong = Knowledge::new();
    wrong.apply(&Snapshot::new(at(3), at(3), true, []));
    let queue = Queue {
        revision: 3,
        live: [older, newer]
            .map(|entry| (entry.key, entry.created))
            .into(),
        sent: Vec::new(),
    };
    assert!(is_true(&wrong, &queue).is_err());
}
