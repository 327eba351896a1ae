//! The explored state machine of the lock: nothing breaks it within small bounds, and bugs of a driver do.
//! `cargo xtask model` explores larger ones.

use etcd_lock_testkit::checker::Rule;
use etcd_lock_testkit::explorer::walk::{Plan, walk};
use etcd_lock_testkit::explorer::{Bounds, Bug, explore, explore_bug};

fn assert_kept(bounds: Bounds) {
    let report = explore(bounds);
    assert!(report.is_good(), "{report:#?}");
}

#[test]
fn two_clients_with_one_fault_keep_the_promises() {
    assert_kept(Bounds::new(&[&[&[1]], &[&[1]]], 1, 0));
}

#[test]
fn two_sessions_of_one_client_with_one_fault_keep_the_promises() {
    assert_kept(Bounds::new(&[&[&[1], &[1]]], 1, 0));
}

#[test]
fn two_tasks_of_one_session_with_one_fault_keep_the_promises() {
    assert_kept(Bounds::new(&[&[&[1, 1]]], 1, 0).with_writes());
}

#[test]
fn each_bug_of_a_driver_breaks_a_property() {
    let broken = Bug::ALL.map(|bug| {
        let report = explore_bug(bug);
        let broken = report.counterexamples.first();
        let broken = broken.unwrap_or_else(|| panic!("{bug:?} was not noticed"));
        (bug, broken.property)
    });
    let seen = "seen: a granted entry was seen of late";
    let head = "head: a granted entry is the head";
    let expected = [
        (Bug::ConfirmedFromReceipt, seen),
        (Bug::GrantWithoutOwnEntry, seen),
        (Bug::HandOverUnconfirmed, seen),
        (Bug::SnapshotOlderThanEntry, head),
        (Bug::WatchAsEvidence, seen),
    ];
    assert_eq!(broken, expected);
}

/// Whether a walk behind a driver with a bug breaks a rule.
fn is_broken(bug: Bug, rules: &[Rule]) -> bool {
    (0..2_000).any(|seed| {
        let violations = walk(&Plan::of(seed).with_bug(bug)).violations;
        let mut broken = violations.iter().map(|violation| violation.rule);
        broken.any(|rule| rules.contains(&rule))
    })
}

/// The other bugs stay within the bounds that the checker allows, or need more walks.
#[test]
fn bugs_of_a_driver_break_rules_of_the_checker_in_walks() {
    let claims = [Rule::Order, Rule::Exclusion];
    assert!(is_broken(Bug::SnapshotOlderThanEntry, &claims));
    assert!(is_broken(Bug::WatchAsEvidence, &claims));
}
