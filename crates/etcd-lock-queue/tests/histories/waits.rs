//! Waits: in front, behind others, in a crowd, and given up.

use etcd_lock_core::kv::{KeyValue, OpResponse, RangeResponse, TxnResponse};
use etcd_lock_core::{LockKey, ResponseHeader};
use etcd_lock_queue::{
    CallerId, EntryId, Failure, Input, Output, Reply, Request, RequestFailure, Ticket, Timer,
};

use crate::script::{
    Script, check, delete, enter, granted, key, lease, name, read, retry, revision,
};

#[test]
fn a_waiter_watches_its_predecessor_and_the_deletion_is_the_grant() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    assert_eq!(lock.entered(1, 6, &[(9, 5)]), [Output::Watch(key(9))]);
    let keys: Vec<_> = lock.queue.heartbeat(lease(1)).collect();
    assert_eq!(keys, [key(1), key(9)]);
    assert_eq!(lock.deleted(9, 7)[0], granted(1, 0, 6, 0));
}

#[test]
fn a_deletion_that_no_watch_reports_is_found_by_the_heartbeat() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.heartbeat(8, 9, None)[0], granted(1, 0, 6, 0));
}

#[test]
fn a_key_that_was_deleted_and_put_again_is_another_entry() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.heartbeat(8, 9, Some(8))[0], granted(1, 0, 6, 0));
}

#[test]
fn a_late_event_of_an_older_entry_of_the_key_is_no_grant() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.deleted(9, 4), []);
}

#[test]
fn a_snapshot_that_is_older_than_the_entry_says_nothing_of_its_predecessors() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    assert_eq!(lock.found(1, 6, Some(crate::script::nonce(1)))[0], read(6));
    assert_eq!(lock.snapshot(4, 6, &[]), [read(6)]);
    assert_eq!(lock.snapshot(7, 6, &[(1, 6)]), [granted(1, 0, 6, 0)]);
}

#[test]
fn a_waiter_in_a_long_queue_reads_it_when_its_second_predecessor_is_deleted() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    let watches = [Output::Watch(key(9)), Output::Watch(key(8))];
    assert_eq!(lock.entered_a_long_queue(1, 6, &[(8, 4), (9, 5)]), watches);
    assert_eq!(lock.deleted(8, 7), [read(6), Output::Unwatch(key(8))]);
    assert_eq!(lock.snapshot(7, 6, &[(9, 5), (1, 6)]), []);
    let outputs = [granted(1, 0, 6, 0), Output::Unwatch(key(9))];
    assert_eq!(lock.deleted(9, 8), outputs);
}

#[test]
fn a_waiter_whose_second_predecessor_has_withdrawn_watches_the_one_before_it() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered_a_long_queue(1, 6, &[(8, 4), (9, 5)]);
    lock.deleted(8, 7);
    let outputs = lock.snapshot(7, 6, &[(7, 3), (9, 5), (1, 6)]);
    assert_eq!(outputs, [Output::Watch(key(7))]);
    assert_eq!(lock.deleted(9, 8), [Output::Unwatch(key(9))]);
    assert_eq!(lock.deleted(7, 9)[0], granted(1, 0, 6, 0));
}

#[test]
fn a_predecessor_that_was_last_seen_before_a_deletion_is_read_and_not_watched() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    let queue = [(7, 3), (8, 4), (9, 5)];
    let watches = [Output::Watch(key(9)), Output::Watch(key(8))];
    assert_eq!(lock.entered(1, 6, &queue), watches);
    assert_eq!(lock.deleted(8, 8), [read(6), Output::Unwatch(key(8))]);
    assert_eq!(lock.snapshot(8, 6, &[(9, 5), (1, 6)]), []);
    assert_eq!(lock.deleted(9, 9)[0], granted(1, 0, 6, 0));
}

#[test]
fn a_waiter_that_missed_its_grant_in_a_long_queue_reads_once() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered_a_long_queue(1, 6, &[(8, 4), (9, 5)]);
    assert_eq!(lock.deleted(8, 7)[0], read(6));
    assert_eq!(lock.deleted(9, 8), [Output::Unwatch(key(9))]);
    assert_eq!(lock.snapshot(8, 6, &[(1, 6)]), [granted(1, 0, 6, 0)]);
}

