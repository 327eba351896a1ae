//! A hold that another process has detached goes on.

use etcd_lock_queue::{
    CallerId, DetachedEntry, Failure, Input, Limits, LockQueue, Output, Stamp, Timer,
};

use crate::script::{Script, delete, enter, key, lease, nonce, revision};

fn attach(lock: &mut Script, session: i64, caller: u32, created: i64) -> Vec<Output> {
    let entry = DetachedEntry {
        created: revision(created),
        handover: 3,
        nonce: nonce(session),
        at: revision(created + 4),
        sent: Stamp(lock.now),
    };
    lock.input(Input::Attach {
        session: lease(session),
        caller: CallerId(caller),
        limits: Limits::new(512),
        entry,
    })
}

fn attached(session: i64, caller: u32, created: i64) -> Output {
    Output::Attached {
        session: lease(session),
        caller: CallerId(caller),
        created: revision(created),
        handover: 3,
    }
}

fn keys(queue: &LockQueue, session: i64) -> usize {
    queue.heartbeat(lease(session)).count()
}

#[test]
fn attached_hold_goes_on_without_a_request_and_is_confirmed_and_released_like_any_other() {
    let mut lock = Script::new();
    assert_eq!(attach(&mut lock, 1, 0, 5), [attached(1, 0, 5)]);
    assert_eq!(lock.holder(1), Some(CallerId(0)));
    assert_eq!(keys(&lock.queue, 1), 1);
    assert_eq!(
        lock.fired(Timer::Aged(lease(1))),
        [Output::Watch(key(1))],
        "it is watched"
    );
    let released = lock.release(1, 0);
    assert!(released.contains(&delete(1, 5)), "{released:?}");
    lock.entry_deleted(1, 10);
    assert!(lock.queue.is_idle());
}

#[test]
fn attached_hold_whose_entry_is_deleted_is_lost() {
    let mut lock = Script::new();
    attach(&mut lock, 1, 0, 5);
    assert_eq!(lock.heartbeat(12, 1, None), [Output::Lost(CallerId(0))]);
}

/// Writes of the other process may still be on their way.
#[test]
fn attached_hold_is_not_handed_over() {
    let mut lock = Script::new();
    attach(&mut lock, 1, 0, 5);
    lock.acquire(1, 1);
    assert_eq!(lock.release(1, 0), [delete(1, 5)]);
    assert_eq!(
        lock.entry_deleted(1, 10),
        [Output::Released(CallerId(0)), enter(1)]
    );
}

#[test]
fn hold_is_not_attached_beside_anything_of_its_session() {
    let busy = [Output::Failed(CallerId(7), Failure::Busy)];
    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    assert_eq!(attach(&mut lock, 1, 7, 5), busy, "it is held here");

    let mut lock = Script::new();
    lock.acquire(1, 0);
    assert_eq!(attach(&mut lock, 1, 7, 5), busy, "a request is under way");

    let mut lock = Script::new();
    lock.hold(1, 0, 5);
    lock.release(1, 0);
    assert_eq!(attach(&mut lock, 1, 7, 5), busy, "it is being released");
}

/// Another session of the client waits, and has seen the entry deleted.
#[test]
fn hold_whose_entry_is_known_to_be_deleted_is_not_attached() {
    let mut lock = Script::new();
    lock.acquire(2, 0);
    lock.entered(2, 8, &[(1, 5), (3, 6)]);
    lock.deleted(1, 9);
    let deleted = [Output::Failed(CallerId(7), Failure::Deleted)];
    assert_eq!(attach(&mut lock, 1, 7, 5), deleted);
}

/// A session of the same client that waits behind the hold still does.
#[test]
fn waiter_behind_an_attached_hold_is_not_granted() {
    let mut lock = Script::new();
    lock.acquire(2, 0);
    lock.entered(2, 8, &[(1, 5)]);
    let outputs = attach(&mut lock, 1, 7, 5);
    assert!(outputs.contains(&attached(1, 7, 5)), "{outputs:?}");
    assert_eq!((lock.holder(1), lock.holder(2)), (Some(CallerId(7)), None));
}
