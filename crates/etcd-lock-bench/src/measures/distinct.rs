//! The common case: each task has a lock of its own.

use std::path::Path;

use super::Bench;
use crate::cycles::{self, Done};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, between};

/// How long each program is watched, in seconds.
const SECONDS: u64 = 2;

/// A column of the table: its name, its unit, and its value.
type Column = (&'static str, &'static str, fn(&Done) -> f64);

const COLUMNS: [Column; 5] = [
    (CYCLES, "1/s", |done| done.rate),
    ("median cycle", "µs", |done| done.median),
    (P99, "µs", |done| done.p99),
    (ETCDS_TIME, "µs", |done| done.etcds_time),
    ("own processor time of a cycle", "µs", |done| done.own_time),
];
const CYCLES: &str = "cycles";
const P99: &str = "99th percentile of cycles";
const ETCDS_TIME: &str = "etcd's processor time of a cycle";

/// Beside Go's `concurrency`, and beside the same transactions by bare stubs on one connection.
pub(crate) async fn measure(bench: &Bench, report: &mut Report, tasks: usize) {
    let go = bench.go.as_deref();
    let go = go.expect("`cargo xtask bench` builds Go's program and names it with --go");
    let own = std::env::current_exe().unwrap();
    let (mut with_go, mut with_bare) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let go = async || run(bench, go, None, tasks).await;
        let ours = async || run(bench, &own, Some("distinct"), tasks).await;
        let bare = async || run(bench, &own, Some("distinct-bare"), tasks).await;
        let (go, ours, bare) = between(round, go, ours, bare).await;
        with_go.push((ours, go));
        with_bare.push((ours, bare));
    }
    for (what, unit, value) in COLUMNS {
        for (peer, sides, must) in [
            ("Go's client", &with_go, beside_go(tasks, what)),
            ("bare stubs", &with_bare, beside_bare(tasks, what)),
        ] {
            let mut rounds = Rounds::default();
            for (ours, reference) in sides {
                rounds.push((value(ours), value(reference)));
            }
            report.add(Row {
                measure: format!("{what}, distinct locks of {tasks} tasks, beside {peer}"),
                unit,
                rounds,
                must,
            });
        }
    }
}

/// The bar beside Go's client.
fn beside_go(tasks: usize, what: &str) -> Must {
    match (what, tasks) {
        (CYCLES, 1) => Must::AtLeast(0.95),
        (CYCLES, 8) => Must::AtLeast(1.2),
        (CYCLES, 64) => Must::AtLeast(2.5),
        (CYCLES, 256) => Must::AtLeast(4.0),
        (P99, 256) => Must::AtMost(1.0),
        (ETCDS_TIME, 256) => Must::AtMost(1.0 / 3.0),
        _ => Must::Tell,
    }
}

/// The bar beside bare stubs.
fn beside_bare(tasks: usize, what: &str) -> Must {
    match (what, tasks) {
        (CYCLES, 1 | 8 | 64 | 256) => Must::AtLeast(0.9),
        _ => Must::Tell,
    }
}

async fn run(bench: &Bench, program: &Path, worker: Option<&str>, tasks: usize) -> Done {
    let (tasks, seconds) = (tasks.to_string(), SECONDS.to_string());
    let arguments = [bench.etcd.endpoint.as_str(), &tasks, &seconds];
    let arguments: Vec<_> = worker.into_iter().chain(arguments).collect();
    cycles::of(program, &arguments, &bench.etcd).await
}
