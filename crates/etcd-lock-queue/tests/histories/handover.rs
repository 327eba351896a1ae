//! Hand-overs between the tasks of a session and the sessions of a client, and their limits.

use etcd_lock_queue::{CallerId, Input, Output, Request, Timer};

use crate::script::{FRESH, Script, VALID, delete, granted, key, lease, read};

fn ask(session: i64) -> Output {
    let session = lease(session);
    Output::Send(Request::Others { session })
}

/// Whether the second task of a session gets the lock as the first releases it.
fn is_handed_over(lock: &mut Script) -> bool {
    lock.acquire(1, 1);
    let outputs = lock.release(1, 0);
    let is_deleted = outputs.contains(&delete(1, 5));
    let is_granted = outputs.contains(&granted(1, 1, 5, 1));
    assert_ne!(is_deleted, is_granted, "{outputs:?}");
    is_granted
}

#[test]
fn tasks_of_a_session_hand_the_lock_over_with_a_greater_token() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    assert!(is_handed_over(&mut lock));
    assert_eq!(lock.holder(1), Some(CallerId(1)));
}

#[test]
fn a_hold_with_an_unanswered_write_is_not_handed_over() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.input(Input::WriteSent(lease(1), CallerId(0)));
    assert!(!is_handed_over(&mut lock));

    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.input(Input::WriteSent(lease(1), CallerId(0)));
    lock.input(Input::WriteAnswered(lease(1), CallerId(0)));
    assert!(is_handed_over(&mut lock));
}

#[test]
fn a_hold_that_is_not_confirmed_is_not_handed_over() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.now += VALID;
    assert!(!is_handed_over(&mut lock));
}

#[test]
fn a_hold_of_a_lease_that_is_not_valid_is_not_handed_over() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.invalid = Some(1);
    assert!(!is_handed_over(&mut lock));
}

#[test]
fn hand_overs_are_limited_by_a_count_that_an_answer_of_being_alone_starts_again() {
    let mut lock = Script::with_handovers(2);
    lock.hold(1, 0, 5);
    for caller in 1..=4 {
        lock.acquire(1, caller);
    }
    let outputs = lock.release(1, 0);
    assert!(outputs.contains(&ask(1)), "{outputs:?}");
    lock.release(1, 1);
    lock.newest(1, 9, &[(1, 5)]);
    lock.release(1, 2);
    let outputs = lock.release(1, 3);
    assert_eq!(outputs[0], Output::Released(CallerId(3)));
    assert_eq!(lock.release(1, 4), [delete(1, 5)]);
}

#[test]
fn hand_overs_stop_at_the_limit_when_nobody_answers_whether_others_wait() {
    let mut lock = Script::with_handovers(2);
    lock.hold(1, 0, 5);
    for caller in 1..=3 {
        lock.acquire(1, caller);
    }
    lock.release(1, 0);
    lock.release(1, 1);
    assert_eq!(lock.release(1, 2), [delete(1, 5)]);
}

#[test]
fn a_newest_entry_of_another_client_alone_does_not_count_as_being_alone() {
    let mut lock = Script::with_handovers(1);
    lock.hold(1, 0, 5);
    lock.acquire(1, 1);
    lock.acquire(1, 2);
    lock.release(1, 0);
    let outputs = lock.newest(1, 9, &[(9, 8)]);
    assert!(outputs.contains(&Output::Lost(CallerId(1))), "{outputs:?}");
}

#[test]
fn hand_overs_end_with_the_time_that_began_when_another_waiter_was_known() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.acquire(1, 1);
    lock.acquire(1, 2);
    let turn = Timer::Turn(lease(1));
    let outputs = lock.release(1, 0);
    assert!(outputs.contains(&Output::Start(Timer::Ask(lease(1)))));
    assert_eq!(lock.fired(Timer::Ask(lease(1))), [ask(1)]);
    assert_eq!(lock.newest(1, 9, &[(1, 5), (9, 8)]), [Output::Start(turn)]);
    lock.fired(turn);
    assert_eq!(lock.release(1, 1), [delete(1, 5)]);
}

/// Session 1 of the client holds the lock, session 2 waits behind it.
fn two_sessions() -> Script {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.acquire(2, 0);
    lock.entered(2, 6, &[(1, 5)]);
    lock
}

#[test]
fn a_session_gets_the_lock_of_another_before_its_deletion_is_answered() {
    let mut lock = two_sessions();
    assert_eq!(lock.release(1, 0)[..2], [delete(1, 5), granted(2, 0, 6, 0)]);
}

#[test]
fn a_session_waits_for_the_deletion_of_a_hold_that_was_not_valid_to_its_end() {
    let mut lock = two_sessions();
    lock.invalid = Some(1);
    assert_eq!(lock.release(1, 0), [delete(1, 5)]);
    let outputs = lock.entry_deleted(1, 7);
    assert!(outputs.contains(&granted(2, 0, 6, 0)), "{outputs:?}");
}

#[test]
fn a_session_waits_for_the_deletion_of_a_hold_with_an_unanswered_write() {
    let mut lock = two_sessions();
    lock.input(Input::WriteSent(lease(1), CallerId(0)));
    assert_eq!(lock.release(1, 0), [delete(1, 5)]);
}

#[test]
fn a_session_that_was_not_seen_for_a_heartbeat_is_read_before_it_gets_the_lock() {
    let mut lock = two_sessions();
    lock.now += FRESH;
    assert_eq!(lock.release(1, 0), [delete(1, 5), read(6)]);
    let outputs = lock.snapshot(7, 6, &[(1, 5), (2, 6)]);
    assert!(outputs.contains(&granted(2, 0, 6, 0)), "{outputs:?}");
}

#[test]
fn a_session_does_not_get_the_lock_across_a_foreign_entry() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.acquire(2, 0);
    lock.entered(2, 8, &[(1, 5), (9, 6)]);
    assert_eq!(lock.release(1, 0), [delete(1, 5)]);
    lock.entry_deleted(1, 9);
    let outputs = lock.deleted(9, 10);
    assert_eq!(outputs[..], [granted(2, 0, 8, 0), Output::Unwatch(key(9))]);
}
