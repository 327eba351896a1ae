//! When a session can no longer be trusted, its holders know.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{INFINITE, client, keys, until_keys};
use etcd_lock_core::kv::{DeleteRequest, PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::lease::LeaseTimeToLiveRequest;
use etcd_lock_core::{Client, ErrorKind, Transport, UnlockRequest};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session, SessionOptions};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport, StreamFault, WatchFault};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_session_outlives_its_time_to_live() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    tokio::time::sleep(TTL * 10).await;
    assert!(guard.is_held());
    session.close().await.unwrap();
    assert!(keys(&etcd, "a").await.is_empty());
    assert!(etcd.lease_leases(INFINITE).await.unwrap().leases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_revokes() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    drop(session);
    assert!(guard.is_held());
    let dropped = Instant::now();
    drop(guard);
    while !etcd.lease_leases(INFINITE).await.unwrap().leases.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(dropped.elapsed() < TTL / 2, "it ended by itself");
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_a_closed_session_is_not_held() {
    let etcd = MemoryEtcd::new();
    let client = Client::new(etcd.clone());
    let opened = Session::open(&client, TTL).await.unwrap();
    let lease = common::grant(&etcd, 10).await;
    let adopted = SessionOptions::new().adopt(&client, lease).await.unwrap();
    for session in [opened, adopted] {
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        let mut close = Box::pin(session.clone().close());
        assert!(futures_util::poll!(&mut close).is_pending());
        assert!(!guard.is_held() && !session.is_alive());
        close.await.unwrap();
        // This waits once, where it used to try again until the lease's time was up.
        assert_eq!(guard.lost().await.kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_session() {
    let etcd = MemoryEtcd::new();
    let holder = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let _guard = Mutex::new(&holder, "a").unwrap().lock().await.unwrap();
    let faulty = FaultyTransport::new(&etcd);
    let session = Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let mut wait = Box::pin(mutex.lock());
    assert!(futures_util::poll!(&mut wait).is_pending());
    until_keys(&etcd, "a", 2).await;
    faulty.on_calls(|_| Some(CallFault::RequestLost));
    faulty.on_streams(StreamFault::Broken);
    let ended = tokio::time::timeout(TTL, wait).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Lost);
}

/// Those who wait for a turn among the tasks of the session as well as the one that waits on etcd.
#[tokio::test(start_paused = true)]
async fn all_waits_of_a_closed_session_end() {
    let etcd = MemoryEtcd::new();
    let holder = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let _guard = Mutex::new(&holder, "a").unwrap().lock().await.unwrap();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let waits = (0..3).map(|_| {
        let mutex = Mutex::new(&session, "a").unwrap();
        tokio::spawn(async move { mutex.lock().await.unwrap_err().kind() })
    });
    let waits: Vec<_> = waits.collect();
    until_keys(&etcd, "a", 2).await;
    session.close().await.unwrap();
    for wait in waits {
        assert_eq!(wait.await.unwrap(), ErrorKind::Closed);
    }
    until_keys(&etcd, "a", 1).await;
}

/// Nobody keeps the session alive then, and nobody would tell who waits on another runtime.
#[test]
fn waits_end_with_the_runtime_of_their_session() {
    let of_the_session = tokio::runtime::Runtime::new().unwrap();
    let etcd = MemoryEtcd::new();
    let (mutex, guard) = of_the_session.block_on(async {
        let session = Session::open(&Client::new(etcd.clone()), TTL)
            .await
            .unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        let guard = mutex.lock().await.unwrap();
        (mutex, guard)
    });
    let of_the_waiter = tokio::runtime::Runtime::new().unwrap();
    let wait = of_the_waiter.spawn(async move { mutex.lock().await.unwrap_err().kind() });
    of_the_session.shutdown_timeout(Duration::from_secs(1));
    let ended = of_the_waiter.block_on(wait).unwrap();
    assert_eq!(ended, ErrorKind::Closed);
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn clock_of_lease_counts_from_send() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let session = Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    let begun = Instant::now();
    faulty.on_calls(|call| {
        if call == CallKind::Range {
            None
        } else {
            Some(CallFault::RequestLost)
        }
    });
    faulty.on_streams(StreamFault::Broken);
    let error = session.lost().await;
    let expired_at = begun + TTL;
    assert!(
        Instant::now() < expired_at,
        "lost here only after the server's clock ran out"
    );
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(!guard.is_held());
    assert_eq!(
        keys(&etcd, "a").await.len(),
        1,
        "the server still thinks that it is held"
    );
}

#[tokio::test(start_paused = true)]
async fn a_revoked_lease_is_noticed() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    let begun = Instant::now();
    let stopped = guard.run(async {
        etcd.lease_revoke(session.lease(), INFINITE).await.unwrap();
        std::future::pending::<()>().await
    });
    stopped.await.unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_millis(200),
        "found when the hold is watched, not by the next keep-alive"
    );
    assert!(!guard.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_is_noticed_and_fences() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    guard
        .fenced_txn()
        .and_then(PutRequest::new("result", "1"))
        .commit()
        .await
        .unwrap();
    let delete = DeleteRequest::key(guard.key().as_bytes().clone());
    etcd.txn(TxnRequest::new().and_then(delete), INFINITE)
        .await
        .unwrap();
    assert_eq!(guard.lost().await.kind(), ErrorKind::Lost);
    let late = guard
        .fenced_txn()
        .and_then(PutRequest::new("result", "2"))
        .commit()
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Lost);
    let result = etcd
        .range(RangeRequest::key("result"), INFINITE)
        .await
        .unwrap();
    assert_eq!(result.kvs[0].value, "1");
}

/// Its deletion falls between two watches, so that only a read tells of it.
#[tokio::test(start_paused = true)]
async fn a_hold_whose_entry_was_found_gone_is_not_handed_over() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let session = Session::open(&Queue::new(faulty.clone()).into_client(), TTL).await;
    let mutex = Mutex::new(&session.unwrap(), "a").unwrap();
    let guard = mutex.lock().await.unwrap();
    let first = guard.token();
    let next = tokio::spawn(async move { mutex.lock().await });
    tokio::task::yield_now().await;
    faulty.on_streams(StreamFault::Broken);
    etcd.unlock(UnlockRequest::new(guard.key().clone()), INFINITE)
        .await
        .unwrap();
    assert_eq!(guard.lost().await.kind(), ErrorKind::Lost);
    assert!(!guard.is_held());
    guard.unlock().await.unwrap();
    let next = next.await.unwrap().unwrap();
    assert!(next.is_held());
    assert!(next.token().create_revision() > first.create_revision());
    next.unlock().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_holder_is_refused_its_fenced_write() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let paused = Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&paused, "a").unwrap().lock().await.unwrap();
    let other = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    faulty.on_calls(|_| Some(CallFault::RequestLost));
    faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
    faulty.on_streams(StreamFault::Broken);
    let next = Mutex::new(&other, "a").unwrap().lock().await.unwrap();
    assert!(!guard.is_held());
    next.fenced_txn()
        .and_then(PutRequest::new("result", "next"))
        .commit()
        .await
        .unwrap();
    // The naive way, the control: a write that only looks at the key's existence long ago goes through.
    let naive = TxnRequest::new().and_then(PutRequest::new("naive", "stale"));
    faulty.calm();
    assert!(faulty.txn(naive, INFINITE).await.unwrap().succeeded);
    let stale = guard
        .fenced_txn()
        .and_then(PutRequest::new("result", "stale"))
        .commit()
        .await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Lost);
    assert!(next.token() > guard.token());
    assert!(paused.lost().await.is_session_lost());
}

