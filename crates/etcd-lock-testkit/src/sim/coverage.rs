//! The faults and branches that a run of many seeds must come through: where one is never reached, that nothing was found there says nothing.

use super::Stats;

/// How many seeds reach everything.
const ENOUGH: u64 = 10_000;

/// Each kind of fault.
const FAULTS: [&str; 38] = [
    "clock jumped",
    "compaction",
    "crash",
    "delay",
    "duplicate",
    "etcdserver: invalid auth token",
    "etcdserver: mvcc: database space exceeded",
    "etcdserver: no leader",
    "etcdserver: permission denied",
    "etcdserver: request timed out",
    "etcdserver: too many requests",
    "event lost",
    "executed late",
    "foreign entry",
    "group",
    "key deleted",
    "leader change",
    "lease revoked",
    "member behind",
    "partition",
    "pause",
    "reply lost",
    "request cut",
    "request lost",
    "request refused",
    "request timed out",
    "server restart",
    "server stall",
    "stale read",
    "streams broken",
    "streams cut",
    "streams ended",
    "streams stalled",
    "watch cancelled",
    "watches delayed",
    "watches delayed from their start",
    "watches refused",
    "watches restarted",
];

/// Each rule's occasion, each kind of error, each exemption.
const MARKS: [&str; 19] = [
    "claim of an entry that is there",
    "claim that outlives its entry",
    "deletion by a client",
    "entry that comes after one that was withdrawn",
    "fenced write",
    "grant",
    "grant behind entries that its client has given up",
    "grant of an entry that is gone",
    "hand-over",
    "loss",
    "wait that fails as busy",
    "wait that fails as closed",
    "wait that fails as lost",
    "wait that fails as unavailable",
    "wait that fails without its lease",
    "wait that times out",
    "write of unknown outcome",
    "write that fails",
    "write that is refused",
];

/// The faults and branches that runs as long as these should have reached and did not: none where they were too few to tell.
#[must_use]
pub fn unreached(stats: &Stats) -> Vec<&'static str> {
    if stats.seeds < ENOUGH {
        return Vec::new();
    }
    let faults = FAULTS
        .iter()
        .filter(|fault| !stats.faults.contains_key(*fault));
    let marks = MARKS.iter().filter(|mark| !stats.marks.contains_key(*mark));
    faults.chain(marks).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_that_reached_nothing_is_told_so_and_a_short_one_is_not() {
        let mut stats = Stats {
            seeds: ENOUGH,
            ..Stats::default()
        };
        assert_eq!(unreached(&stats).len(), FAULTS.len() + MARKS.len());
        stats.marks.insert("grant", 1);
        assert_eq!(unreached(&stats).len(), FAULTS.len() + MARKS.len() - 1);
        stats.seeds = ENOUGH - 1;
        assert!(unreached(&stats).is_empty());
    }
}
