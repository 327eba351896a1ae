//! Making a failing scenario small: every part without which it still fails is left out.

use super::scenario::{Net, Scenario, Step};
use super::{Outcome, run};
use crate::checker::Rule;

/// Leaves out processes, tasks, steps, faults and bad luck of the network for as long as a run still ends in a violation
/// of the same rule. The smallest scenario that was found, and how it ends.
#[must_use]
pub fn shrink(scenario: &Scenario) -> (Scenario, Outcome) {
    let mut best = scenario.clone();
    let mut outcome = run(&best);
    let Some(rule) = broken(&outcome) else {
        return (best, outcome);
    };
    loop {
        let smaller = candidates(&best).into_iter().find_map(|candidate| {
            let outcome = run(&candidate);
            (broken(&outcome) == Some(rule)).then_some((candidate, outcome))
        });
        let Some((smaller, its_outcome)) = smaller else {
            return (best, outcome);
        };
        (best, outcome) = (smaller, its_outcome);
    }
}

/// The rule that is broken first.
fn broken(outcome: &Outcome) -> Option<Rule> {
    outcome.violation().map(|violation| violation.rule)
}

/// All scenarios that are smaller by one thing, the greatest savings first. Numbers of processes stay what they are.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        if smaller != *scenario {
            candidates.push(smaller);
        }
    };
    for (number, process) in scenario.processes.iter().enumerate() {
        offer(&|smaller| smaller.processes[number].tasks.clear());
        for (task, steps) in process.tasks.iter().enumerate() {
            offer(&|smaller| smaller.processes[number].tasks[task].clear());
            for step in 0..steps.len() {
                offer(&|smaller| {
                    smaller.processes[number].tasks[task].remove(step);
                });
            }
        }
        offer(&|smaller| smaller.processes[number].clock_ppm = 1_000_000);
    }
    for fault in 0..scenario.faults.len() {
        offer(&|smaller| {
            smaller.faults.remove(fault);
        });
    }
    offer(&|smaller| smaller.net = Net::default());
    offer(&|smaller| smaller.net.delay = 0);
    offer(&|smaller| smaller.net.duplicate = 0);
    offer(&|smaller| smaller.net.lose_reply = 0);
    offer(&|smaller| smaller.net.lose_request = 0);
    offer(&|smaller| smaller.net.refuse = 0);
    offer(&|smaller| smaller.net.strand = 0);
    for (number, process) in scenario.processes.iter().enumerate() {
        for (task, steps) in process.tasks.iter().enumerate() {
            for step in 0..steps.len() {
                offer(&|smaller| simplify(&mut smaller.processes[number].tasks[task][step]));
            }
        }
    }
    candidates
}

fn simplify(step: &mut Step) {
    if let Step::Acquire(acquire) = step {
        acquire.writes = 0;
        acquire.hold_ms = acquire.hold_ms.min(10);
    }
}
