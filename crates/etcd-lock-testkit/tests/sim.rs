//! The simulation itself: it repeats, and it finds nothing in a few seeds. `cargo xtask sim` runs many, and shows that it
//! finds deliberate bugs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use etcd_lock_testkit::seeds;
use etcd_lock_testkit::sim::{Scenario, Stats, mended, run, trace};

#[test]
fn a_seed_repeats_to_the_letter_and_seeds_differ() {
    let mut hashes = BTreeSet::new();
    for seed in 0..40 {
        let scenario = Scenario::of(seed);
        assert_eq!(scenario, Scenario::of(seed));
        let (first, second) = (trace(&scenario), trace(&scenario));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.hash, run(&scenario).hash);
        hashes.insert(first.hash);
    }
    assert_eq!(hashes.len(), 40);
}

#[test]
fn no_violation_in_the_first_seeds_and_in_those_of_the_commit() {
    let mut stats = Stats::default();
    let fresh = seeds::fresh();
    for seed in (0..100).chain(fresh..fresh + 50) {
        let outcome = run(&Scenario::of(seed));
        let violation = outcome.violation();
        assert_eq!(violation, None, "cargo xtask sim --replay {seed}");
        stats.add(&outcome.stats);
    }
    // Runs in which nothing happens would find nothing either.
    let marks = |mark| stats.marks.get(mark).copied().unwrap_or(0);
    assert!(marks("grant") > 150 && marks("hand-over") > 15 && marks("fenced write") > 150);
    for kind in [
        "compaction",
        "crash",
        "delay",
        "duplicate",
        "key deleted",
        "lease revoked",
        "partition",
        "pause",
        "reply lost",
        "request lost",
        "request refused",
        "server restart",
        "server stall",
        "streams cut",
    ] {
        assert!(stats.faults.contains_key(kind), "no {kind}");
    }
}

#[test]
fn every_scenario_of_a_mended_defect_breaks_no_rule() {
    for case in mended() {
        let outcome = run(&case.scenario);
        let name = case.name;
        assert_eq!(outcome.violation(), None, "sim --mended {name}");
    }
}
