//! The cost of confirming, heartbeat by heartbeat, that the entries of many held locks still exist.

use std::time::Duration;

use etcd_lock_core::kv::{RangeRequest, TxnRequest};
use etcd_lock_core::{CallOptions, LockKey, Transport};
use etcd_lock_session::{LockGuard, Mutex, Session};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::client::{fresh_name, over};
use crate::recorder::{Answers, Recorder};
use crate::report::{Must, Report, Row};
use crate::rounds::Rounds;
use crate::usage::own_processor;

const LOCKS: usize = 100_000;

/// A heartbeat every 5 s.
const TTL: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How many keys one read of a heartbeat asks for.
const KEYS: usize = 128;

/// Beside the bare reads of as many keys, as often.
pub(crate) async fn measure(_bench: &Bench, report: &mut Report) {
    let recorder = Recorder::counting(Answers::Later);
    let session = Session::open(&over(recorder.clone()), TTL).await.unwrap();
    let guards = hold(&session, LOCKS).await;
    let keys: Vec<_> = guards.iter().map(|guard| guard.key().clone()).collect();
    // The watches of so many locks are on before the second heartbeat.
    sleep(HEARTBEAT).await;
    let (mut requests, mut renewals, mut times) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for _ in 0..2 {
        let before = (recorder.requests(), recorder.renewals(), own_processor());
        let begun = Instant::now();
        sleep(HEARTBEAT).await;
        let took = begun.elapsed().as_secs_f64();
        let sent = recorder.requests() - before.0;
        let renewed = recorder.renewals() - before.1;
        let used = own_processor() - before.2;
        let bare = read(&recorder, &keys).await / HEARTBEAT.as_secs_f64();
        requests.push((sent as f64 / took, reads() / HEARTBEAT.as_secs_f64()));
        renewals.push((renewed as f64 / took, 3.0 / TTL.as_secs_f64()));
        times.push((used.as_secs_f64() * 1e3 / took, bare));
    }
    for (what, beside, unit, rounds) in [
        ("requests", "one for 128 keys every 5 s", "1/s", requests),
        (
            "renewals of the lease",
            "three in its time to live",
            "1/s",
            renewals,
        ),
        (
            "processor time, etcd in memory included,",
            "the bare reads",
            "ms/s",
            times,
        ),
    ] {
        report.add(Row {
            measure: format!("{what} for heartbeats of 100,000 held locks, beside {beside}"),
            unit,
            rounds,
            must: Must::Tell,
        });
    }
    drop(guards);
    session.close().await.unwrap();
}

/// Holds so many locks.
pub(super) async fn hold(session: &Session, locks: usize) -> Vec<LockGuard> {
    const TASKS: usize = 100;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let session = session.clone();
        tasks.spawn(async move {
            let mut guards = Vec::new();
            for _ in 0..locks / TASKS {
                let mutex = Mutex::new(&session, fresh_name()).unwrap();
                guards.push(mutex.lock().await.unwrap());
            }
            guards
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// How many reads one heartbeat needs.
fn reads() -> f64 {
    LOCKS.div_ceil(KEYS) as f64
}

/// Reads every key once. Returns the processor time in milliseconds.
async fn read(transport: &impl Transport, keys: &[LockKey]) -> f64 {
    let before = own_processor();
    for keys in keys.chunks(KEYS) {
        let range = |key: &LockKey| RangeRequest::key(key.as_bytes().clone()).keys_only();
        let txn = keys
            .iter()
            .fold(TxnRequest::new(), |txn, key| txn.and_then(range(key)));
        transport.txn(txn, CallOptions::default()).await.unwrap();
    }
    (own_processor() - before).as_secs_f64() * 1e3
}
