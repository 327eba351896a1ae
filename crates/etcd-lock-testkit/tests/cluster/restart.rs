//! Members are restarted one after the other, as for an upgrade.

use crate::support::Load;
use crate::{Report, Stage, Version};

scenarios! {
    all_members_restarted_in_turn_during_200_contended_cycles_no_call_fails_and_no_session_is_lost
}

const CALLERS: usize = 4;
const CYCLES: usize = 200;

async fn all_members_restarted_in_turn_during_200_contended_cycles_no_call_fails_and_no_session_is_lost(
    version: Version,
) {
    let report = Report::of("all members restarted in turn under load", version);
    let mut stage = Stage::start(version).await;
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(stage.caller().await);
    }
    let load = Load::start("a", callers);
    load.reach(CYCLES / 4).await;
    for member in 0..3 {
        stage.etcd.members()[member].terminate().await;
        stage.etcd.members()[member].restart().await;
        // Some cycles on the cluster as it is now.
        let so_far = load.cycles();
        load.reach(so_far + CYCLES / 4).await;
    }
    let outcome = load.stop().await;
    assert!(outcome.successes.len() >= CYCLES);
    assert_eq!(outcome.sessions_lost, 0);
    // A write in doubt is its caller's to settle; nothing else may fail.
    let wrong = |error: &&etcd_lock_core::Error| !error.is_outcome_unknown();
    let wrong: Vec<_> = outcome.failures.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    stage.has_entries("a", 0).await;
    let callers = format!(
        "{} cycles of {CALLERS} callers, {} writes in doubt",
        outcome.successes.len(),
        outcome.failures.len()
    );
    report.recovered(&callers, outcome.longest_gap());
}
