//! The heap that a waiting task of one session takes in this process.

use std::sync::Arc;
use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use stats_alloc::Region;
use tokio::time::sleep;

use super::Bench;
use crate::ALLOCATOR;
use crate::client::{TTL, connect, fresh_name};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn};

const WAITERS: usize = 10_000;

/// Both sides have a task for each waiter: what is left is the waiting itself.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let session = Session::open(&connect(&bench.etcd.endpoint), TTL)
        .await
        .unwrap();
    let mut rounds = Rounds::default();
    for round in 0..bench.rounds {
        let (ours, peer) = in_turn(round, async || ours(&session).await, tokios).await;
        rounds.push((ours - peer, 1024.0));
    }
    report.add(Row {
        measure: "heap per waiting task of one session beyond tokio's mutex, beside 1 KiB".into(),
        unit: "bytes",
        rounds,
        must: Must::AtMost(1.0),
    });
    session.close().await.unwrap();
}

async fn ours(session: &Session) -> f64 {
    let mutex = Mutex::new(session, fresh_name()).unwrap();
    let guard = mutex.lock().await.unwrap();
    let grown = heap_per_waiter(|| {
        let mutex = mutex.clone();
        async move { drop(mutex.lock().await.unwrap()) }
    })
    .await;
    guard.unlock().await.unwrap();
    grown
}

async fn tokios() -> f64 {
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    let _guard = mutex.lock().await;
    heap_per_waiter(|| {
        let mutex = mutex.clone();
        async move { drop(mutex.lock().await) }
    })
    .await
}

/// How much the heap of this process grows by a task that waits.
async fn heap_per_waiter<F>(wait: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let region = Region::new(ALLOCATOR);
    let tasks: Vec<_> = (0..WAITERS).map(|_| tokio::spawn(wait())).collect();
    // Until all have been polled once, and whatever that set going is done.
    sleep(Duration::from_millis(500)).await;
    let change = region.change();
    let grown = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    grown / WAITERS as f64
}
