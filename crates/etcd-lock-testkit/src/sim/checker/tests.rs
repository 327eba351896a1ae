//! Histories written by hand: the checker finds what is wrong with each, and nothing wrong with those that are right.

use std::sync::Arc;

use etcd_lock_core::kv::KeyValue;

use super::super::history::WriteEnd;
use super::*;

/// A run of one lock that every process holds in turn, by lease number.
struct History {
    checker: Checker,
    /// What a holder claims.
    hold: Arc<dyn Held>,
}

#[derive(Debug)]
struct Always;

impl Held for Always {
    fn is_held(&self) -> bool {
        true
    }
}

impl History {
    /// Processes 1 and 2 have a lease each, of their own number, and process 1 has lease 3, too.
    fn new() -> Self {
        let mut checker = Checker::new(1);
        checker.lease(1, 1);
        checker.lease(2, 2);
        checker.lease(3, 1);
        let hold = Arc::new(Always);
        Self { checker, hold }
    }

    fn enters(&mut self, lease: i64, created: i64) {
        let mut kv = KeyValue::new(key(lease), "");
        kv.create_revision = revision(created);
        self.change(Event::new(EventKind::Put, kv, None), Cause::Process(1));
    }

    fn leaves(&mut self, lease: i64, created: i64, cause: Cause) {
        let mut before = KeyValue::new(key(lease), "");
        before.create_revision = revision(created);
        let event = Event::new(
            EventKind::Delete,
            KeyValue::new(key(lease), ""),
            Some(before),
        );
        self.change(event, cause);
    }

    fn is_granted(&mut self, process: usize, created: i64, handover: u64, limit: u64) {
        let lease = i64::try_from(process).unwrap();
        self.lease_is_granted(lease, process, created, handover, limit);
    }

    fn lease_is_granted(
        &mut self,
        lease: i64,
        process: usize,
        created: i64,
        handover: u64,
        limit: u64,
    ) {
        let note = Note::Granted {
            grant: created.unsigned_abs() * 1_000 + handover,
            lock: 0,
            key: LockKey::new(key(lease)).unwrap(),
            token: FencingToken::new(revision(created), handover),
            limit,
            watched: true,
            held: Arc::downgrade(&self.hold),
        };
        self.checker.note(process, 0, note, true);
    }

    fn writes(&mut self, id: u64, created: i64) {
        let created = revision(created);
        self.note(Note::Write {
            id,
            lock: 0,
            created,
        });
    }

    fn is_written(&mut self, id: u64) {
        let kv = KeyValue::new(resource(0), id.to_string());
        self.change(Event::new(EventKind::Put, kv, None), Cause::Process(1));
    }

    fn write_ends(&mut self, id: u64, end: WriteEnd) {
        self.note(Note::WriteEnded { id, end });
    }

    fn note(&mut self, note: Note) {
        self.checker.note(1, 0, note, true);
    }

    fn change(&mut self, event: Event, cause: Cause) {
        self.checker.changed(0, &[event], cause);
    }

    /// What is wrong with the claims that are made now.
    fn contradictions(&self) -> Vec<String> {
        let claims = self.checker.claims(u64::MAX);
        claims
            .filter_map(|claim| self.checker.contradiction(claim))
            .collect()
    }

    /// The sort of the violation that is found at the end.
    fn verdict(mut self) -> Option<String> {
        self.checker.settle();
        let violation = self.checker.violation()?;
        violation.split(' ').next().map(str::to_owned)
    }
}

fn key(lease: i64) -> String {
    format!("{}/{lease:x}", name(0))
}

fn revision(revision: i64) -> Revision {
    Revision::new(revision).unwrap()
}

#[test]
fn a_right_history_passes() {
    let mut history = History::new();
    history.enters(1, 5);
    history.enters(2, 6);
    history.is_granted(1, 5, 0, 1);
    history.writes(1, 5);
    history.is_written(1);
    history.write_ends(1, WriteEnd::Done);
    history.is_granted(1, 5, 1, 1);
    history.writes(2, 5);
    history.write_ends(2, WriteEnd::Unknown);
    assert_eq!(history.contradictions(), [""; 0]);
    history.note(Note::Released { grant: 5_000 });
    history.note(Note::Released { grant: 5_001 });
    history.leaves(1, 5, Cause::Process(1));
    history.is_granted(2, 6, 0, 1);
    history.writes(3, 6);
    history.write_ends(3, WriteEnd::Refused);
    assert_eq!(history.contradictions(), [""; 0]);
    assert_eq!(history.verdict(), None);
}

#[test]
fn two_holders_are_found() {
    let mut history = History::new();
    history.enters(1, 5);
    history.enters(2, 6);
    history.is_granted(1, 5, 0, 0);
    history.leaves(1, 5, Cause::Expiry);
    history.is_granted(2, 6, 0, 0);
    let found = history.contradictions();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("exclusion: process 1 claims"),
        "{found:?}"
    );
}

/// A holder can't know what a stranger did, until it is told.
#[test]
fn a_holder_whose_key_was_taken_away_is_wrong_once_it_was_told() {
    let mut history = History::new();
    history.enters(1, 5);
    history.enters(2, 6);
    history.is_granted(1, 5, 0, 0);
    history.leaves(1, 5, Cause::Stranger);
    assert_eq!(history.contradictions(), [""; 0]);
    let key = Bytes::from(key(1));
    history.checker.told(1, &key, revision(7));
    assert_eq!(history.contradictions().len(), 1);
}

#[test]
fn a_grant_out_of_order_is_found() {
    let mut history = History::new();
    history.enters(1, 5);
    history.enters(2, 6);
    history.is_granted(2, 6, 0, 0);
    assert_eq!(history.verdict().as_deref(), Some("order:"));
}

