//! Requests to enter whose outcome is unknown, and the orphans that they may create.

use etcd_lock_queue::{CallerId, Failure, Output, RequestFailure, Ticket, Timer};

use crate::script::{Script, check, delete, enter, granted, key, lease, nonce, retry};

fn in_doubt(lock: &mut Script) {
    let failed = lock.failed(Ticket::Enter(lease(1)), RequestFailure::InDoubt);
    assert_eq!(failed[0], retry(1));
}

#[test]
fn a_request_to_enter_that_gets_no_answer_is_sent_again_for_as_long_as_somebody_waits() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    for _ in 0..100 {
        in_doubt(&mut lock);
        assert_eq!(lock.fired(Timer::Retry(lease(1))), [enter(1)]);
    }
    assert_eq!(lock.found(1, 5, Some(nonce(1)))[0], crate::script::read(5));
    assert_eq!(lock.snapshot(7, 5, &[(1, 5)])[0], granted(1, 0, 5, 0));
}

#[test]
fn a_request_to_enter_that_is_refused_ends_the_attempt() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    let failed = lock.failed(Ticket::Enter(lease(1)), RequestFailure::Refused);
    assert_eq!(failed, [Output::Failed(CallerId(0), Failure::Refused)]);
    assert!(lock.queue.is_idle());
}

#[test]
fn the_key_of_a_request_in_doubt_stays_in_the_heartbeat_and_an_orphan_is_deleted() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    in_doubt(&mut lock);
    assert_eq!(lock.cancel(1, 0), [check(1)]);
    assert_eq!(lock.checked(6, 1, None), []);
    let keys: Vec<_> = lock.queue.heartbeat(lease(1)).collect();
    assert_eq!(keys, [key(1)]);
    assert_eq!(lock.heartbeat(900, 1, Some(800)), [delete(1, 800)]);
    assert_eq!(lock.entry_deleted(1, 901), []);
    assert!(!lock.queue.is_idle(), "another copy may be executed yet");
}

#[test]
fn a_later_attempt_adopts_what_a_request_in_doubt_creates() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    in_doubt(&mut lock);
    lock.cancel(1, 0);
    lock.checked(6, 1, None);
    assert_eq!(lock.acquire(1, 1), [enter(1)]);
    lock.found(1, 7, Some(nonce(1)));
    assert_eq!(lock.snapshot(9, 7, &[(1, 7)])[0], granted(1, 1, 7, 0));
}

#[test]
fn an_entry_that_was_released_and_is_seen_again_is_deleted_again() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    in_doubt(&mut lock);
    lock.fired(Timer::Retry(lease(1)));
    assert_eq!(lock.entered(1, 5, &[]), [granted(1, 0, 5, 0)]);
    lock.release(1, 0);
    lock.entry_deleted(1, 6);
    assert_eq!(lock.heartbeat(8, 1, Some(5)), [delete(1, 5)]);
}

#[test]
fn an_entry_of_another_process_at_the_key_in_doubt_is_left_alone() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    in_doubt(&mut lock);
    lock.cancel(1, 0);
    let found = etcd_lock_queue::Observation::new(
        key(1),
        crate::script::revision(9),
        Some((crate::script::revision(8), Some(nonce(77)))),
    );
    let reply = etcd_lock_queue::Reply::Checked(vec![found]);
    assert_eq!(lock.replied(Ticket::Check, reply), []);
}

#[test]
fn an_earlier_entry_of_this_client_that_a_stale_snapshot_shows_is_watched_and_read() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    in_doubt(&mut lock);
    lock.fired(Timer::Retry(lease(1)));
    lock.acquire(2, 0);
    lock.entered(1, 5, &[]);
    lock.release(1, 0);
    lock.entry_deleted(1, 7);
    let outputs = lock.entered(2, 6, &[(1, 5)]);
    assert!(outputs.contains(&Output::Watch(key(1))), "{outputs:?}");
    let watching = etcd_lock_queue::Input::Watching(key(1), crate::script::revision(7));
    assert_eq!(lock.input(watching), [check(1)]);
    assert_eq!(lock.checked(8, 1, None)[0], granted(2, 0, 6, 0));
}
