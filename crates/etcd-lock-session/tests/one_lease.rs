//! One lease has one entry for each lock, with any number of users.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{INFINITE, client, grant, keys, lock, until_keys};
use etcd_lock_core::{ErrorKind, LockName, LockRequest, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session, SessionOptions, lease};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_session_keeps_alive_is_not_adopted_again() {
    let client = client(Queue::new(MemoryEtcd::new()));
    let opened = Session::open(&client, TTL).await.unwrap();
    let adopting = SessionOptions::new();
    let error = adopting.adopt(&client, opened.lease()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error:?}");
    let error = lease::keep_alive(&client, opened.lease())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "{error:?}");
    assert!(opened.is_alive());
    let guard = Mutex::new(&opened, "a").unwrap().lock().await.unwrap();
    assert!(guard.is_held());
}

#[tokio::test(start_paused = true)]
async fn an_adopted_lease_is_adopted_again_after_its_session_was_closed() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(etcd.clone()));
    let lease = grant(&etcd, 60).await;
    let first = SessionOptions::new().adopt(&client, lease).await.unwrap();
    let second = SessionOptions::new().adopt(&client, lease).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyOpen);
    first.close().await.unwrap();
    let second = SessionOptions::new().adopt(&client, lease).await.unwrap();
    let guard = Mutex::new(&second, "a").unwrap().lock().await.unwrap();
    assert!(guard.is_held());
}

/// Another process, as far as this client can know.
#[tokio::test(start_paused = true)]
async fn an_entry_of_another_process_under_the_same_lease_is_busy_and_stays() {
    for holder_waits in [false, true] {
        let etcd = MemoryEtcd::new();
        let lease = grant(&etcd, 60).await;
        let clients = [(); 2].map(|()| client(Queue::new(etcd.clone())));
        let before = match holder_waits {
            true => Some(lock(&etcd, "a").await),
            false => None,
        };
        let entries = usize::from(holder_waits) + 1;
        let first = SessionOptions::new()
            .adopt(&clients[0], lease)
            .await
            .unwrap();
        let second = SessionOptions::new()
            .adopt(&clients[1], lease)
            .await
            .unwrap();
        let mutex = Mutex::new(&first, "a").unwrap();
        let wait = tokio::spawn(async move { mutex.lock().await.unwrap() });
        until_keys(&etcd, "a", entries).await;

        let mutex = Mutex::new(&second, "a").unwrap();
        for error in [
            mutex.lock().await.unwrap_err(),
            mutex.try_lock().await.unwrap_err(),
            mutex
                .lock_timeout(Duration::from_secs(1))
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
        }
        let queue = Queue::new(etcd.clone());
        let bare = LockRequest::new(LockName::new("a").unwrap(), lease);
        let error = queue.lock(bare, INFINITE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
        sleep(Duration::from_secs(30)).await;
        assert_eq!(keys(&etcd, "a").await.len(), entries);

        if let Some(before) = before {
            common::unlock(&etcd, before.key).await;
        }
        let guard = wait.await.unwrap();
        assert!(guard.is_held());
        guard.unlock().await.unwrap();
        let guard = mutex.lock().await.unwrap();
        assert!(guard.is_held());
    }
}
