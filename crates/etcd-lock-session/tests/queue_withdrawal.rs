//! A wait that ends without the lock leaves no queue entry, however it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{INFINITE, grant, keys, lock, request, seconds, unlock, until_keys};
use etcd_lock_core::kv::{DeleteRequest, TxnRequest};
use etcd_lock_core::{CallOptions, ErrorKind, LockName, LockRequest, Timeout, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};

#[tokio::test(start_paused = true)]
async fn a_timeout_leaves_no_entry() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let held = lock(&queue, "a").await;
    let error = queue
        .lock(request(&etcd, "a").await, seconds(2))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LockTimeout);
    until_keys(&etcd, "a", 1).await;
    unlock(&queue, held.key).await;
}

#[tokio::test(start_paused = true)]
async fn drop_at_every_poll_leaves_no_waiter() {
    for contended in [false, true] {
        for polls in 0..40 {
            let etcd = MemoryEtcd::new();
            let faulty = FaultyTransport::new(&etcd);
            faulty.on_calls(|_| Some(CallFault::Delayed(Duration::from_millis(1))));
            let queue = Queue::new(faulty);
            let held = match contended {
                true => Some(lock(&etcd, "a").await),
                false => None,
            };
            let mut lock = Box::pin(queue.lock(request(&etcd, "a").await, INFINITE));
            let mut granted = false;
            for poll in 0..polls {
                if let Some(held) = held.as_ref().filter(|_| poll == 20) {
                    unlock(&etcd, held.key.clone()).await;
                }
                if futures_util::poll!(&mut lock).is_ready() {
                    granted = true;
                    break;
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
            drop(lock);
            if let Some(held) = held.filter(|_| polls <= 20) {
                unlock(&etcd, held.key).await;
            }
            until_keys(&etcd, "a", usize::from(granted)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_crosses_the_grant_leaves_a_lock_or_nothing() {
    let (mut granted, mut timed_out) = (0, 0);
    for micros in (0..4_000).step_by(100) {
        let etcd = MemoryEtcd::new();
        let faulty = FaultyTransport::new(&etcd);
        faulty.on_calls(|_| Some(CallFault::Delayed(Duration::from_millis(1))));
        let queue = Queue::new(faulty);
        let held = lock(&etcd, "a").await;
        let next = request(&etcd, "a").await;
        let release = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            unlock(&etcd, held.key).await;
        };
        let timeout = Timeout::After(Duration::from_micros(8_000 + micros));
        let (result, ()) = tokio::join!(queue.lock(next, CallOptions::new(timeout)), release);
        match result {
            Ok(held) => {
                granted += 1;
                until_keys(&etcd, "a", 1).await;
                unlock(&queue, held.key).await;
            }
            Err(_) => timed_out += 1,
        }
        until_keys(&etcd, "a", 0).await;
    }
    assert!(
        granted > 0 && timed_out > 0,
        "{granted} granted, {timed_out} timed out"
    );
}

#[tokio::test(start_paused = true)]
async fn late_enter_is_withdrawn() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    faulty.on_calls(|call| match call {
        CallKind::TxnPut => Some(CallFault::ExecutedLate(Duration::from_secs(3))),
        _ => None,
    });
    let queue = Queue::new(faulty);
    let asked = request(&etcd, "a").await;
    let error = queue.lock(asked, seconds(1)).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error:?}");
    assert!(keys(&etcd, "a").await.is_empty());
    tokio::time::sleep(Duration::from_millis(2_001)).await;
    assert_eq!(keys(&etcd, "a").await.len(), 1, "the entry came late");
    until_keys(&etcd, "a", 0).await;
}

/// The first copy of the request is executed when the second has been answered, and what it was granted released.
#[tokio::test(start_paused = true)]
async fn a_copy_that_comes_after_the_release_leaves_no_entry() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let entered = AtomicUsize::new(0);
    faulty.on_calls(move |call| match call {
        CallKind::TxnPut if entered.fetch_add(1, SeqCst) == 0 => {
            Some(CallFault::ExecutedLate(Duration::from_secs(3)))
        }
        _ => None,
    });
    let queue = Queue::new(faulty);
    let asked = request(&etcd, "a").await;
    let held = queue.lock(asked, INFINITE).await.unwrap();
    unlock(&queue, held.key).await;
    assert!(keys(&etcd, "a").await.is_empty());
    tokio::time::sleep(Duration::from_millis(3_001)).await;
    assert_eq!(keys(&etcd, "a").await.len(), 1, "the copy came late");
    until_keys(&etcd, "a", 0).await;
}

/// Only the first copy of the request may have been executed, and that all others were refused says nothing of it.
#[tokio::test(start_paused = true)]
async fn the_refusal_of_the_last_copy_leaves_the_doubt_about_the_first() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let entered = AtomicUsize::new(0);
    faulty.on_calls(move |call| match call {
        CallKind::TxnPut if entered.fetch_add(1, SeqCst) == 0 => {
            Some(CallFault::ExecutedLate(Duration::from_secs(3)))
        }
        CallKind::TxnPut => Some(CallFault::Refused),
        _ => None,
    });
    let queue = Queue::new(faulty);
    let asked = request(&etcd, "a").await;
    let error = queue.lock(asked, seconds(1)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(keys(&etcd, "a").await.is_empty());
    tokio::time::sleep(Duration::from_millis(2_001)).await;
    assert_eq!(keys(&etcd, "a").await.len(), 1, "the copy came late");
    until_keys(&etcd, "a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_released_meanwhile_is_not_taken_for_a_late_entry() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let queue = Queue::new(faulty.clone());
    let asked = request(&etcd, "a").await;
    faulty.on_calls(|call| match call {
        CallKind::TxnPut => Some(CallFault::ExecutedLate(Duration::from_secs(1))),
        _ => None,
    });
    let given_up = queue.lock(
        asked.clone(),
        CallOptions::new(Timeout::After(Duration::from_millis(1))),
    );
    given_up.await.unwrap_err();
    faulty.calm();
    let held = queue.lock(asked, INFINITE).await.unwrap();
    // A read for the late entry finds this hold, and is answered after its release.
    faulty.on_calls(|call| match call {
        CallKind::TxnRead => Some(CallFault::Slow(Duration::from_millis(300))),
        _ => None,
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    unlock(&queue, held.key).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(keys(&etcd, "a").await.len(), 1, "the entry came late");
    // Long before the end of the lease, which would remove it, too.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(keys(&etcd, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_no_entry() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    faulty.on_calls(|call| match call {
        CallKind::TxnPut => Some(CallFault::ReplyLost),
        _ => None,
    });
    let queue = Queue::new(faulty.clone());
    let request = request(&etcd, "a").await;
    queue.lock(request.clone(), seconds(1)).await.unwrap_err();
    until_keys(&etcd, "a", 0).await;
    faulty.calm();
    queue.lock(request, INFINITE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_lease_ends_the_wait() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let held = lock(&queue, "a").await;
    let lease = grant(&etcd, 60).await;
    let short = LockRequest::new(LockName::new("a").unwrap(), lease);
    let revoke = async {
        until_keys(&etcd, "a", 2).await;
        etcd.lease_revoke(lease, INFINITE).await.unwrap();
    };
    let (result, ()) = tokio::join!(queue.lock(short, INFINITE), revoke);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LeaseNotFound);
    unlock(&queue, held.key).await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_somebody_deletes_ends_the_wait() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    lock(&queue, "a").await;
    let waiting = request(&etcd, "a").await;
    let delete = async {
        until_keys(&etcd, "a", 2).await;
        let key = waiting.key().as_bytes().clone();
        etcd.txn(
            TxnRequest::new().and_then(DeleteRequest::key(key)),
            INFINITE,
        )
        .await
        .unwrap();
    };
    let (result, ()) = tokio::join!(queue.lock(waiting.clone(), INFINITE), delete);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Lost);
}

/// The waiter's task does not run between the two.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_lost_before_its_waiter_runs_fails_as_its_lease_did() {
    for (is_revoked, kind) in [(true, ErrorKind::LeaseNotFound), (false, ErrorKind::Lost)] {
        let etcd = MemoryEtcd::new();
        let queue = Queue::new(etcd.clone());
        let held = lock(&etcd, "a").await;
        let waiting = request(&etcd, "a").await;
        let mut wait = queue.lock(waiting.clone(), INFINITE);
        let second = Duration::from_secs(1);
        tokio::time::timeout(second, &mut wait).await.unwrap_err();

        unlock(&etcd, held.key).await;
        tokio::time::sleep(second).await;
        match is_revoked {
            true => {
                etcd.lease_revoke(waiting.lease, INFINITE).await.unwrap();
            }
            false => unlock(&etcd, waiting.key()).await,
        }
        tokio::time::sleep(second).await;

        assert_eq!(wait.await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_lease_is_refused() {
    let queue = Queue::new(MemoryEtcd::new());
    let request = LockRequest::new(
        LockName::new("a").unwrap(),
        etcd_lock_core::LeaseId::new(77).unwrap(),
    );
    let error = queue.lock(request, INFINITE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
}

/// The lease lives for longer than the outage, so nobody else removes the entry.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_outlasts_an_outage_of_forty_seconds() {
    for fault in [CallFault::RequestLost, CallFault::Refused] {
        let etcd = MemoryEtcd::new();
        let faulty = FaultyTransport::new(&etcd);
        let client = Queue::new(faulty.clone()).into_client();
        let ttl = Duration::from_secs(120);
        let session = Session::open(&client, ttl).await.unwrap();
        let held = etcd.lock(request(&etcd, "a").await, INFINITE);
        let held = held.await.unwrap();
        faulty.on_calls(move |call| (call == CallKind::TxnDelete).then_some(fault));
        let mutex = Mutex::new(&session, "a").unwrap();
        let bound = Duration::from_secs(1);
        let error = mutex.lock_timeout(bound).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(keys(&etcd, "a").await.len(), 2, "it is there still");
        faulty.calm();
        let begun = tokio::time::Instant::now();
        until_keys(&etcd, "a", 1).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "with {fault:?}");
        assert!(session.is_alive());
        unlock(&etcd, held.key).await;
    }
}
