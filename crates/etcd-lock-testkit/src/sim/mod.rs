//! A simulated world: processes with the real sessions, mutexes and queues, each on a runtime and a clock of its own; a
//! network that loses, delays and doubles; the in-memory etcd's model; and a checker that knows what the server did.
//!
//! One [`Scenario`] runs the same way each time, on one thread. [`Scenario::of`] makes one from a seed.
//!
//! | part | what it is |
//! | --- | --- |
//! | `scenario` | programs and faults as data |
//! | `process`, `hub`, `transport` | a runtime that is run step by step, and its way out |
//! | `program` | the steps that run in it |
//! | `world`, `hosts` | time, one event after the other; the places where processes live |
//! | `network`, `faults`, `ending` | the fate of requests; of everything else; the end of a run |
//! | `streams`, `cluster` | faults of streams, watches and clocks; of the server and by strangers |
//! | `server` | the model of etcd |
//! | `notes`, `claims`, `records`, `log` | the notes and claims of processes, the history that [`checker`](crate::checker) judges, the trace |
//! | `mended` | scenarios in which something once went wrong |
//! | `coverage` | the faults and branches that a long run must have come through |
//! | `shrink` | the smallest scenario that still fails |

mod claims;
mod cluster;
mod coverage;
mod ending;
mod faults;
mod hosts;
mod hub;
mod log;
mod mended;
mod network;
mod notes;
mod panics;
mod process;
mod program;
mod records;
mod scenario;
mod server;
mod shrink;
mod streams;
mod transport;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::checker::Violation;
use crate::history::Record;

pub use self::coverage::unreached;
pub use self::mended::{Mended, mended};
pub use self::scenario::Scenario;
pub use self::shrink::shrink;
use self::world::World;

/// How a run ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The violations, in the order in which they were noticed. The run ends at the first.
    pub violations: Vec<Violation>,
    /// A hash of everything that happened.
    pub hash: u64,
    /// Everything that happened, line by line, where that was asked for.
    pub trace: Vec<String>,
    /// The same as data, where that was asked for.
    pub history: Vec<Record>,
    /// Counts of what was seen.
    pub stats: Stats,
}

impl Outcome {
    /// The first violation, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violations.first()
    }
}

/// Numbers of one run, or of many.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// How many runs.
    pub seeds: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Branches of the checker's rules, by what they are about.
    pub marks: BTreeMap<&'static str, u64>,
    simulated: u64,
}

impl Stats {
    /// How much time has passed in the simulated worlds.
    #[must_use]
    pub const fn simulated(&self) -> Duration {
        Duration::from_micros(self.simulated)
    }

    /// Adds the numbers of other runs.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        add(&mut self.faults, &other.faults);
        add(&mut self.marks, &other.marks);
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }
}

fn add<K: Copy + Ord>(to: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (kind, count) in other {
        *to.entry(*kind).or_default() += count;
    }
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    simulate(scenario, false)
}

/// Runs a scenario, and keeps a line for each thing that happens.
#[must_use]
pub fn trace(scenario: &Scenario) -> Outcome {
    simulate(scenario, true)
}

fn simulate(scenario: &Scenario, keep_lines: bool) -> Outcome {
    // Sessions choose their leases, and pauses their lengths, with the thread's generator.
    fastrand::seed(scenario.seed);
    panics::watch();
    let outcome = World::new(scenario, keep_lines).run();
    panics::forget();
    outcome
}
