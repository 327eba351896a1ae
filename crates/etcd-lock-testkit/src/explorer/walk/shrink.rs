//! Making a failing walk short: steps that it fails without are dropped.

use super::{Outcome, Plan, Taken, replay};
use crate::checker::Rule;

/// Drops steps, many at once first, for as long as the walk still ends in a violation of the same rule.
#[must_use]
pub fn shrink(plan: &Plan, outcome: &Outcome) -> Outcome {
    let Some(rule) = outcome.violations.first().map(|violation| violation.rule) else {
        return outcome.clone();
    };
    let mut best = outcome.steps.clone();
    let mut size = best.len().div_ceil(2);
    while size > 0 {
        best = drop_pieces(plan, best, size, rule);
        size = match size {
            1 => 0,
            size => size.div_ceil(2),
        };
    }
    replay(plan, &best, true)
}

/// Drops pieces of one size from the end on, until none of them can be dropped any more.
fn drop_pieces(plan: &Plan, mut steps: Vec<Taken>, size: usize, rule: Rule) -> Vec<Taken> {
    loop {
        let before = steps.len();
        let mut end = steps.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut fewer = steps.clone();
            fewer.drain(start..end);
            let outcome = replay(plan, &fewer, false);
            let mut violations = outcome.violations.iter();
            if violations.any(|violation| violation.rule == rule) {
                // Steps that can't be taken any more are dropped, too.
                steps = outcome.steps;
            }
            end = start.min(steps.len());
        }
        if steps.len() == before {
            return steps;
        }
    }
}
