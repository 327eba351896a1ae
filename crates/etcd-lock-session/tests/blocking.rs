//! The blocking calls, from threads.

#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::{Client, ErrorKind, new};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::Queue;
use etcd_lock_session::blocking::{self, Mutex, Session};

const TTL: Duration = Duration::from_secs(10);

fn client() -> Client {
    Queue::new(MemoryEtcd::new()).into_client()
}

#[test]
fn threads_of_one_session_and_of_two_exclude_each_other() {
    let client = client();
    let sessions = [(); 2].map(|()| Session::open(&client, TTL).unwrap());
    let inside = AtomicUsize::new(0);
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for session in sessions.iter().cycle().take(6) {
            let mutex = Mutex::new(session, "a").unwrap();
            let (inside, count) = (&inside, &count);
            scope.spawn(move || {
                for _ in 0..20 {
                    let guard = mutex.lock().unwrap();
                    assert_eq!(inside.fetch_add(1, SeqCst), 0, "two threads hold the lock");
                    thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                    count.fetch_add(1, SeqCst);
                    guard.unlock().unwrap();
                }
            });
        }
    });
    assert_eq!(count.into_inner(), 120);
    assert_eq!(blocking::queue(&client, "a").unwrap().entries, []);
    for session in sessions {
        session.close().unwrap();
    }
    assert_eq!(blocking::lease::leases(&client).unwrap().leases, []);
}

#[test]
fn a_lock_that_is_taken_is_waited_for_as_long_as_told() {
    let client = client();
    let (first, second) = (
        Session::open(&client, TTL).unwrap(),
        Session::open(&client, TTL).unwrap(),
    );
    let guard = Mutex::new(&first, "a").unwrap().lock().unwrap();
    let waiting = Mutex::new(&second, "a").unwrap();
    assert_eq!(waiting.try_lock().unwrap_err().kind(), ErrorKind::Busy);
    let error = waiting.lock_timeout(Duration::from_millis(20)).unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    drop(guard);
    let guard = waiting.lock().unwrap();
    let written = guard
        .fenced_txn()
        .and_then(PutRequest::new("k", "v"))
        .commit();
    assert!(written.unwrap().succeeded);
    first.close().unwrap();
    second.close().unwrap();
    assert!(guard.lost().is_session_lost() || !guard.is_held());
}

#[test]
fn eetcds_functions_work_without_async() {
    let client = client();
    let lease = blocking::lease::grant(&client, TTL).unwrap().id;
    let ctx = new(&client).with_name("a").with_lease(lease);
    let held = blocking::lock(ctx).unwrap();
    assert_eq!(
        blocking::queue(&client, "a").unwrap().entries[0].lease,
        lease
    );
    blocking::unlock(&client, held.key.as_bytes().clone()).unwrap();
    assert_eq!(blocking::queue(&client, "a").unwrap().entries, []);
    blocking::lease::revoke(&client, lease).unwrap();
}

#[test]
fn lease_that_is_kept_alive_outlives_its_time_until_the_session_is_dropped() {
    let client = client();
    let lease = blocking::lease::grant(&client, Duration::from_secs(2)).unwrap();
    let renewed = blocking::lease::keep_alive_once(&client, lease.id).unwrap();
    assert_eq!(renewed.ttl, Some(lease.ttl));
    let kept = blocking::lease::keep_alive(&client, lease.id).unwrap();
    assert_eq!(kept.lease(), lease.id);
    thread::sleep(Duration::from_millis(2_500));
    assert!(kept.is_alive());
    drop(kept);
    thread::sleep(Duration::from_millis(2_500));
    let gone = blocking::lease::keep_alive_once(&client, lease.id).unwrap();
    assert_eq!(gone.ttl, None);
}

#[test]
fn waiter_tells_its_position_and_becomes_a_guard() {
    let client = client();
    let sessions = [(); 2].map(|()| Session::open(&client, TTL).unwrap());
    let [first, second] = sessions.map(|session| Mutex::new(&session, "a").unwrap());
    let held = first.lock().unwrap();
    let mut waiter = second.enqueue().unwrap();
    assert_eq!(waiter.changed().unwrap(), 1);
    held.unlock().unwrap();
    assert_eq!(waiter.changed().unwrap(), 0);
    assert!(waiter.granted().unwrap().remaining() > TTL / 2);
}

#[test]
fn work_returns_its_result_only_where_the_lock_was_held_to_its_end() {
    let client = client();
    let session = Session::open(&client, TTL).unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().unwrap();
    assert_eq!(guard.run(|| 1).unwrap(), 1);
    let lost = guard.run(|| session.close().unwrap());
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Closed);
    let never = guard.run(|| -> () { panic!("the lock is lost already") });
    assert_eq!(never.unwrap_err().kind(), ErrorKind::Closed);
}

/// Tokio enters the runtime on the threads of `spawn_blocking`, too.
#[tokio::test]
async fn threads_of_spawn_blocking_wait_like_any_other() {
    let client = client();
    let ended = tokio::task::spawn_blocking(move || {
        let session = Session::open(&client, TTL).unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().unwrap();
        let ended = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            session.close()
        });
        let why = guard.lost();
        ended.join().unwrap().unwrap();
        why.kind()
    });
    assert_eq!(ended.await.unwrap(), ErrorKind::Closed);
}

/// It stops its thread, as the documentation says, but is answered.
#[tokio::test]
async fn a_call_from_async_code_works() {
    let session = Session::open(&client(), TTL).unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    // More often than the budget of a task allows.
    for _ in 0..1_000 {
        mutex.lock().unwrap().unlock().unwrap();
    }
    let guard = mutex.lock().unwrap();
    session.close().unwrap();
    assert_eq!(guard.lost().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_loss_is_told_when_it_happens_and_not_before() {
    let client = client();
    let session = Session::open(&client, TTL).unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().unwrap();
    let lease = session.lease();
    let waiting = tokio::task::spawn_blocking(move || guard.lost());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    tokio::task::spawn_blocking(move || blocking::lease::revoke(&client, lease))
        .await
        .unwrap()
        .unwrap();
    assert!(!waiting.await.unwrap().is_timeout());
    assert!(session.lost().is_session_lost());
}
