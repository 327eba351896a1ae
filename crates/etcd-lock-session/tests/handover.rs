//! Sessions of one client hand a lock over among themselves, before etcd has heard of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{INFINITE, client, keys, request, unlock, until_keys};
use etcd_lock_core::kv::{PutRequest, RangeRequest};
use etcd_lock_core::{Client, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{LockGuard, Mutex, Queue, Session, SessionOptions};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const TTL: Duration = Duration::from_secs(60);

/// How long each deletion is under way.
const SLOW: Duration = Duration::from_secs(5);

fn slow_releases(etcd: &MemoryEtcd) -> FaultyTransport {
    let faulty = FaultyTransport::new(etcd);
    faulty.on_calls(|call| match call {
        CallKind::TxnDelete => Some(CallFault::Delayed(SLOW)),
        _ => None,
    });
    faulty
}

async fn mutex(client: &Client) -> Mutex {
    Mutex::new(&Session::open(client, TTL).await.unwrap(), "a").unwrap()
}

/// Waits for the lock, as the last of so many.
async fn waiting(etcd: &MemoryEtcd, mutex: &Mutex, entries: usize) -> JoinHandle<LockGuard> {
    let mutex = mutex.clone();
    let wait = tokio::spawn(async move { mutex.lock().await.unwrap() });
    until_keys(etcd, "a", entries).await;
    sleep(Duration::from_secs(1)).await;
    wait
}

/// How long the next has to wait from when the first calls `unlock`.
async fn hand_over(etcd: &MemoryEtcd, first: &Mutex, next: &Mutex) -> Duration {
    let held = first.lock().await.unwrap();
    let next = waiting(etcd, next, 2).await;
    let begun = Instant::now();
    let released = tokio::spawn(held.unlock());
    let next = next.await.unwrap();
    let waited = begun.elapsed();
    assert!(next.is_held());
    released.await.unwrap().unwrap();
    next.unlock().await.unwrap();
    assert!(keys(etcd, "a").await.is_empty());
    waited
}

#[tokio::test(start_paused = true)]
async fn the_next_session_does_not_wait_for_the_deletion() {
    let etcd = MemoryEtcd::new();
    let one = client(Queue::new(slow_releases(&etcd)));
    let (first, next) = (mutex(&one).await, mutex(&one).await);
    assert_eq!(hand_over(&etcd, &first, &next).await, Duration::ZERO);

    let other = client(Queue::new(slow_releases(&etcd)));
    let waited = hand_over(&etcd, &first, &mutex(&other).await).await;
    assert!(waited >= SLOW, "another client can't know: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_client_hand_over_without_waiting_for_etcd_and_tokens_grow() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(slow_releases(&etcd)));
    let held = mutex(&client).await.lock().await.unwrap();
    let mut waits = Vec::new();
    for entries in 2..12 {
        waits.push(waiting(&etcd, &mutex(&client).await, entries).await);
    }
    let begun = Instant::now();
    let mut token = held.token();
    drop(held);
    for wait in waits {
        let guard = wait.await.unwrap();
        assert!(guard.token() > token);
        token = guard.token();
        drop(guard);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    until_keys(&etcd, "a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_another_client_in_between_is_not_passed_over() {
    let etcd = MemoryEtcd::new();
    let one = client(Queue::new(slow_releases(&etcd)));
    let other = client(Queue::new(FaultyTransport::new(&etcd)));
    let held = mutex(&one).await.lock().await.unwrap();
    let between = waiting(&etcd, &mutex(&other).await, 2).await;
    let next = waiting(&etcd, &mutex(&one).await, 3).await;
    held.unlock().await.unwrap();
    let between = between.await.unwrap();
    sleep(SLOW).await;
    assert!(!next.is_finished());
    between.unlock().await.unwrap();
    assert!(next.await.unwrap().is_held());
}

/// Nobody in this process knows how the lease of a bare wait does: it is granted the lock by etcd's word alone.
#[tokio::test(start_paused = true)]
async fn a_bare_wait_waits_for_the_deletion() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(slow_releases(&etcd));
    let held = mutex(&client(queue.clone())).await.lock().await.unwrap();
    let asked = request(&etcd, "a").await;
    let waiting = queue.clone();
    let next = tokio::spawn(async move { waiting.lock(asked, INFINITE).await });
    until_keys(&etcd, "a", 2).await;
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    held.unlock().await.unwrap();
    let next = next.await.unwrap().unwrap();
    assert!(begun.elapsed() >= SLOW);
    unlock(&etcd, next.key).await;
}

/// A write that may still be executed must find the key gone, or else nobody else who writes.
#[tokio::test(start_paused = true)]
async fn a_fenced_write_without_an_answer_can_not_come_after_the_next_grant() {
    for late in [Duration::from_secs(3), SLOW * 2] {
        for same_session in [true, false] {
            let etcd = MemoryEtcd::new();
            let faulty = slow_releases(&etcd);
            let client = client(Queue::new(faulty.clone()));
            let options = SessionOptions::new().with_ttl(TTL);
            let session = options.open(&client).await.unwrap();
            let first = Mutex::new(&session, "a").unwrap();
            let (next, entries) = match same_session {
                true => (first.clone(), 1),
                false => (mutex(&client).await, 2),
            };
            let held = first.lock().await.unwrap();
            let next = waiting(&etcd, &next, entries).await;

            faulty.on_calls(move |call| match call {
                CallKind::TxnPut => Some(CallFault::ExecutedLate(late)),
                CallKind::TxnDelete => Some(CallFault::Delayed(SLOW)),
                _ => None,
            });
            let write = held
                .fenced_txn()
                .and_then(PutRequest::new("resource", "first"));
            assert!(write.commit().await.unwrap_err().is_outcome_unknown());
            faulty.on_calls(|call| match call {
                CallKind::TxnDelete => Some(CallFault::Delayed(SLOW)),
                _ => None,
            });
            drop(held);

            let next = next.await.unwrap();
            let write = next
                .fenced_txn()
                .and_then(PutRequest::new("resource", "next"));
            write.commit().await.unwrap();
            sleep(late * 2).await;
            let read = RangeRequest::key("resource");
            let read = etcd.range(read, INFINITE).await.unwrap();
            assert_eq!(read.kvs[0].value, "next", "{late:?} {same_session}");
        }
    }
}

/// The same with an answer: that hold is passed on at once.
#[tokio::test(start_paused = true)]
async fn a_fenced_write_with_an_answer_does_not_keep_the_next_waiting() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(slow_releases(&etcd)));
    let held = mutex(&client).await.lock().await.unwrap();
    let next = waiting(&etcd, &mutex(&client).await, 2).await;
    let write = held
        .fenced_txn()
        .and_then(PutRequest::new("resource", "first"));
    write.commit().await.unwrap();
    let begun = Instant::now();
    drop(held);
    let next = next.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let write = next
        .fenced_txn()
        .and_then(PutRequest::new("resource", "next"));
    assert!(write.commit().await.unwrap().succeeded);
}
