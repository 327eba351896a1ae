//! Entries that travel with a release of the same process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Fate, INFINITE, Probe, keys, request, unlock, until_keys};
use etcd_lock_core::{ErrorKind, LeaseId, LockName, LockRequest, Transport, UnlockRequest};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::Queue;
use tokio::time::sleep;

/// Half of the time that an entry waits to be taken along.
const SHORT: Duration = Duration::from_micros(500);

#[tokio::test(start_paused = true)]
async fn a_release_and_the_next_entry_are_one_request() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    let held = queue
        .lock(request(&probe.etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let next = request(&probe.etcd, "a").await;
    let release = async {
        sleep(SHORT).await;
        unlock(&queue, held.key.clone()).await;
    };
    let (granted, ()) = tokio::join!(queue.lock(next, INFINITE), release);
    assert_eq!(probe.txns(), 2, "one to enter, one to release and enter");
    assert!(granted.as_ref().unwrap().create_revision > held.create_revision);
    assert_eq!(
        keys(&probe.etcd, "a").await,
        [granted.unwrap().key.as_bytes().clone()]
    );
}

/// Between the end of one hold and the news of it to the next of the same process, nobody of the process holds the lock.
#[tokio::test(start_paused = true)]
async fn an_entry_waits_for_the_release_of_who_is_told_next() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    let first = queue.lock(request(&probe.etcd, "a").await, INFINITE).await;
    let (second, third) = (
        request(&probe.etcd, "a").await,
        request(&probe.etcd, "a").await,
    );
    let waiting = queue.clone();
    let second = tokio::spawn(async move { waiting.lock(second, INFINITE).await });
    until_keys(&probe.etcd, "a", 2).await;
    sleep(SHORT * 10).await;

    unlock(&queue, first.unwrap().key).await;
    let told = async {
        let second = second.await.unwrap().unwrap();
        unlock(&queue, second.key).await;
    };
    let (third, ()) = tokio::join!(queue.lock(third, INFINITE), told);

    // Two to enter, one to release, one to release and enter; and the second reads before it believes its new watch.
    assert_eq!(probe.txns(), 5);
    unlock(&queue, third.unwrap().key).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_release_an_entry_goes_alone() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    queue
        .lock(request(&probe.etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let next = request(&probe.etcd, "a").await;
    let waiting = queue.clone();
    let waiting = tokio::spawn(async move { waiting.lock(next, INFINITE).await });
    until_keys(&probe.etcd, "a", 2).await;
    // Nor does it wait for a hold of another lock.
    let other = queue.lock(request(&probe.etcd, "b").await, INFINITE).await;
    assert_eq!(probe.txns(), 3);
    unlock(&queue, other.unwrap().key).await;
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_rider_that_is_refused_does_not_stop_the_release() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    let held = queue
        .lock(request(&probe.etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let nobody = LeaseId::new(0xdead).unwrap();
    let refused = LockRequest::new(LockName::new("a").unwrap(), nobody);
    let release = async {
        sleep(SHORT).await;
        unlock(&queue, held.key.clone()).await;
    };
    let (refused, ()) = tokio::join!(queue.lock(refused, INFINITE), release);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::LeaseNotFound);
    assert!(keys(&probe.etcd, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_superseded_still_takes_the_rider_in() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    let ours = request(&probe.etcd, "a").await;
    let held = queue.lock(ours.clone(), INFINITE).await.unwrap();
    // Somebody deletes the key: there is nothing left to release.
    unlock(&probe.etcd, held.key.clone()).await;
    let next = request(&probe.etcd, "a").await;
    let release = async {
        sleep(SHORT).await;
        unlock(&queue, held.key.clone()).await;
    };
    let (granted, ()) = tokio::join!(queue.lock(next, INFINITE), release);
    assert_eq!(
        keys(&probe.etcd, "a").await,
        [granted.unwrap().key.as_bytes().clone()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_nobody_behind() {
    for fate in [
        Fate::LoseReply,
        Fate::LoseRequest,
        Fate::Late(Duration::from_millis(300)),
    ] {
        let probe = Probe::new(&MemoryEtcd::new());
        let queue = Queue::new(probe.clone());
        let held = queue
            .lock(request(&probe.etcd, "a").await, INFINITE)
            .await
            .unwrap();
        let next = request(&probe.etcd, "a").await;
        let release = async {
            sleep(SHORT).await;
            probe.rule(move |_, what| if what == "delete" { fate } else { Fate::Pass });
            let lost = queue
                .unlock(UnlockRequest::new(held.key.clone()), INFINITE)
                .await;
            assert!(lost.unwrap_err().is_outcome_unknown(), "{fate:?}");
            probe.rule(|_, _| Fate::Pass);
            sleep(Duration::from_secs(1)).await;
            unlock(&queue, held.key.clone()).await;
        };
        // It enters again by itself, whatever became of the request that it travelled with.
        let (granted, ()) = tokio::join!(queue.lock(next, INFINITE), release);
        unlock(&queue, granted.unwrap().key).await;
        until_keys(&probe.etcd, "a", 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_dropped_does_not_take_the_rider_along() {
    let probe = Probe::new(&MemoryEtcd::new());
    let queue = Queue::new(probe.clone());
    let held = queue
        .lock(request(&probe.etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let next = request(&probe.etcd, "a").await;
    let release = async {
        sleep(SHORT).await;
        probe.rule(|_, _| Fate::Delay(Duration::from_millis(20)));
        let release = queue.unlock(UnlockRequest::new(held.key.clone()), INFINITE);
        assert!(tokio::time::timeout(SHORT, release).await.is_err());
    };
    let (granted, ()) = tokio::join!(queue.lock(next, INFINITE), release);
    assert_eq!(
        keys(&probe.etcd, "a").await,
        [granted.unwrap().key.as_bytes().clone()]
    );
}
