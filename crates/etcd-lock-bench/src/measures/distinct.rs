//! The common case: each task has a lock of its own.

use super::Bench;
use crate::report::{Must, Report, Row};
use crate::sides::{self, Done, Round, Side};

/// How long each program is watched, in seconds.
const SECONDS: u64 = 2;

/// Ours in the middle, beside which the others take turns.
const SIDES: [Side; 5] = [
    Side::Go,
    Side::EtcdClient,
    Side::Ours,
    Side::V3lock,
    Side::Bare,
];

/// A column of the table: its name, its unit, and its value.
pub(super) type Column = (&'static str, &'static str, fn(&Done) -> f64);

const COLUMNS: [Column; 5] = [
    (CYCLES, "1/s", |done| done.rate),
    (MEDIAN, "µs", |done| done.median),
    (P99, "µs", |done| done.p99),
    (ETCDS_TIME, "µs", |done| done.etcds_time),
    (OWN_TIME, "µs", |done| done.own_time),
];
pub(crate) const CYCLES: &str = "cycles";
pub(super) const MEDIAN: &str = "median cycle";
pub(super) const P99: &str = "99th percentile of cycles";
const ETCDS_TIME: &str = "etcd's processor time of a cycle";
const OWN_TIME: &str = "own processor time of a cycle";

/// Beside other clients, and beside the same transactions by bare stubs on one connection.
pub(crate) async fn measure(bench: &Bench, report: &mut Report, tasks: usize) {
    let one = async |side| sides::cycles(side, &bench.peers, &bench.etcd, (tasks, SECONDS)).await;
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::run(number, &SIDES, one).await);
    }
    for (what, unit, value) in COLUMNS {
        for peer in [Side::Go, Side::EtcdClient, Side::V3lock, Side::Bare] {
            report.add(Row {
                measure: name(what, tasks, peer),
                unit,
                rounds: sides::beside(&rounds, peer, value),
                must: bar(peer, what, tasks),
            });
        }
    }
}

/// The name of a row.
pub(crate) fn name(what: &str, tasks: usize, peer: Side) -> String {
    let tasks = self::tasks(tasks);
    format!("{what}, distinct locks of {tasks}, beside {}", peer.name())
}

fn bar(peer: Side, what: &str, tasks: usize) -> Must {
    match (peer, what, tasks) {
        (Side::Go, CYCLES, 1) => Must::AtLeast(0.95),
        (Side::Go, CYCLES, 8) => Must::AtLeast(1.2),
        (Side::Go, CYCLES, 64) => Must::AtLeast(2.5),
        (Side::Go, CYCLES, 256) => Must::AtLeast(4.0),
        (Side::Go, P99, 256) => Must::AtMost(1.0),
        (Side::Go, ETCDS_TIME, 256) => Must::AtMost(1.0 / 3.0),
        (Side::Bare, OWN_TIME, 256) => Must::AtMost(1.0),
        (Side::Bare, CYCLES, 1 | 8 | 64 | 256) => Must::AtLeast(0.9),
        _ => Must::Tell,
    }
}

/// So many tasks, in words.
pub(super) fn tasks(count: usize) -> String {
    match count {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    }
}
