//! The in-memory etcd's model answers as a real etcd does. `cargo xtask differential` compares for longer.

use std::path::Path;

use etcd_lock_memory::model::Version;
use etcd_lock_testkit::differential::Comparison;
use etcd_lock_testkit::{real_etcd, seeds};

/// Some twenty seconds' worth: half of them the same in each run, half the commit's.
const SEQUENCES: u64 = 150;

#[test]
fn the_model_answers_as_the_etcd_under_test() {
    agrees(&real_etcd::default_program());
}

#[test]
fn the_model_answers_as_etcd_3_5() {
    agrees(&real_etcd::program_35());
}

/// Were the comparison blind, it would find nothing here either: the versions differ in what a lock answers whose lease
/// ended during the wait.
#[test]
fn a_model_of_another_version_is_found_out() {
    let comparison = Comparison::with(real_etcd::program_35()).with_model(Version::V3_4);
    let report = comparison.sequences(10 * SEQUENCES);
    println!("{report}");
    let mismatch = report.mismatch.expect("a difference between 3.4 and 3.5");
    assert!(
        mismatch.difference.contains("session is expired"),
        "{mismatch}"
    );
}

fn agrees(etcd: &Path) {
    for seed in [0, seeds::fresh()] {
        let report = Comparison::with(etcd)
            .from_seed(seed)
            .sequences(SEQUENCES / 2);
        println!("{report}");
        assert!(report.mismatch.is_none(), "{report}");
    }
}
