//! On a paused clock, time passes only for those who wait for it, and in the same way in every run.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_core::{Client, LeaseId, Timeout, lease, lock, new};
use etcd_lock_memory::MemoryEtcd;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(60);

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "it is real time that is measured"
)]
fn a_lease_of_a_minute_ends_in_milliseconds_and_always_alike() {
    let began = std::time::Instant::now();
    let first = waits();
    let second = waits();
    let took = began.elapsed();

    assert_eq!(first, second);
    // The put of the holder is revision 2, and those of the waiters 3 and 4; each end of a lease adds one.
    assert_eq!(first, [(TTL, 5), (TTL * 2, 6)]);
    // Both waits together are four times as long.
    assert!(took < TTL, "{took:?}");
}

/// Two wait behind a holder that is gone, and the second behind the first: when each is granted, and at which revision.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn waits() -> Vec<(Duration, i64)> {
    let client = Client::new(MemoryEtcd::new());
    let began = Instant::now();
    take(&client, grant(&client, TTL).await).await;
    let mut waits = Vec::new();
    for times in [2, 3] {
        let (client, lease) = (client.clone(), grant(&client, TTL * times).await);
        waits.push(tokio::spawn(async move {
            let revision = take(&client, lease).await;
            (began.elapsed(), revision)
        }));
        tokio::task::yield_now().await;
    }
    let mut grants = Vec::new();
    for wait in waits {
        grants.push(wait.await.unwrap());
    }
    grants
}

async fn grant(client: &Client, ttl: Duration) -> LeaseId {
    lease::grant(client, ttl).await.unwrap().id
}

async fn take(client: &Client, lease: LeaseId) -> i64 {
    let context = new(client).with_name("report").with_lease(lease);
    let held = lock(context.with_timeout(Timeout::Infinity)).await.unwrap();
    held.header.revision.get()
}
