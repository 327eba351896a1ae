//! The end of a session with very many locks.

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Client, Transport};
use etcd_lock_session::Session;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bench;
use super::heartbeats::hold;
use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::report::{Must, Report, Row};
use crate::rounds::Rounds;
use crate::usage::micros;

const LOCKS: usize = 50_000;

/// All guards are dropped, and the session is closed at once: beside revoking a lease with as many keys, which is all that must
/// happen.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let endpoint = &bench.etcd.endpoint;
    let mut rounds = Rounds::default();
    for _ in 0..bench.rounds.min(1) {
        let ours = close(&connect(endpoint)).await;
        rounds.push((ours, revoke(endpoint).await));
    }
    report.add(Row {
        measure: format!(
            "closing a session as {LOCKS} guards are dropped, beside revoking a lease with as many keys"
        ),
        unit: "ms",
        rounds,
        must: Must::Tell,
    });
}

async fn close(client: &Client) -> f64 {
    let session = Session::open(client, TTL).await.unwrap();
    let guards = hold(&session, LOCKS).await;
    let begun = Instant::now();
    drop(guards);
    session.close().await.unwrap();
    let took = micros(begun.elapsed()) / 1e3;
    let left = RangeRequest::prefix("bench-").count_only();
    let left = client.transport().range(left, CallOptions::default());
    assert_eq!(left.await.unwrap().count, 0, "keys are left");
    took
}

async fn revoke(endpoint: &str) -> f64 {
    const TASKS: usize = 100;
    let bare = Bare::connect(endpoint).await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let bare = bare.clone();
        tasks.spawn(async move {
            for _ in 0..LOCKS / TASKS {
                bare.enter(&fresh_name()).await;
            }
        });
    }
    tasks.join_all().await;
    let begun = Instant::now();
    bare.close().await;
    micros(begun.elapsed()) / 1e3
}
