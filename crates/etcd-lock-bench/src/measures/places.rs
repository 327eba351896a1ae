//! The same cycles where a proposal takes longer than in memory: on a disk, on one that syncs slowly, and on three members.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use etcd_lock_testkit::real_etcd::Setup;

use super::Bench;
use super::distinct::{CYCLES, Column, MEDIAN, P99, tasks};
use crate::etcd::{Etcd, Syncs};
use crate::report::{Must, Report, Row};
use crate::rounds::Rounds;
use crate::sides::{self, Round, Side};

/// How long each program is watched, in seconds. A cycle may take two slow syncs, and a hundred of them have one 99th
/// percentile.
const SECONDS: u64 = 5;

const COLUMNS: [Column; 3] = [
    (CYCLES, "1/s", |done| done.rate),
    (MEDIAN, "µs", |done| done.median),
    (P99, "µs", |done| done.p99),
];

/// Where etcd keeps its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Disk,
    /// Each sync takes so many milliseconds longer.
    SlowDisk(u32),
    /// In the memory of each.
    ThreeMembers,
}

/// Beside Go's client.
pub(crate) async fn measure(bench: &Bench, report: &mut Report, place: Place, tasks: usize) {
    let mut process = place.setup().start().await;
    let sync = place.expected_sync(bench).await;
    let (mut rounds, mut syncs) = (Vec::new(), Rounds::default());
    for number in 0..bench.rounds {
        let before = Syncs::of(&process).await;
        let etcd = Etcd::beginning_with(&mut process, number);
        let one = async |side| sides::cycles(side, &bench.peers, &etcd, (tasks, SECONDS)).await;
        rounds.push(Round::run(number, &[Side::Go, Side::Ours], one).await);
        if let Some(expected) = &sync {
            let took = Syncs::of(&process).await.mean_since(before);
            syncs.push((took, expected.milliseconds));
        }
    }
    let tasks = self::tasks(tasks);
    for (what, unit, value) in COLUMNS {
        report.add(Row {
            measure: format!("{what}, distinct locks of {tasks} {place}, beside Go's client"),
            unit,
            rounds: sides::beside(&rounds, Side::Go, value),
            must: match what {
                CYCLES => Must::Tell,
                _ => Must::AtMost(1.0),
            },
        });
    }
    if let Some(Sync { beside, must, .. }) = sync {
        report.add(Row {
            measure: format!("sync of etcd's log, {tasks} {place}, beside {beside}"),
            unit: "ms",
            rounds: syncs,
            must,
        });
    }
}

/// How long etcd should take to sync its log, by its own metrics.
struct Sync {
    milliseconds: f64,
    beside: &'static str,
    must: Must,
}

impl Place {
    fn setup(self) -> Setup {
        let setup = Setup::new();
        match self {
            Self::Disk => setup.data_in(disk()),
            Self::SlowDisk(milliseconds) => {
                let by = Duration::from_millis(milliseconds.into());
                setup.data_in(disk()).slower_syncs(by)
            }
            Self::ThreeMembers => setup.members(3),
        }
    }

    /// A delay that isn't there would go unnoticed otherwise.
    async fn expected_sync(self, bench: &Bench) -> Option<Sync> {
        match self {
            Self::Disk => Some(Sync {
                milliseconds: Syncs::of(&bench.process).await.mean(),
                beside: "one in memory",
                must: Must::Tell,
            }),
            Self::SlowDisk(milliseconds) => Some(Sync {
                milliseconds: milliseconds.into(),
                beside: "the delay",
                must: Must::AtLeast(1.0),
            }),
            Self::ThreeMembers => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk => f.write_str("on a disk"),
            Self::SlowDisk(milliseconds) => write!(f, "on a disk that syncs in {milliseconds} ms"),
            Self::ThreeMembers => f.write_str("on three members"),
        }
    }
}

/// Where this program was built, which is on a disk as a rule: the time of a sync tells.
fn disk() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.parent().unwrap().to_owned()
}
