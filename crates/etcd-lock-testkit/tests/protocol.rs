//! The model of the lock protocol: nothing breaks it within small bounds, and deliberate bugs do. `cargo xtask model` checks
//! larger ones.

use etcd_lock_testkit::protocol::{Bounds, Bug, check, check_bug};

#[test]
fn the_protocol_keeps_its_promises() {
    for one_client in [0, 2] {
        let mut bounds = Bounds::small();
        bounds.one_client = one_client;
        let report = check(bounds);
        assert!(report.is_good(), "{report:#?}");
    }
}

/// The property that a bug breaks.
fn broken_by(bug: Bug) -> &'static str {
    let report = check_bug(Bounds::small(), bug);
    let (property, _) = report
        .counterexample
        .unwrap_or_else(|| panic!("{bug:?} was not noticed"));
    property
}

#[test]
fn a_deletion_without_compare_ends_a_later_hold() {
    assert_eq!(
        broken_by(Bug::DeleteWithoutCompare),
        "who holds under a living lease is first"
    );
}

#[test]
fn a_retry_under_the_same_key_loses_its_hold() {
    assert_eq!(
        broken_by(Bug::RetryUnsettled),
        "who holds under a living lease is first"
    );
}

#[test]
fn a_forgotten_withdrawal_leaves_its_entry() {
    assert_eq!(
        broken_by(Bug::WithdrawalForgotten),
        "no entry is left behind"
    );
}

#[test]
fn a_forgotten_repeat_leaves_its_entry() {
    assert_eq!(broken_by(Bug::RepeatForgotten), "no entry is left behind");
}

#[test]
fn a_write_without_an_answer_comes_after_the_lock_was_passed_on() {
    assert_eq!(
        broken_by(Bug::PassedOnInDoubt),
        "writes commit under the current grant"
    );
}

#[test]
fn a_write_without_compare_comes_after_the_grant() {
    assert_eq!(
        broken_by(Bug::WriteWithoutCompare),
        "writes commit under the current grant"
    );
}
