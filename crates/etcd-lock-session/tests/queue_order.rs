//! Who waits for whom, and in which order.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{INFINITE, keys, request, seconds, unlock, until_keys};
use etcd_lock_core::kv::{PutRequest, TxnRequest};
use etcd_lock_core::{Client, ErrorKind, LockKey, Transport, UnlockRequest};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::Queue;
use etcd_lock_testkit::faults::FaultyTransport;

#[tokio::test(start_paused = true)]
async fn an_uncontended_lock_is_one_request() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let queue = Queue::new(faulty.clone());
    let held = queue
        .lock(request(&faulty, "a").await, INFINITE)
        .await
        .unwrap();
    assert_eq!(faulty.txns(), 1);
    unlock(&queue, held.key).await;
    assert_eq!(faulty.txns(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_granted_in_order_of_arrival() {
    for separate in [false, true] {
        let etcd = MemoryEtcd::new();
        let shared = Queue::new(etcd.clone());
        let (sender, mut granted) = tokio::sync::mpsc::unbounded_channel();
        for arrival in 0..12 {
            let queue = if separate {
                Queue::new(etcd.clone())
            } else {
                shared.clone()
            };
            let (request, sender) = (request(&etcd, "a").await, sender.clone());
            tokio::spawn(async move {
                let held = queue.lock(request, INFINITE).await.unwrap();
                sender.send(arrival).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                unlock(&queue, held.key).await;
            });
            until_keys(&etcd, "a", arrival + 1).await;
        }
        for arrival in 0..12 {
            assert_eq!(granted.recv().await, Some(arrival));
        }
        until_keys(&etcd, "a", 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_waiters_of_a_process_share_one_watch_stream() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let queue = Queue::new(faulty.clone());
    let first = queue
        .lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (queue, request) = (queue.clone(), request(&etcd, "a").await);
        waiters.spawn(async move {
            let held = queue.lock(request, INFINITE).await.unwrap();
            unlock(&queue, held.key).await;
        });
    }
    until_keys(&etcd, "a", 51).await;
    unlock(&queue, first.key).await;
    waiters.join_all().await;
    assert_eq!(faulty.watch_streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_names_documented() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let below = queue
        .lock(request(&etcd, "a/b").await, INFINITE)
        .await
        .unwrap();
    let foreign = (0..20).fold(TxnRequest::new(), |txn, i| {
        txn.and_then(PutRequest::new(format!("a/notes-{i}"), ""))
    });
    etcd.txn(foreign, INFINITE).await.unwrap();
    let above = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap();
    let second = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Timeout);
    unlock(&queue, above.key).await;
    unlock(&queue, below.key).await;
}

#[tokio::test(start_paused = true)]
async fn the_plain_rpc_and_the_queue_wait_in_one_line() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let by_rpc = etcd
        .lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let busy = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Timeout);
    unlock(&etcd, by_rpc.key).await;
    let by_queue = queue
        .lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let busy = etcd
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Timeout);
    unlock(&queue, by_queue.key).await;
}

#[tokio::test(start_paused = true)]
async fn try_lock_does_not_wait() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let held = queue
        .try_lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let error = queue
        .try_lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(keys(&etcd, "a").await, [held.key.as_bytes().clone()]);
}

#[tokio::test(start_paused = true)]
async fn late_unlock_spares_newer_hold() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let request = request(&etcd, "a").await;
    let old = queue.lock(request.clone(), INFINITE).await.unwrap();
    unlock(&queue, old.key.clone()).await;
    let new = queue.lock(request, INFINITE).await.unwrap();
    assert!(new.create_revision > old.create_revision);
    let late = UnlockRequest::new(old.key).with_create_revision(old.create_revision);
    queue.unlock(late, INFINITE).await.unwrap();
    assert_eq!(
        keys(&etcd, "a").await.len(),
        1,
        "the newer hold was deleted"
    );
    unlock(&queue, new.key).await;
    unlock(&queue, LockKey::new("a/1").unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn locking_twice_with_one_lease_is_a_single_acquisition() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let request = request(&etcd, "a").await;
    let first = queue.lock(request.clone(), INFINITE).await.unwrap();
    let second = queue.lock(request, INFINITE).await.unwrap();
    assert_eq!(
        (first.key, first.create_revision),
        (second.key, second.create_revision)
    );
    assert_eq!(keys(&etcd, "a").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn foreign_key_under_prefix_reported() {
    let etcd = MemoryEtcd::new();
    let foreign = TxnRequest::new().and_then(PutRequest::new("a/notes", ""));
    etcd.txn(foreign, INFINITE).await.unwrap();
    let plain = etcd.lock(request(&etcd, "a").await, seconds(1)).await;
    assert_eq!(plain.unwrap_err().kind(), ErrorKind::Timeout, "the control");

    let queue = Queue::new(etcd.clone());
    let held = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap();
    let view = etcd_lock_session::queue(&Client::new(etcd.clone()), "a")
        .await
        .unwrap();
    assert_eq!(view.foreign, ["a/notes"]);
    assert_eq!(view.entries.len(), 1);
    assert_eq!(view.entries[0].key, held.key);
    assert_eq!(view.entries[0].owner, None);
}
