//! The common case beside other clients: everybody has a lock of their own.

use std::path::Path;

use super::Bench;
use crate::cycles::{self, Done};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, between};

/// How long each program is watched, in seconds.
const SECONDS: u64 = 2;

/// Beside Go's `concurrency`, and beside the same transactions by bare stubs.
pub(crate) async fn measure(bench: &Bench, report: &mut Report, tasks: usize, bar: Must) {
    let go = bench.go.as_deref();
    let go = go.expect("`cargo xtask bench` builds Go's program and names it with --go");
    let own = std::env::current_exe().unwrap();
    let mut rounds = Vec::new();
    for round in 0..bench.rounds {
        let go = async || run(bench, go, None, tasks).await;
        let ours = async || run(bench, &own, Some("distinct"), tasks).await;
        let bare = async || run(bench, &own, Some("distinct-bare"), tasks).await;
        rounds.push(between(round, go, ours, bare).await);
    }
    let (at_256, tell) = (tasks == 256, Must::Tell);
    let bar_at_256 = |most: f64| if at_256 { Must::AtMost(most) } else { tell };
    let mut add = |what: &str, unit, must, value: fn(&Done) -> f64| {
        let mut values = Rounds::default();
        for (go, ours, _) in &rounds {
            values.push((value(ours), value(go)));
        }
        report.add(Row {
            measure: format!("{what}, {tasks} distinct locks, beside Go's client"),
            unit,
            rounds: values,
            must,
        });
    };
    add("cycles", "1/s", bar, |done| done.rate);
    add("median cycle", "µs", tell, |done| done.median);
    add("99th percentile of cycles", "µs", bar_at_256(1.0), |done| {
        done.p99
    });
    add(
        "etcd's processor time of a cycle",
        "µs",
        bar_at_256(1.0 / 3.0),
        |done| done.etcds_time,
    );
    add("own processor time of a cycle", "µs", tell, |done| {
        done.own_time
    });
    let mut beside_bare = Rounds::default();
    for (_, ours, bare) in &rounds {
        beside_bare.push((ours.rate, bare.rate));
    }
    report.add(Row {
        measure: format!("cycles, {tasks} distinct locks, beside bare stubs"),
        unit: "1/s",
        rounds: beside_bare,
        must: tell,
    });
}

async fn run(bench: &Bench, program: &Path, worker: Option<&str>, tasks: usize) -> Done {
    let (tasks, seconds) = (tasks.to_string(), SECONDS.to_string());
    let arguments = [bench.etcd.endpoint.as_str(), &tasks, &seconds];
    let arguments: Vec<_> = worker.into_iter().chain(arguments).collect();
    cycles::of(program, &arguments, &bench.etcd).await
}