#[test]
fn a_token_that_does_not_grow_is_found() {
    let mut history = History::new();
    history.enters(1, 5);
    history.is_granted(1, 5, 1, 512);
    history.is_granted(1, 5, 0, 512);
    assert_eq!(history.verdict().as_deref(), Some("tokens:"));

    let mut history = History::new();
    history.enters(1, 5);
    history.is_granted(1, 5, 0, 512);
    history.is_granted(1, 5, 0, 512);
    assert_eq!(history.verdict().as_deref(), Some("tokens:"));
}

#[test]
fn too_many_hand_overs_are_found() {
    let handed_on = |times| {
        let mut history = History::new();
        history.enters(1, 5);
        history.enters(2, 6);
        for handover in 0..=times {
            history.is_granted(1, 5, handover, 2);
        }
        history.verdict()
    };
    // Whether others wait is asked early, so twice the limit is allowed.
    assert_eq!(handed_on(4), None);
    assert_eq!(handed_on(5).as_deref(), Some("hand-over:"));
}

#[test]
fn a_claim_to_a_lock_that_is_said_to_be_lost_is_found() {
    let lost = |held| {
        let mut history = History::new();
        history.enters(1, 5);
        history.is_granted(1, 5, 0, 0);
        let error = etcd_lock_core::Error::new(etcd_lock_core::ErrorKind::Lost, "gone");
        let grant = 5_000;
        history.note(Note::Lost { grant, error, held });
        history.verdict()
    };
    assert_eq!(lost(false), None);
    assert_eq!(lost(true).as_deref(), Some("loss:"));
}

/// Lease 1 is granted the lock and gives it up; its entry stays for now.
fn given_up() -> History {
    let mut history = History::new();
    history.enters(1, 5);
    history.is_granted(1, 5, 0, 0);
    history.writes(1, 5);
    history.note(Note::Released { grant: 5_000 });
    history
}

#[test]
fn a_process_may_pass_the_lock_on_before_the_server_knows() {
    let mut history = given_up();
    history.enters(3, 6);
    history.lease_is_granted(3, 1, 6, 0, 0);
    assert_eq!(history.contradictions(), [""; 0]);
    history.writes(2, 6);
    history.is_written(2);
    assert_eq!(history.verdict(), None);
}

#[test]
fn another_process_may_not_take_it_before() {
    let mut history = given_up();
    history.enters(2, 6);
    history.is_granted(2, 6, 0, 0);
    assert_eq!(history.contradictions().len(), 1);
}

#[test]
fn nor_may_its_own_past_somebody_between() {
    let mut history = given_up();
    history.enters(2, 6);
    history.enters(3, 7);
    history.lease_is_granted(3, 1, 7, 0, 0);
    assert_eq!(history.contradictions().len(), 1);
    assert_eq!(history.verdict().as_deref(), Some("order:"));
}

#[test]
fn a_write_that_comes_after_the_lock_was_passed_on_is_found() {
    let mut history = given_up();
    history.enters(3, 6);
    history.lease_is_granted(3, 1, 6, 0, 0);
    history.is_written(1);
    assert_eq!(history.verdict().as_deref(), Some("fencing:"));
}

#[test]
fn a_wait_that_fails_for_no_reason_is_found() {
    let fails = |cause| {
        let mut history = History::new();
        history.enters(1, 5);
        history.leaves(1, 5, cause);
        let text = "the queue entry a/1 was deleted by somebody else";
        let error = etcd_lock_core::Error::new(etcd_lock_core::ErrorKind::Lost, text);
        history.note(Note::Failed { lock: 0, error });
        history.verdict()
    };
    assert_eq!(fails(Cause::Stranger), None);
    assert_eq!(fails(Cause::Expiry), None);
    assert_eq!(fails(Cause::Process(1)).as_deref(), Some("error:"));
}

#[test]
fn a_stale_write_that_is_committed_is_found() {
    let mut history = History::new();
    history.enters(1, 5);
    history.enters(2, 6);
    history.is_granted(1, 5, 0, 0);
    history.writes(1, 5);
    history.leaves(1, 5, Cause::Expiry);
    history.is_written(1);
    assert_eq!(history.verdict().as_deref(), Some("fencing:"));
}

#[test]
fn writes_that_are_lost_doubled_or_there_although_refused_are_found() {
    let written = |times: usize, end| {
        let mut history = History::new();
        history.enters(1, 5);
        history.is_granted(1, 5, 0, 0);
        history.writes(1, 5);
        for _ in 0..times {
            history.is_written(1);
        }
        history.write_ends(1, end);
        history.verdict()
    };
    assert_eq!(written(1, WriteEnd::Done), None);
    assert_eq!(written(0, WriteEnd::Unknown), None);
    assert_eq!(written(0, WriteEnd::Done).as_deref(), Some("write"));
    assert_eq!(written(1, WriteEnd::Refused).as_deref(), Some("write"));
    assert_eq!(written(1, WriteEnd::NotDone).as_deref(), Some("write"));
    assert_eq!(written(2, WriteEnd::Unknown).as_deref(), Some("write"));
}

#[test]
fn a_deletion_of_somebody_elses_entry_is_found() {
    let mut history = History::new();
    history.enters(1, 5);
    history.leaves(1, 5, Cause::Process(2));
    assert_eq!(history.verdict().as_deref(), Some("deletion:"));
}

#[test]
fn who_stands_first_and_does_nothing_is_found() {
    let mut history = History::new();
    assert_eq!(history.checker.stuck_since(9), None);
    history.enters(1, 5);
    assert_eq!(history.checker.stuck_since(0), None);
    assert_eq!(history.checker.stuck_since(9), Some(0));
}
