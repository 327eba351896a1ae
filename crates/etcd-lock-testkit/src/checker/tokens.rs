//! Every grant has a greater token than all before.
//!
//! A grant under an entry that is gone, within the bounds of [`bounds`](super::bounds), may come after the next holder's: the next hand-over
//! inside a client that can't know yet. So may one whose guard says at once that it isn't held. No token is ever granted twice.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::outlived;
use super::report::Report;
use super::state::State;
use super::{Rule, Violation};
use crate::history::{Entry, Fact};

#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(BTreeMap<String, BTreeSet<(Entry, u64)>>);

impl Tokens {
    pub(super) fn check(&mut self, state: &State, fact: &Fact, report: &mut Report) {
        let Fact::Granted { grant, held, .. } = fact else {
            return;
        };
        let Some(of) = state.grants.get(grant) else {
            return;
        };
        let tokens = self.0.entry(of.lock.clone()).or_default();
        let last = tokens.last().cloned();
        let token = (of.entry.clone(), of.handover);
        let is_new = tokens.insert(token.clone());
        let gone = state.lock(&of.lock).gone.get(&of.entry);
        let excused = !held || gone.is_some_and(|gone| outlived(state, of, gone).is_none());
        let wrong = match last {
            _ if !is_new => format!("{token:?} was granted twice"),
            Some(last) if last > token && !excused => {
                format!("{token:?} was granted after {last:?}")
            }
            Some(last) if last > token => return report.mark("token behind the next holder's"),
            _ => return,
        };
        let violation = Violation::new(Rule::Tokens, state.now, wrong);
        report.violated(violation.by(of.client).of_entry(&of.lock, &of.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule::{Order, Tokens};
    use crate::history::Author;

    #[test]
    fn hand_overs_and_later_entries_have_greater_tokens() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.released(5, true);
        case.handed_over(1, 5, 1);
        case.leaves(5, Case::client(1));
        case.enters(2, 6);
        case.granted(2, 6);
        case.finds(&[]);
    }

    #[test]
    fn a_token_that_does_not_grow_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.handed_over(1, 5, 1);
        case.granted(1, 5);
        case.finds(&[Tokens]);
    }

    #[test]
    fn a_token_that_comes_twice_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.handed_over(1, 5, 0);
        case.finds(&[Tokens]);
    }

    #[test]
    fn a_hand_over_that_can_not_know_better_is_behind_within_the_bounds_only() {
        for (after, found) in [(3 * SECOND, vec![]), (3 * SECOND + 1, vec![Order, Tokens])] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.enters(2, 6);
            case.granted(1, 5);
            case.leaves(5, Author::Stranger);
            case.granted(2, 6);
            case.passes(after);
            case.handed_over(1, 5, 1);
            case.finds(&found);
        }
    }
}
