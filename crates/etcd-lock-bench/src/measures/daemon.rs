//! A daemon that takes a million locks, half of which end because their lease is revoked, does not grow.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_core::{Client, LockKey, lease, new};
use etcd_lock_session::{Mutex, Session};
use stats_alloc::Region;
use tokio::time::sleep;

use super::Bench;
use crate::ALLOCATOR;
use crate::client::{TTL, fresh_name, memory, over};
use crate::report::{Must, Report, Row};
use crate::rounds::Rounds;

/// A million locks, in four rounds.
const ROUNDS: usize = 4;
const LOCKS: usize = 250_000;

/// How many locks come before those that count.
const WARM_UP: usize = 50_000;

/// Beside a daemon that keeps the key of each lock, and so grows. A hundredth of that is two bytes a lock: less than anything
/// that could be forgotten.
pub(crate) async fn measure(_bench: &Bench, report: &mut Report) {
    let (client, other) = (over(memory()), over(memory()));
    let session = Session::open(&client, TTL).await.unwrap();
    let others = Session::open(&other, TTL).await.unwrap();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    run(&client, &session, WARM_UP, drop).await;
    run(&other, &others, WARM_UP, drop).await;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let ours = growth(&client, &session, LOCKS, drop).await;
        let kept = kept.clone();
        let keep = move |key| kept.lock().unwrap().push(key);
        let control = growth(&other, &others, LOCKS / 25, keep).await;
        rounds.push((ours, control));
    }
    report.add(Row {
        measure: "heap that a daemon grows by for each of 1,000,000 locks, half ended by revoking the lease, beside one that keeps their keys".into(),
        unit: "bytes",
        rounds,
        must: Must::AtMost(0.01),
    });
    session.close().await.unwrap();
    others.close().await.unwrap();
}

/// How much the heap of this process grows by a lock, once nothing happens any more.
async fn growth(
    client: &Client,
    session: &Session,
    locks: usize,
    locked: impl FnMut(LockKey) + Send + 'static,
) -> f64 {
    let region = Region::new(ALLOCATOR);
    run(client, session, locks, locked).await;
    let change = region.change();
    let grown = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    grown / locks as f64
}

/// Takes so many locks, in a task of the runtime: beside it a wake-up would go from thread to thread.
async fn run(
    client: &Client,
    session: &Session,
    locks: usize,
    locked: impl FnMut(LockKey) + Send + 'static,
) {
    let taking = take(client.clone(), session.clone(), locks, locked);
    tokio::spawn(taking).await.unwrap();
    // Background work comes to its end.
    sleep(Duration::from_millis(500)).await;
}

/// Takes one lock after the other: half of them by a session that stays, and half with a lease that is revoked while they are
/// held: every fourth of those is a session's.
async fn take(
    client: Client,
    session: Session,
    locks: usize,
    mut locked: impl FnMut(LockKey) + Send,
) {
    for number in 0..locks {
        locked(match number % 8 {
            7 => revoked_under_its_session(&client).await,
            odd if odd % 2 == 1 => revoked(&client).await,
            _ => unlocked(&session).await,
        });
    }
}

async fn unlocked(session: &Session) -> LockKey {
    let mutex = Mutex::new(session, fresh_name()).unwrap();
    let guard = mutex.lock().await.unwrap();
    let key = guard.key().clone();
    guard.unlock().await.unwrap();
    key
}

async fn revoked(client: &Client) -> LockKey {
    let lease = lease::grant(client, TTL).await.unwrap().id;
    let ctx = new(client).with_name(fresh_name()).with_lease(lease);
    let key = ctx.lock().await.unwrap().key;
    lease::revoke(client, lease).await.unwrap();
    key
}

async fn revoked_under_its_session(client: &Client) -> LockKey {
    let session = Session::open(client, TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let guard = mutex.lock().await.unwrap();
    lease::revoke(client, session.lease()).await.unwrap();
    guard.key().clone()
}
