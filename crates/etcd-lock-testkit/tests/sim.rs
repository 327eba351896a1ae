//! The simulation itself: it repeats, and it finds nothing in a few seeds. `cargo xtask sim` runs many, and shows that it
//! finds deliberate bugs.

#![allow(clippy::unwrap_used, reason = "tests")]

use etcd_lock_testkit::seeds;
use etcd_lock_testkit::sim::{Scenario, Stats, expected, run, trace};

#[test]
fn a_seed_repeats_to_the_letter() {
    for seed in 0..40 {
        let scenario = Scenario::of(seed);
        assert_eq!(scenario, Scenario::of(seed));
        let (first, second) = (trace(&scenario), trace(&scenario));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.hash, run(&scenario).hash);
    }
}

#[test]
fn seeds_differ() {
    let hashes: std::collections::BTreeSet<_> =
        (0..40).map(|seed| run(&Scenario::of(seed)).hash).collect();
    assert_eq!(hashes.len(), 40);
}

#[test]
fn no_violation_in_the_first_seeds_and_in_those_of_the_commit() {
    let mut stats = Stats::default();
    let fresh = seeds::fresh();
    for seed in (0..150).chain(fresh..fresh + 150) {
        let outcome = run(&Scenario::of(seed));
        let unexplained = outcome.unexplained();
        assert_eq!(unexplained, None, "cargo xtask sim --replay {seed}");
        stats.add(&outcome.stats);
    }
    // Runs in which nothing happens would find nothing either.
    let marks = |mark| stats.marks.get(mark).copied().unwrap_or(0);
    assert!(marks("grant") > 300 && marks("hand-over") > 30 && marks("fenced write") > 300);
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

/// Each known defect is seen in its own scenario, and nothing else is. Where one is mended this fails: its scenario must become a plain one, and the finding go.
#[test]
fn every_finding_breaks_its_rule_in_its_scenario_and_no_other() {
    for case in expected() {
        let outcome = run(&case.scenario);
        let found = &outcome.violations;
        let is_first = found.first().is_some_and(|first| first.rule == case.rule);
        let mut explained = found.iter().map(|violation| violation.finding);
        let only = explained.all(|finding| finding == Some(case.finding));
        assert!(is_first && only, "{:?}: {found:#?}", case.finding);
    }
}
