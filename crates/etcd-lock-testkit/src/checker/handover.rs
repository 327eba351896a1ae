//! Others are passed over within the limit.
//!
//! While others wait, a session hands a lock over at most so often in a row. Whether others wait is asked early, so that the answer is there when the limit is reached:
//! for those who come just after that the limit counts twice, as `SessionOptions::with_handover_limit` documents.

use std::collections::BTreeMap;

use super::report::Report;
use super::state::State;
use super::{Rule, Violation};
use crate::history::{Entry, Fact};

/// For each entry that waits, how often it was passed over in a row under one hold of etcd's, and under which.
#[derive(Clone, Debug, Default)]
pub(super) struct HandOvers(BTreeMap<(String, Entry), (Entry, u64)>);

impl HandOvers {
    pub(super) fn check(&mut self, state: &State, fact: &Fact, report: &mut Report) {
        let Fact::Granted { grant, limit, .. } = fact else {
            return;
        };
        let Some(of) = state.grants.get(grant).filter(|of| of.handover > 0) else {
            return;
        };
        report.mark("hand-over");
        // It asks by a read whether others wait: one that is lost, or answered by a member that is behind, can't tell it.
        if state.quiet_since(of.client.process) > state.now {
            return;
        }
        let lock = state.lock(&of.lock);
        // Behind an entry that is gone others come on, which the bounds of claims see to.
        if !lock.queue.contains_key(&of.entry) {
            return;
        }
        for (waiting, _) in lock.queue.range(of.entry.clone()..).skip(1) {
            let place = (of.lock.clone(), waiting.clone());
            let (under, times) = self.0.entry(place).or_insert_with(|| (of.entry.clone(), 0));
            *times = if *under == of.entry { *times + 1 } else { 1 };
            *under = of.entry.clone();
            if *times > limit * 2 {
                let created = waiting.created;
                let text = format!(
                    "the entry of revision {created} was passed over {times} times, the limit is {limit}"
                );
                let violation = Violation::new(Rule::HandOver, state.now, text);
                report.violated(violation.by(of.client).of_entry(&of.lock, &of.entry));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule::HandOver;

    /// Somebody waits while a session with a limit of 2 hands over so often.
    fn handed_over(times: u64) -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(2, 6);
        case.granted(1, 5);
        for handover in 1..=times {
            case.handed_over(1, 5, handover);
        }
        case
    }

    #[test]
    fn twice_the_limit_is_allowed_and_no_more() {
        handed_over(4).finds(&[]);
        handed_over(5).finds(&[HandOver]);
    }

    #[test]
    fn where_nobody_waits_nobody_is_passed_over() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        for handover in 1..=9 {
            case.handed_over(1, 5, handover);
        }
        case.finds(&[]);
    }

    #[test]
    fn hand_overs_count_again_when_the_disturbance_is_over() {
        let after = |disturbed, undisturbed| {
            let mut case = Case::new();
            case.enters(1, 5);
            case.enters(2, 6);
            case.granted(1, 5);
            case.disturbs(SECOND);
            for handover in 1..=disturbed {
                case.handed_over(1, 5, handover);
            }
            case.passes(2 * SECOND);
            for handover in 1..=undisturbed {
                case.handed_over(1, 5, disturbed + handover);
            }
            case.rules()
        };
        assert_eq!(after(9, 4), []);
        assert_eq!(after(9, 5), [HandOver]);
    }
}
