//! The cost of keeping many sessions of one process alive.

use tokio::time::{Instant, sleep};

use super::Bench;
use crate::etcd::renewals;
use crate::processes::Process;
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn};
use crate::sessions::{COUNT, INTERVAL};
use crate::usage::micros;

/// What a process did while each lease was due twice.
struct Kept {
    /// Keep-alives a second, as etcd counts them.
    rate: f64,
    /// Its processor time for one, in microseconds.
    own_time: f64,
    /// That of etcd.
    etcds_time: f64,
}

/// Beside bare keep-alives of as many leases on one stream. Few rounds, since so many sessions take long to open.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let bound = COUNT as f64 / INTERVAL.as_secs_f64();
    let (mut rates, mut beside_bare) = (Rounds::default(), Rounds::default());
    let (mut own, mut etcds) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds.min(3) {
        let (ours, bare) = in_turn(
            round,
            async || keep(bench, "sessions").await,
            async || keep(bench, "sessions-bare").await,
        )
        .await;
        rates.push((ours.rate, bound));
        beside_bare.push((ours.rate, bare.rate));
        own.push((ours.own_time, bare.own_time));
        etcds.push((ours.etcds_time, bare.etcds_time));
    }
    for (what, beside, unit, rounds) in [
        ("keep-alives", "three in each time to live", "1/s", rates),
        ("keep-alives", BARE, "1/s", beside_bare),
        ("own processor time of a keep-alive", BARE, "µs", own),
        ("etcd's processor time of a keep-alive", BARE, "µs", etcds),
    ] {
        report.add(Row {
            measure: format!("{what}, 10,000 sessions of one process, beside {beside}"),
            unit,
            rounds,
            must: Must::Tell,
        });
    }
}

/// The floor.
const BARE: &str = "bare keep-alives on one stream";

async fn keep(bench: &Bench, worker: &str) -> Kept {
    let mut process = Process::start(&[worker, &bench.etcd.endpoint]);
    process.wait_until_ready();
    process.go();
    // The first keep-alive of a session is due only now.
    sleep(INTERVAL).await;
    let (renewed, etcds) = (renewals(&bench.process).await, bench.etcd.processor());
    let (begun, used) = (Instant::now(), process.count());
    sleep(2 * INTERVAL).await;
    let (took, used) = (begun.elapsed(), process.count() - used);
    let etcds = bench.etcd.processor() - etcds;
    let renewed = renewals(&bench.process).await - renewed;
    process.stop();
    Kept {
        rate: renewed / took.as_secs_f64(),
        own_time: used as f64 / renewed,
        etcds_time: micros(etcds) / renewed,
    }
}
