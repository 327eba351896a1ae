//! How long after a release the next is granted the lock.

use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::bare::{self, Bare};
use crate::client::{TTL, connect, fresh_name};
use crate::report::{Must, Report, Row};
use crate::rounds::{in_turn, median, rounds, warm_up};
use crate::usage::micros;

pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let endpoint = &bench.etcd.endpoint;
    let bare = Bare::connect(endpoint).await;
    let holder = Session::open(&connect(endpoint), TTL).await.unwrap();
    let waiter = Session::open(&connect(endpoint), TTL).await.unwrap();
    let ours = async || median(hand_over_times(&holder, &waiter).await);
    let reference = async || {
        let times = bare.notice(&fresh_name()).await;
        median(times.into_iter().map(micros).collect())
    };
    warm_up(async || in_turn(0, ours, reference).await).await;
    report.add(Row {
        measure: "hand-over latency, beside delete and a bare watch".into(),
        unit: "µs",
        rounds: rounds(bench.rounds, ours, reference).await,
        must: Must::AtMost(1.3),
    });
    holder.close().await.unwrap();
    waiter.close().await.unwrap();
}

async fn hand_over_times(holder: &Session, waiter: &Session) -> Vec<f64> {
    let name = fresh_name();
    let (first, second) = (
        Mutex::new(holder, name.clone()).unwrap(),
        Mutex::new(waiter, name).unwrap(),
    );
    let mut times = Vec::new();
    for _ in 0..bare::SAMPLES {
        let guard = first.lock().await.unwrap();
        let waiting = second.clone();
        let granted = tokio::spawn(async move { (waiting.lock().await, Instant::now()) });
        sleep(Duration::from_millis(3)).await;
        let begun = Instant::now();
        let unlocked = tokio::spawn(guard.unlock());
        let (next, at) = granted.await.unwrap();
        times.push(micros(at - begun));
        unlocked.await.unwrap().unwrap();
        next.unwrap().unlock().await.unwrap();
    }
    times
}
