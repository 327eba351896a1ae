//! A client whose `lock` is etcd's RPC: its sessions use the queue all the same, and the two don't disturb one another.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_core::{Client, lease, new};
use etcd_lock_grpc::layers::Layered;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Session};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(60);

fn client(etcd: &MemoryEtcd) -> Client {
    Client::new(Layered::new(etcd.clone()))
}

/// The withdrawal of the entry of the cancelled wait must not find the next one.
#[tokio::test(start_paused = true)]
async fn try_lock_after_a_cancelled_lock_keeps_its_lock() {
    let client = client(&MemoryEtcd::new());
    let holder = lease::grant(&client, TTL).await.unwrap().id;
    let ctx = new(&client).with_name("a").with_lease(holder);
    let held = ctx.lock().await.unwrap();
    let session = Session::open(&client, TTL).await.unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let bound = Duration::from_millis(100);
    let error = mutex.lock_timeout(bound).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let key = held.key.as_bytes().clone();
    etcd_lock_core::unlock(&client, key).await.unwrap();
    let guard = mutex.try_lock().await.unwrap();
    for _ in 0..40 {
        sleep(bound).await;
        assert!(guard.is_held());
    }
    guard.unlock().await.unwrap();
}