#[test]
fn an_entry_that_was_seen_deleted_does_not_come_back_with_a_snapshot_that_was_read_before() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered_a_long_queue(1, 6, &[(8, 4), (9, 5)]);
    assert_eq!(lock.deleted(8, 7)[0], read(6));
    assert_eq!(lock.deleted(9, 8), [Output::Unwatch(key(9))]);
    assert_eq!(
        lock.snapshot(7, 6, &[(9, 5), (1, 6)]),
        [granted(1, 0, 6, 0)]
    );
}

#[test]
fn a_predecessor_that_entered_again_is_waited_for_though_its_deletion_was_seen_later() {
    let mut lock = Script::new();
    lock.acquire(2, 0);
    lock.entered(2, 5, &[(9, 4)]);
    lock.acquire(1, 0);
    // Meanwhile it has left and entered again, and the entry of session 1 was created.
    assert_eq!(lock.heartbeat(8, 9, Some(6))[0], granted(2, 0, 5, 0));
    assert_eq!(lock.entered(1, 7, &[(2, 5), (9, 6)]), [read(7)]);
    let snapshot = [(2, 5), (9, 6), (1, 7)];
    assert_eq!(lock.snapshot(8, 7, &snapshot), [Output::Watch(key(9))]);
    assert_eq!(lock.release(2, 0), [delete(2, 5)]);
    let released = [Output::Released(CallerId(0))];
    assert_eq!(lock.entry_deleted(2, 9), released);
    assert_eq!(lock.deleted(9, 10)[0], granted(1, 0, 7, 0));
}

#[test]
fn a_waiter_watches_itself_once_its_entry_is_aged_and_still_does_when_it_is_granted() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    let aged = Timer::Aged(lease(1));
    assert_eq!(lock.fired(aged), [Output::Watch(key(1))]);
    let outputs = [granted(1, 0, 6, 0), Output::Unwatch(key(9))];
    assert_eq!(lock.deleted(9, 7), outputs);
}

#[test]
fn a_watch_that_the_server_cancels_is_reopened_and_the_place_is_kept() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    let lost = Input::WatchLost(key(9));
    assert_eq!(lock.input(lost), [Output::Watch(key(9))]);
    let watching = Input::Watching(key(9), revision(8));
    assert_eq!(lock.input(watching), [check(9)]);
    assert_eq!(lock.checked(8, 9, None)[0], granted(1, 0, 6, 0));
}

#[test]
fn a_watch_that_covers_everything_since_the_snapshot_needs_no_read() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.input(Input::Watching(key(9), revision(6))), []);
}

#[test]
fn a_withdrawal_is_sent_again_for_as_long_as_the_session_lives() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.cancel(1, 0)[0], delete(1, 6));
    for _ in 0..1_000 {
        let failed = lock.failed(Ticket::Delete(lease(1)), RequestFailure::NotExecuted);
        assert_eq!(failed, [retry(1)]);
        assert_eq!(lock.fired(Timer::Retry(lease(1))), [delete(1, 6)]);
    }
    assert_eq!(lock.entry_deleted(1, 9), []);
    assert!(lock.queue.is_idle());
}

#[test]
fn the_session_keeps_its_place_when_the_caller_in_front_gives_up() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.acquire(1, 1);
    lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(lock.cancel(1, 0), []);
    assert_eq!(lock.deleted(9, 7)[0], granted(1, 1, 6, 0));
}

#[test]
fn an_attempt_that_does_not_wait_leaves_its_entry_to_a_task_that_does() {
    let mut lock = Script::new();
    lock.try_acquire(1, 0);
    lock.acquire(1, 1);
    let outputs = lock.entered(1, 6, &[(9, 5)]);
    assert_eq!(outputs[0], Output::Failed(CallerId(0), Failure::Busy));
    assert_eq!(lock.deleted(9, 7)[0], granted(1, 1, 6, 0));
}

