//! The registries of a client shrink again, for each way in which locks end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{INFINITE, grant, request, unlock};
use etcd_lock_core::{LockName, LockRequest, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session};
use tokio::time::sleep;

/// Longer than a heartbeat of any lease and its attempts.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn ten_thousand_locks_whose_leases_were_revoked_are_forgotten() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    for number in 0..10_000 {
        let lease = grant(&etcd, 60).await;
        let name = LockName::new(format!("lock-{number}")).unwrap();
        let asked = LockRequest::new(name, lease);
        queue.lock(asked, INFINITE).await.unwrap();
        etcd.lease_revoke(lease, INFINITE).await.unwrap();
    }
    sleep(HEARTBEAT).await;
    forgotten(&queue, &etcd).await;
}

/// Somebody uses the lock all the time, so the lock itself is never forgotten.
#[tokio::test(start_paused = true)]
async fn a_lock_in_use_forgets_the_leases_that_were_revoked() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let session = Session::open(&queue.clone().into_client(), HEARTBEAT)
        .await
        .unwrap();
    let _user = Mutex::new(&session, "a").unwrap();
    for _ in 0..1_000 {
        let asked = request(&etcd, "a").await;
        let lease = asked.lease;
        queue.lock(asked, INFINITE).await.unwrap();
        etcd.lease_revoke(lease, INFINITE).await.unwrap();
    }
    sleep(HEARTBEAT).await;
    forgotten(&queue, &etcd).await;
}

#[tokio::test(start_paused = true)]
async fn lost_sessions_are_forgotten() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let client = queue.clone().into_client();
    for number in 0..100 {
        let session = Session::open(&client, HEARTBEAT).await.unwrap();
        let mutex = Mutex::new(&session, format!("lock-{number}")).unwrap();
        let guard = mutex.lock().await.unwrap();
        etcd.expire_lease(session.lease());
        guard.lost().await;
    }
    sleep(HEARTBEAT).await;
    forgotten(&queue, &etcd).await;
}

/// Leases that are dropped go when others come.
async fn forgotten(queue: &Queue, etcd: &MemoryEtcd) {
    for _ in 0..4 {
        let held = queue.lock(request(etcd, "other").await, INFINITE).await;
        unlock(queue, held.unwrap().key).await;
    }
    let remembered = queue.remembered();
    assert!(remembered < 20, "{remembered} are remembered");
}
