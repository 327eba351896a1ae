//! Many waiters of one client for one lock share their reads of its queue.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use common::{INFINITE, keys, request, unlock, until_keys};
use etcd_lock_core::{ErrorKind, LockResponse, Result, Transport, UnlockRequest};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::Queue;
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const CROWD: usize = 40;

/// A queue whose lock is held, and waits for it that have all entered: the holder's key first.
async fn crowd(
    faulty: &FaultyTransport,
    queues: impl Fn() -> Queue,
) -> (LockResponse, Vec<JoinHandle<Result<LockResponse>>>) {
    let holder = Queue::new(faulty.clone());
    let asked = request(faulty.etcd(), "a").await;
    let held = holder.lock(asked, INFINITE).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..CROWD {
        let (queue, asked) = (queues(), request(faulty.etcd(), "a").await);
        waits.push(tokio::spawn(
            async move { queue.lock(asked, INFINITE).await },
        ));
    }
    until_keys(faulty.etcd(), "a", CROWD + 1).await;
    (held, waits)
}

/// Counts the reads of a queue that are made by themselves.
fn count_reads(faulty: &FaultyTransport) -> Arc<AtomicUsize> {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    faulty.on_calls(move |call| {
        if call == CallKind::Range || call == CallKind::TxnRead {
            counted.fetch_add(1, SeqCst);
        }
        None
    });
    reads
}

#[tokio::test(start_paused = true)]
async fn waiters_of_one_client_share_their_reads_and_are_granted_in_order() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let reads = count_reads(&faulty);
    let queue = Queue::new(faulty.clone());
    let (held, waits) = crowd(&faulty, || queue.clone()).await;
    sleep(Duration::from_secs(1)).await;
    let together = reads.load(SeqCst);
    assert!(together < CROWD / 4, "{together} reads for {CROWD} waits");

    let order = keys(faulty.etcd(), "a").await;
    unlock(faulty.etcd(), held.key).await;
    let (granted, mut grants) = tokio::sync::mpsc::unbounded_channel();
    for wait in waits {
        let (queue, granted) = (queue.clone(), granted.clone());
        tokio::spawn(async move {
            let lock = wait.await.unwrap().unwrap();
            granted.send(lock.key.as_bytes().clone()).unwrap();
            unlock(&queue, lock.key).await;
        });
    }
    for key in &order[1..] {
        assert_eq!(grants.recv().await.as_ref(), Some(key));
    }
    until_keys(faulty.etcd(), "a", 0).await;
}

/// The control of the test above: each has a queue of its own.
#[tokio::test(start_paused = true)]
async fn waiters_of_separate_clients_read_by_themselves() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let reads = count_reads(&faulty);
    let (_held, waits) = crowd(&faulty, || Queue::new(faulty.clone())).await;
    sleep(Duration::from_secs(1)).await;
    assert!(reads.load(SeqCst) >= CROWD / 2);
    waits.iter().for_each(JoinHandle::abort);
    until_keys(faulty.etcd(), "a", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_entry_ends_its_own_wait_alone() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let queue = Queue::new(faulty.clone());
    faulty.on_calls(|call| match call {
        CallKind::TxnRead => Some(CallFault::Delayed(Duration::from_secs(1))),
        _ => None,
    });
    let (held, mut waits) = crowd(&faulty, || queue.clone()).await;
    let gone = keys(faulty.etcd(), "a").await.pop().unwrap();
    let gone = UnlockRequest::new(etcd_lock_core::LockKey::new(gone).unwrap());
    faulty.etcd().unlock(gone, INFINITE).await.unwrap();
    let error = waits.pop().unwrap().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    unlock(faulty.etcd(), held.key).await;
    let next = waits.remove(0).await.unwrap().unwrap();
    unlock(&queue, next.key).await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_read_that_fails_is_repeated() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let queue = Queue::new(faulty.clone());
    let reads = AtomicUsize::new(0);
    faulty.on_calls(move |call| {
        let fails = call == CallKind::TxnRead && reads.fetch_add(1, SeqCst) % 3 < 2;
        fails.then_some(CallFault::Refused)
    });
    let (held, waits) = crowd(&faulty, || queue.clone()).await;
    unlock(faulty.etcd(), held.key).await;
    for wait in waits {
        let lock = wait.await.unwrap().unwrap();
        unlock(&queue, lock.key).await;
    }
    until_keys(faulty.etcd(), "a", 0).await;
}
