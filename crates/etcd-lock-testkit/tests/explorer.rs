//! The explored state machine of the lock: nothing breaks it within small bounds. `cargo xtask model` explores larger ones,
//! and shows that each bug of a driver breaks the property that it must.

use etcd_lock_testkit::checker::Rule;
use etcd_lock_testkit::explorer::walk::{Plan, walk};
use etcd_lock_testkit::explorer::{Bounds, Bug, explore};

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
