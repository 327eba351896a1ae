//! A watch that starts late, breaks, or says nothing costs time, never a lock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{INFINITE, keys, lock, request, unlock, until_keys};
use etcd_lock_core::kv::{PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::{ErrorKind, LockKey, Revision, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_memory::model::WatchRefusal;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport, StreamFault, WatchFault};

/// A holder on the etcd itself, and a waiter over the faulty transport.
async fn wait_behind(faulty: &FaultyTransport, meanwhile: impl AsyncFnOnce(LockKey)) {
    let etcd = faulty.etcd().clone();
    let queue = Queue::new(faulty.clone());
    let held = lock(&etcd, "a").await;
    let next = request(&etcd, "a").await;
    let key = next.key();
    let meanwhile = async {
        until_keys(&etcd, "a", 2).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        meanwhile(held.key).await;
    };
    let (granted, ()) = tokio::join!(queue.lock(next, INFINITE), meanwhile);
    assert_eq!(granted.unwrap().key, key);
    assert_eq!(keys(&etcd, "a").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_between_entering_and_watching_is_seen() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let queue = Queue::new(faulty.clone());
    let held = lock(&etcd, "a").await;
    let release = {
        let etcd = etcd.clone();
        let key = std::sync::Mutex::new(Some(held.key));
        move || key.lock().unwrap().take().map(|key| (etcd.clone(), key))
    };
    // The reply of the entering transaction is on its way for a while, and meanwhile the holder releases.
    faulty.on_calls(move |call| {
        if call == CallKind::TxnPut
            && let Some((etcd, key)) = release()
        {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                unlock(&etcd, key).await;
            });
            return Some(CallFault::Slow(Duration::from_millis(10)));
        }
        None
    });
    let waiting = queue.lock(request(&etcd, "a").await, INFINITE);
    tokio::time::timeout(Duration::from_secs(1), waiting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ended_is_opened_again() {
    for how in [StreamFault::Broken, StreamFault::Ended] {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let etcd = faulty.etcd().clone();
        let began = tokio::time::Instant::now();
        wait_behind(&faulty, async |key| {
            faulty.on_streams(how);
            tokio::time::sleep(Duration::from_secs(1)).await;
            unlock(&etcd, key).await;
        })
        .await;
        assert!(faulty.watch_streams() > 1, "after {how:?}");
        // A heartbeat would show it only later.
        assert!(began.elapsed() < Duration::from_secs(2), "after {how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_while_the_stream_is_broken_is_seen() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    wait_behind(&faulty, async |key| {
        faulty.on_streams(StreamFault::Broken);
        unlock(&etcd, key).await;
    })
    .await;
}

/// etcd visits watches that are behind every 100 ms.
#[tokio::test(start_paused = true)]
async fn a_release_that_a_lagging_watch_tells_of_is_a_grant() {
    for fault in [WatchFault::Delayed, WatchFault::DelayedFromStart] {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let etcd = faulty.etcd().clone();
        if fault.is_lasting() {
            faulty.on_watches(fault.clone());
        }
        let released = std::cell::Cell::new(None);
        wait_behind(&faulty, async |key| {
            faulty.on_watches(fault);
            unlock(&etcd, key).await;
            released.set(Some(tokio::time::Instant::now()));
        })
        .await;
        assert!(released.get().unwrap().elapsed() <= Duration::from_millis(200));
    }
}

/// Nobody can come before an entry any more: what was true of those before it can only make it wait longer.
#[tokio::test(start_paused = true)]
async fn a_read_from_a_member_that_is_behind_is_repeated() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    let stale_reads = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = stale_reads.clone();
    wait_behind(&faulty, async |key| {
        faulty.fall_behind();
        faulty.on_calls(move |call| {
            let is_first = call == CallKind::TxnRead
                && counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            is_first.then_some(CallFault::StaleRead)
        });
        faulty.on_streams(StreamFault::Broken);
        unlock(&etcd, key).await;
    })
    .await;
    assert!(stale_reads.load(std::sync::atomic::Ordering::SeqCst) > 1);
}

/// The items that a stalled stream keeps back arrive in order.
#[tokio::test(start_paused = true)]
async fn a_release_behind_a_stalled_stream_is_a_grant_when_it_arrives() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    let began = tokio::time::Instant::now();
    wait_behind(&faulty, async |key| {
        faulty.on_streams(StreamFault::Stalled(Duration::from_secs(5)));
        unlock(&etcd, key).await;
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn silent_watch_is_noticed() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
    wait_behind(&faulty, async |key| unlock(&etcd, key).await).await;
}

#[tokio::test(start_paused = true)]
async fn reads_that_fail_during_the_wait_are_repeated() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    faulty.on_calls(|call| {
        if call == CallKind::TxnRead {
            Some(CallFault::RequestLost)
        } else {
            None
        }
    });
    wait_behind(&faulty, async |key| {
        unlock(&etcd, key).await;
        faulty.on_streams(StreamFault::Broken);
        tokio::time::sleep(Duration::from_secs(30)).await;
        faulty.calm();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_another() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    let first = request(&etcd, "a").await;
    let queue = Queue::new(faulty.clone());
    let held = etcd.lock(first.clone(), INFINITE).await.unwrap();
    let second = request(&etcd, "a").await;
    let relock = async {
        until_keys(&etcd, "a", 2).await;
        faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
        unlock(&etcd, held.key).await;
        // The same key stands behind the waiter now: it must not be taken for the one before it.
        let again = tokio::spawn({
            let etcd = etcd.clone();
            async move { etcd.lock(first, INFINITE).await }
        });
        until_keys(&etcd, "a", 2).await;
        faulty.calm();
        faulty.on_streams(StreamFault::Broken);
        (again,)
    };
    let (granted, (again,)) = tokio::join!(queue.lock(second, INFINITE), relock);
    unlock(&queue, granted.unwrap().key).await;
    again.await.unwrap().unwrap();
}

/// etcd may report the holder's release although the report of our own entry's deletion, which came first, is lost. The hold
/// that is granted so ends with the next heartbeat.
#[tokio::test(start_paused = true)]
async fn a_grant_of_an_entry_whose_deletion_was_not_reported_ends_within_a_heartbeat() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    let client = Queue::new(faulty.clone()).into_client();
    let session = Session::open(&client, Duration::from_secs(9))
        .await
        .unwrap();
    let asked = request(&etcd, "a").await;
    let holder = etcd.lock(asked, INFINITE).await.unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let wait = tokio::spawn(async move { mutex.lock().await });
    until_keys(&etcd, "a", 2).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ours = keys(&etcd, "a").await.pop().unwrap();
    faulty.on_watches(WatchFault::EventsLost(ours.clone()));
    unlock(&etcd, LockKey::new(ours).unwrap()).await;
    unlock(&etcd, holder.key).await;
    let guard = wait.await.unwrap().unwrap();
    let (heartbeat, attempt) = (Duration::from_secs(3), Duration::from_millis(1_500));
    let lost = tokio::time::timeout(heartbeat + attempt, guard.lost()).await;
    assert_eq!(lost.unwrap().kind(), ErrorKind::Lost);
    assert!(!guard.is_held());
}

/// etcd cancels a watch whose next event is compacted, as where a member has caught up by a snapshot.
#[tokio::test(start_paused = true)]
async fn a_wait_whose_watch_is_cancelled_for_a_compaction_keeps_its_entry() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    wait_behind(&faulty, async |key| {
        let created = created(&etcd).await;
        compact(&faulty).await;
        faulty.on_watches(WatchFault::Restarted);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(faulty.watch_streams() > 1, "the watch was cancelled");
        assert_eq!(self::created(&etcd).await, created);
        unlock(&etcd, key).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_watch_is_cancelled_for_a_compaction_hears_of_a_deletion() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd().clone();
    let client = Queue::new(faulty.clone()).into_client();
    let session = Session::open(&client, Duration::from_secs(9)).await;
    let mutex = Mutex::new(&session.unwrap(), "a").unwrap();
    let guard = mutex.lock().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    compact(&faulty).await;
    faulty.on_watches(WatchFault::Restarted);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(guard.is_held());
    unlock(&etcd, guard.key().clone()).await;
    let lost = tokio::time::timeout(Duration::from_millis(10), guard.lost()).await;
    assert_eq!(lost.unwrap().kind(), ErrorKind::Lost);
}

/// The login of the stream has ended, or the user may not watch: the reads of the heartbeat tell of the release.
#[tokio::test(start_paused = true)]
async fn a_wait_whose_watch_is_refused_keeps_its_entry() {
    for refusal in [WatchRefusal::LoginEnded, WatchRefusal::PermissionDenied] {
        for is_over in [false, true] {
            let faulty = FaultyTransport::new(&MemoryEtcd::new());
            let etcd = faulty.etcd().clone();
            faulty.on_watches(WatchFault::Refused(refusal));
            let begun = tokio::time::Instant::now();
            wait_behind(&faulty, async |key| {
                let created = created(&etcd).await;
                tokio::time::sleep(Duration::from_secs(30)).await;
                assert_eq!(self::created(&etcd).await, created);
                if is_over {
                    faulty.calm();
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
                unlock(&etcd, key).await;
            })
            .await;
            let granted = begun.elapsed();
            let bound = Duration::from_secs(38);
            assert!(granted < bound, "{granted:?} with {refusal:?}");
        }
    }
}

/// The create revisions of the entries, oldest first.
async fn created(etcd: &MemoryEtcd) -> Vec<Revision> {
    let read = RangeRequest::prefix("a/");
    let kvs = etcd.range(read, INFINITE).await.unwrap().kvs;
    let mut created: Vec<_> = kvs.into_iter().map(|kv| kv.create_revision).collect();
    created.sort_unstable();
    created
}

/// Compacts everything, after some writes elsewhere.
async fn compact(faulty: &FaultyTransport) {
    for value in ["1", "2", "3"] {
        let put = TxnRequest::new().and_then(PutRequest::new("b", value));
        faulty.etcd().txn(put, INFINITE).await.unwrap();
    }
    faulty.compact();
}
