//! Holds: granted, confirmed, released and lost.

use etcd_lock_core::kv::Op;
use etcd_lock_queue::{CallerId, Failure, Input, LockQueue, Output, Request, Ticket, Timer};

use crate::script::{
    FRESH, Script, VALID, check, delete, enter, granted, key, lease, name, read, revision,
};

#[test]
fn an_uncontended_lock_and_unlock_send_one_transaction_each_and_nothing_else() {
    let mut lock = Script::new();
    assert_eq!(lock.acquire(1, 0), [enter(1)]);
    assert_eq!(lock.entered(1, 5, &[]), [granted(1, 0, 5, 0)]);
    assert_eq!(lock.release(1, 0), [delete(1, 5)]);
    assert_eq!(lock.entry_deleted(1, 6), [Output::Released(CallerId(0))]);
    assert!(lock.queue.is_idle());
}

#[test]
fn a_release_deletes_the_own_key_guarded_by_its_create_revision_and_writes_nothing() {
    let request = Request::Delete {
        session: lease(1),
        created: revision(5),
    };
    let txn = request.txn(&name(), b"");
    assert_eq!(txn.compare.len(), 1);
    let [Op::Delete(deleted)] = &txn.success[..] else {
        panic!("{txn:?}");
    };
    assert_eq!(
        (&deleted.key, &txn.compare[0].key),
        (key(1).as_bytes(), key(1).as_bytes())
    );
    assert!(deleted.range_end.is_empty() && txn.failure.is_empty());
}

#[test]
fn a_holder_whose_entry_was_deleted_in_a_watch_gap_is_told_by_the_heartbeat() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    let keys: Vec<_> = lock.queue.heartbeat(lease(1)).collect();
    assert_eq!(keys, [key(1)]);
    assert_eq!(lock.heartbeat(9, 1, None), [Output::Lost(CallerId(0))]);
    assert_eq!(lock.holder(1), None);
}

#[test]
fn the_watch_of_an_aged_hold_that_is_lost_is_reopened_and_the_gap_is_read() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    let aged = Timer::Aged(lease(1));
    assert_eq!(lock.fired(aged), [Output::Watch(key(1))]);
    assert_eq!(lock.input(Input::Watching(key(1), revision(5))), []);
    let lost = Input::WatchLost(key(1));
    assert_eq!(lock.input(lost), [Output::Watch(key(1))]);
    let watching = Input::Watching(key(1), revision(9));
    assert_eq!(lock.input(watching), [check(1)]);
    let told = [Output::Lost(CallerId(0)), Output::Unwatch(key(1))];
    assert_eq!(lock.checked(9, 1, None), told);
}

#[test]
fn a_hold_that_was_lost_is_never_held_again_when_a_stale_reply_shows_its_entry() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.heartbeat(9, 1, None);
    assert_eq!(lock.heartbeat(6, 1, Some(5)), []);
    assert_eq!(lock.holder(1), None);
}

#[test]
fn an_entry_that_was_lost_and_is_found_on_entering_is_deleted_and_not_held() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.acquire(1, 1);
    let lost = [Output::Lost(CallerId(0)), enter(1)];
    assert_eq!(lock.heartbeat(9, 1, None), lost);
    let found = lock.found(1, 5, Some(crate::script::nonce(1)));
    assert_eq!(found, [delete(1, 5)]);
    assert_eq!(lock.entry_deleted(1, 11), [enter(1)]);
    assert_eq!(lock.entered(1, 12, &[]), [granted(1, 1, 12, 0)]);
}

#[test]
fn a_hold_that_can_not_be_confirmed_ends_and_its_entry_is_deleted() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.now += VALID - 1;
    let expired = Timer::Expired(lease(1));
    assert_eq!(lock.fired(expired), []);
    lock.now += 1;
    let outputs = [Output::Lost(CallerId(0)), delete(1, 5)];
    assert_eq!(lock.fired(expired), outputs);
}

#[test]
fn a_confirmation_counts_from_before_the_latest_request_that_was_answered() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.now += FRESH;
    lock.heartbeat(7, 1, Some(5));
    let (_, confirmed) = lock.queue.holder(lease(1)).unwrap();
    assert_eq!(confirmed.0, lock.now);
    let sent = etcd_lock_queue::Stamp(lock.now - 1);
    lock.input(Input::Observed {
        sent,
        observations: Vec::new(),
    });
    let (_, still) = lock.queue.holder(lease(1)).unwrap();
    assert_eq!(still, confirmed);
}

#[test]
fn the_end_of_a_session_and_a_deleted_entry_are_told_apart() {
    let mut lock = Script::new();
    lock.acquire(2, 1);
    lock.entered(2, 6, &[(9, 5)]);
    let outputs = lock.deleted(2, 7);
    assert!(outputs.contains(&Output::Failed(CallerId(1), Failure::Deleted)));

    lock.acquire(2, 2);
    let outputs = lock.input(Input::SessionEnded(lease(2)));
    assert_eq!(outputs, [Output::Failed(CallerId(2), Failure::SessionLost)]);
}

#[test]
fn sessions_that_end_with_their_leases_leave_nothing_in_the_machine() {
    let mut lock = Script::new();
    let empty = lock.queue.clone();
    for session in 1..10_000 {
        lock.hold(session, 0, session);
        lock.input(Input::SessionEnded(lease(session)));
    }
    assert_eq!(lock.queue, empty);
    assert!(LockQueue::is_idle(&lock.queue));
}

#[test]
fn two_users_of_one_lease_share_its_entry_and_get_different_tokens() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    assert_eq!(lock.acquire(1, 1), []);
    let outputs = lock.release(1, 0);
    assert!(outputs.contains(&granted(1, 1, 5, 1)), "{outputs:?}");
}

#[test]
fn an_entry_of_another_process_under_the_lease_is_reported_and_never_deleted() {
    let mut lock = Script::new();
    for nonce in [None, Some(crate::script::nonce(77))] {
        lock.acquire(1, 0);
        let told = [Output::Failed(CallerId(0), Failure::Foreign)];
        assert_eq!(lock.found(1, 5, nonce), told);
    }
    assert!(lock.queue.is_idle());
}

#[test]
fn a_stale_confirmation_is_renewed_by_a_read_before_the_grant() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    lock.now += FRESH;
    assert_eq!(
        lock.deleted(9, 7),
        [Output::Unwatch(key(9)), read(6)]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let outputs = lock.snapshot(8, 6, &[(1, 6)]);
    assert_eq!(outputs[0], granted(1, 0, 6, 0));
}

#[test]
fn a_waiter_whose_entry_is_gone_is_not_granted_when_its_predecessors_are_gone_too() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    lock.now += FRESH;
    lock.deleted(9, 7);
    let outputs = lock.snapshot(8, 6, &[]);
    assert_eq!(outputs[0], Output::Failed(CallerId(0), Failure::Deleted));
}

#[test]
fn a_failed_release_is_sent_again_for_as_long_as_the_session_lives() {
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.release(1, 0);
    let (request, timer) = (Ticket::Delete(lease(1)), Timer::Retry(lease(1)));
    for _ in 0..1_000 {
        let failed = lock.failed(request, etcd_lock_queue::RequestFailure::InDoubt);
        assert_eq!(failed, [Output::Start(timer)]);
        assert_eq!(lock.fired(timer), [delete(1, 5)]);
    }
    assert_eq!(lock.entry_deleted(1, 9), [Output::Released(CallerId(0))]);
}
