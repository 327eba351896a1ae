//! The kinds of steps and the branches that walks have come through, and those that they must.

use std::collections::BTreeMap;

use super::super::step::Step;
use super::faults::kind;

/// How many walks reach everything.
const ENOUGH: u64 = 10_000;

/// Each kind of step that a run takes.
const STEPS: [&str; 22] = [
    "attempt",
    "cancelled",
    "client lags",
    "client sleeps",
    "deletion doubled",
    "entry deleted",
    "event lost",
    "event repeated",
    "executed late",
    "late heartbeat",
    "lease found ended",
    "lease not kept",
    "lease revoked",
    "negative lease",
    "position asked",
    "request fails",
    "session closed",
    "stranger enters",
    "stranger leaves",
    "timer misfires",
    "watch lost",
    "write in doubt",
];

/// Each occasion of a rule that the machine gives: it withdraws no entry that a caller wants.
const MARKS: [&str; 13] = [
    "claim of an entry that is there",
    "claim that outlives its entry",
    "deletion by a client",
    "fenced write",
    "grant",
    "grant behind entries that its client has given up",
    "grant of an entry that is gone",
    "hand-over",
    "loss",
    "wait that fails as busy",
    "wait that fails as lost",
    "write of unknown outcome",
    "write that is refused",
];

/// Counts of the steps and the branches that walks have come through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// How many there were.
    pub walks: u64,
    /// Steps, by their kinds.
    pub steps: BTreeMap<&'static str, u64>,
    /// Branches of the checker's rules.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Counts the walks of another.
    pub fn add(&mut self, other: &Self) {
        self.walks += other.walks;
        for (kind, count) in &other.steps {
            *self.steps.entry(kind).or_default() += count;
        }
        self.add_marks(&other.marks);
    }

    pub(super) fn add_marks(&mut self, marks: &BTreeMap<&'static str, u64>) {
        for (mark, count) in marks {
            *self.marks.entry(mark).or_default() += count;
        }
    }

    pub(super) fn count(&mut self, step: &Step) {
        *self.steps.entry(kind(step)).or_default() += 1;
    }
}

/// The kinds of steps and the branches that many walks should have reached and did not: none where they were too few to tell.
#[must_use]
pub fn unreached(stats: &Stats) -> Vec<&'static str> {
    if stats.walks < ENOUGH {
        return Vec::new();
    }
    let steps = STEPS.iter().filter(|step| !stats.steps.contains_key(*step));
    let marks = MARKS.iter().filter(|mark| !stats.marks.contains_key(*mark));
    steps.chain(marks).copied().collect()
}
