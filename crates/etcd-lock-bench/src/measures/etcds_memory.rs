//! The memory that a waiter takes in etcd when all waiters come at once, as after a restart of all clients.
//!
//! Each side has a fresh etcd in each round: one that was busy before has room to reuse. Its memory is that of a process that
//! collects garbage, so the spread says more than the median.

use std::time::Duration;

use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{CallOptions, Client, Timeout, lease, new};
use etcd_lock_testkit::RealEtcd;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Bench;
use crate::client::{TTL, connect, fresh_name};
use crate::etcd::Etcd;
use crate::race::Share;
use crate::report::{Must, Report, Row};
use crate::ring;
use crate::rounds::{Rounds, between};

const WAITERS: usize = 2000;

/// How long it may take until all have their entries.
const LATEST: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let (mut beside_peer, mut beside_baseline) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds.min(3) {
        let (peer, ours, baseline) = between(
            round,
            async || memory_per_waiter(v3lock_waiters).await,
            async || memory_per_waiter(our_waiters).await,
            async || memory_per_waiter(bare_entries).await,
        )
        .await;
        beside_peer.push((ours, peer));
        beside_baseline.push((ours, baseline));
    }
    for (beside, rounds, must) in [
        ("v3lock", beside_peer, Must::AtMost(1.0 / 40.0)),
        (
            "as many leases with a key each",
            beside_baseline,
            Must::Tell,
        ),
    ] {
        report.add(Row {
            measure: format!("etcd's memory per waiter, 2,000 waiters, beside {beside}"),
            unit: "KiB",
            rounds,
            must,
        });
    }
}

/// Waiters of one client.
async fn our_waiters(endpoint: &str, name: &str) -> JoinSet<()> {
    let client = connect(endpoint);
    let mut contexts = Vec::new();
    for _ in 0..WAITERS {
        let lease = lease::grant(&client, TTL).await.unwrap().id;
        let ctx = new(&client).with_name(name.to_owned()).with_lease(lease);
        contexts.push(ctx.with_timeout(Timeout::Infinity));
    }
    let waits = contexts.into_iter().map(|ctx| async move {
        ctx.lock().await.unwrap();
    });
    waits.collect()
}

async fn v3lock_waiters(endpoint: &str, name: &str) -> JoinSet<()> {
    let leases = ring::connect(endpoint, WAITERS, Share::Client).await;
    let waits = leases.into_iter().map(|client| {
        let name = name.to_owned();
        async move { drop(client.lock(&name).await) }
    });
    waits.collect()
}

/// The least that a waiter needs: a lease and a key.
async fn bare_entries(endpoint: &str, name: &str) -> JoinSet<()> {
    let leases = ring::connect(endpoint, WAITERS, Share::Client).await;
    let entries = leases.into_iter().map(|bare| {
        let name = name.to_owned();
        async move { _ = bare.enter(&name).await }
    });
    entries.collect()
}

/// How much an etcd of its own grows by one of those who wait.
async fn memory_per_waiter(wait: impl AsyncFnOnce(&str, &str) -> JoinSet<()>) -> f64 {
    let mut process = RealEtcd::start().await;
    let etcd = Etcd::of(&mut process);
    let client = connect(&etcd.endpoint);
    let name = fresh_name();
    let before = settled_memory(&etcd).await;
    let _waiters = wait(&etcd.endpoint, &name).await;
    timeout(LATEST, queue_is_full(&client, &name))
        .await
        .expect("not all came into the queue: a busy etcd refuses some of those who come at once");
    let grown = settled_memory(&etcd).await - before;
    grown / WAITERS as f64 / 1024.0
}

/// Waits until all have their entries.
async fn queue_is_full(client: &Client, name: &str) {
    let prefix = format!("{name}/");
    loop {
        let request = RangeRequest::prefix(prefix.clone()).count_only();
        let options = CallOptions::new(Timeout::Infinity);
        let reply = client.transport().range(request, options).await.unwrap();
        if reply.count == WAITERS as u64 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The resident memory of etcd once it no longer changes.
async fn settled_memory(etcd: &Etcd) -> f64 {
    let mut last = etcd.memory();
    for _ in 0..20 {
        sleep(Duration::from_millis(500)).await;
        let now = etcd.memory();
        if (now - last).abs() < 1024.0 * 1024.0 {
            return now;
        }
        last = now;
    }
    last
}