#[test]
fn an_attempt_that_does_not_wait_withdraws_its_entry_behind_another() {
    let mut lock = Script::new();
    assert_eq!(lock.try_acquire(1, 0), [enter(1)]);
    let busy = Output::Failed(CallerId(0), Failure::Busy);
    assert_eq!(lock.entered(1, 6, &[(9, 5)]), [busy, delete(1, 6)]);
}

#[test]
fn a_grant_that_arrives_when_its_last_caller_has_left_is_released() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    assert_eq!(lock.cancel(1, 0), []);
    assert_eq!(lock.entered(1, 6, &[]), [delete(1, 6)]);
    lock.acquire(1, 1);
    assert_eq!(lock.entry_deleted(1, 7), [enter(1)]);
    assert_eq!(lock.entered(1, 8, &[]), [granted(1, 1, 8, 0)]);
}

#[test]
fn the_others_enter_again_when_a_waiting_entry_is_deleted() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.acquire(1, 1);
    lock.entered(1, 6, &[(9, 5)]);
    let outputs = lock.deleted(1, 7);
    let told = Output::Failed(CallerId(0), Failure::Deleted);
    assert_eq!(outputs[..2], [told, enter(1)]);
}

#[test]
fn a_crowd_of_one_client_shares_one_snapshot() {
    let mut lock = Script::new();
    let mut sent = Vec::new();
    for session in 1..=50 {
        sent.extend(lock.acquire(session, 0));
        let reads = sent.last().cloned();
        let is_crowded = session > 5;
        assert_eq!(reads == Some(enter(session)), !is_crowded);
        sent.extend(lock.found(session, 100 + session, Some(crate::script::nonce(session))));
    }
    let is_read = |output: &&Output| matches!(output, Output::Send(Request::Snapshot { .. }));
    assert_eq!(sent.iter().filter(is_read).count(), 1);
}

#[test]
fn the_position_is_read_when_it_is_asked_for_and_told_when_it_changes() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 8, &[(9, 5), (7, 6)]);
    let told = |position| Output::Position(lease(1), position);
    assert_eq!(lock.input(Input::AskPosition(lease(1))), [told(2)]);
    assert!(lock.deleted(9, 9).contains(&told(1)));
}

#[test]
fn the_position_is_told_to_each_who_asks_also_where_it_has_not_changed() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 8, &[(9, 5), (7, 6)]);
    for _ in 0..2 {
        let told = Output::Position(lease(1), 2);
        assert_eq!(lock.input(Input::AskPosition(lease(1))), [told]);
    }
}

#[test]
fn only_a_name_and_a_lease_make_an_entry_and_its_value_is_not_looked_at() {
    let found = |suffix: &str, value: &'static str| {
        let mut kv = KeyValue::new(format!("a/{suffix}"), value);
        kv.create_revision = revision(3);
        kv
    };
    let kvs = vec![
        found("b/1", ""),
        found("notes", ""),
        found("-5", "next\0"),
        found("7", "etcd-lock/1 0000000000000001 x"),
    ];
    let header = ResponseHeader::new(1, 1, revision(9), 1);
    let range = RangeResponse::new(ResponseHeader::default(), kvs, false, 4);
    let answer = TxnResponse::new(header, true, vec![OpResponse::Range(range)]);
    let request = Request::Snapshot { up_to: revision(8) };
    let Some(Reply::Read(snapshot)) = request.reply(&name(), &answer) else {
        panic!("no snapshot");
    };
    let entry = |key: &str| EntryId::new(LockKey::new(key.to_owned()).unwrap(), revision(3));
    assert_eq!(snapshot.entries, [entry("a/-5"), entry("a/7")].into());
}

#[test]
fn a_waiter_whose_deletion_another_session_sees_on_entering_is_told() {
    let mut lock = Script::new();
    lock.acquire(1, 0);
    lock.entered(1, 6, &[(9, 5)]);
    lock.acquire(2, 1);
    let outputs = lock.entered(2, 8, &[(9, 5)]);
    let told = Output::Failed(CallerId(0), Failure::Deleted);
    assert_eq!(outputs[0], told);
}