#[tokio::test(start_paused = true)]
async fn an_adopted_lease_is_kept_and_left() {
    let etcd = MemoryEtcd::new();
    let lease = common::grant(&etcd, 10).await;
    let session = SessionOptions::new()
        .adopt(&Client::new(etcd.clone()), lease)
        .await
        .unwrap();
    tokio::time::sleep(TTL * 5).await;
    assert!(session.is_alive());
    session.close().await.unwrap();
    let asked = LeaseTimeToLiveRequest::new(lease);
    assert!(
        etcd.lease_time_to_live(asked.clone(), INFINITE)
            .await
            .unwrap()
            .remaining
            .is_some()
    );
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    assert!(
        etcd.lease_time_to_live(asked, INFINITE)
            .await
            .unwrap()
            .remaining
            .is_none()
    );
    let error = SessionOptions::new()
        .adopt(&Client::new(etcd.clone()), lease)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_closed_or_lost_session_gives_no_locks() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    etcd.lease_revoke(session.lease(), INFINITE).await.unwrap();
    assert!(session.lost().await.is_session_lost());
    assert!(mutex.lock().await.unwrap_err().is_session_lost());
    session.close().await.unwrap();
    assert_eq!(mutex.lock().await.unwrap_err().kind(), ErrorKind::Closed);
    until_keys(&etcd, "a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn every_holder_is_told_once_and_why() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let mut told = tokio::task::JoinSet::new();
    for name in ["a", "b", "c"] {
        let guard = Mutex::new(&session, name).unwrap().lock().await.unwrap();
        told.spawn(async move { (guard.lost().await.kind(), guard.is_held()) });
    }
    etcd.expire_lease(session.lease());
    for (why, held) in told.join_all().await {
        assert!(
            [ErrorKind::LeaseNotFound, ErrorKind::Lost].contains(&why),
            "{why:?}"
        );
        assert!(!held);
    }
    assert_eq!(session.lost().await.kind(), ErrorKind::LeaseNotFound);
}

#[tokio::test(start_paused = true)]
async fn impossible_times_to_live_are_refused() {
    let client = Client::new(MemoryEtcd::new());
    for ttl in [Duration::ZERO, Duration::MAX] {
        let error = Session::open(&client, ttl).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    }
    let options = SessionOptions::new().with_grace(TTL / 2).with_ttl(TTL);
    let error = options.open(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    let granted = Session::open(&client, Duration::from_millis(2_001))
        .await
        .unwrap();
    assert_eq!(granted.ttl().as_duration(), Duration::from_secs(3));
}

#[test]
fn a_guard_may_outlive_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (kept, waiting) = runtime.block_on(async {
        let session = Session::open(&Client::new(MemoryEtcd::new()), TTL)
            .await
            .unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        let kept = mutex.lock().await.unwrap();
        let waiting = tokio::spawn(async move { mutex.lock().await.map(drop) });
        tokio::task::yield_now().await;
        (kept, waiting)
    });
    // The waiting task is dropped while the runtime shuts down, the guard after that.
    drop(runtime);
    drop(kept);
    drop(waiting);
}
