//! The recorded metrics, and their names.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_lock_core::Client;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(9);

/// One value for each name and its labels: a counter's or a gauge's, or how many values a histogram has.
fn recorded(scene: impl Future<Output = ()>) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(scene));
    let entries = snapshotter.snapshot().into_vec().into_iter();
    entries
        .map(|(key, unit, description, value)| {
            let (unit, described) = (unit.map(|unit| unit.as_str()), description.is_some());
            assert!(described && unit.is_some(), "{key:?} is not described");
            let labels: String = key
                .key()
                .labels()
                .map(|l| format!(" {}", l.value()))
                .collect();
            let value = match value {
                DebugValue::Counter(value) => value as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (format!("{}{labels}", key.key().name()), value)
        })
        .collect()
}

#[test]
fn waits_holds_and_handovers_are_counted() {
    let recorded = recorded(async {
        let client = Queue::new(MemoryEtcd::new()).into_client();
        let (first, second) = (
            Session::open(&client, TTL).await.unwrap(),
            Session::open(&client, TTL).await.unwrap(),
        );
        let mutex = Mutex::new(&first, "a").unwrap();
        let guard = mutex.lock().await.unwrap();
        let other = Mutex::new(&second, "a").unwrap();
        other
            .lock_timeout(Duration::from_secs(1))
            .await
            .unwrap_err();
        let next = mutex.clone();
        let waiting = tokio::spawn(async move { next.lock().await.unwrap() });
        sleep(Duration::from_millis(1)).await;
        guard.unlock().await.unwrap();
        waiting.await.unwrap().unlock().await.unwrap();
        sleep(Duration::from_secs(3)).await;
        first.close().await.unwrap();
    });
    assert_eq!(recorded["lock.wait.duration granted"], 2.0, "{recorded:?}");
    assert_eq!(recorded["lock.wait.duration lock_timeout"], 1.0);
    assert_eq!(recorded["lock.waiters"], 0.0);
    assert_eq!(recorded["lock.hold.duration"], 2.0);
    assert_eq!(recorded["lock.handovers"], 1.0);
    assert_eq!(recorded["lock.queue.length"], 2.0);
    assert!(recorded["lock.keep_alive.duration"] >= 2.0, "{recorded:?}");
}

#[test]
fn lost_sessions_are_counted_by_reason() {
    let recorded = recorded(async {
        let etcd = MemoryEtcd::new();
        let session = Session::open(&Client::new(etcd.clone()), TTL)
            .await
            .unwrap();
        etcd.expire_lease(session.lease());
        session.lost().await;
    });
    assert_eq!(
        recorded["lock.sessions.lost lease_not_found"], 1.0,
        "{recorded:?}"
    );
}
