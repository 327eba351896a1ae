//! A queue comes on, and every wait ends.
//!
//! While nothing disturbs anybody the head of a queue holds the lock, gives it up or is deleted within [`STANDSTILL`]: leases live for up to 9 s, for 1 s more after
//! an election, and etcd looks for those that have ended twice a second. The read after 15 s of silence must not be needed. Once nothing goes wrong any more every wait ends within [`PATIENCE`].

use super::report::Report;
use super::state::State;
use super::{Rule, Violation};
use crate::history::Micros;

/// How long a queue may stand still.
pub(super) const STANDSTILL: Micros = 11_000_000;

/// How long a wait may go on in the end: a queue of fifty, each with a hold and a lease that ends.
const PATIENCE: Micros = 120_000_000;

/// When it was last looked.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Micros);

impl Progress {
    pub(super) fn check(&mut self, state: &State, report: &mut Report) {
        if state.now < self.0 + 100_000 {
            return;
        }
        self.0 = state.now;
        standstill(state, report);
        waits(state, report);
    }
}

fn standstill(state: &State, report: &mut Report) {
    for (name, lock) in &state.locks {
        let Some((head, queued)) = lock.queue.first_key_value() else {
            continue;
        };
        let since = lock.moved.max(state.quiet_since_for_all());
        let mut grants = state.grants.values();
        let is_held = grants.any(|grant| grant.entry == *head && grant.ended.is_none());
        if is_held || state.now <= since + STANDSTILL {
            continue;
        }
        let given_up = queued.given_up;
        let created = head.created;
        let text = format!(
            "nothing comes of the head of {name}, revision {created} (given up: {given_up:?})"
        );
        let violation = Violation::new(Rule::Standstill, state.now, text);
        report.violated_once(
            format!("standstill {name} {created}"),
            violation.of_entry(name, head),
        );
    }
}

fn waits(state: &State, report: &mut Report) {
    let Some(healed) = state.healed else { return };
    if state.now <= healed.max(state.quiet_since_for_all()) + PATIENCE {
        return;
    }
    for (number, wait) in &state.waits {
        if wait.ended.is_none() && wait.asked < healed {
            let text = format!("wait {number} of {:?} goes on for ever", wait.client);
            let violation = Violation::new(Rule::Progress, state.now, text);
            report.violated_once(
                format!("wait {number}"),
                violation.by(wait.client).of_wait(*number),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule::{Progress, Standstill};
    use super::{PATIENCE, STANDSTILL};

    #[test]
    fn a_head_of_which_nothing_comes_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.passes(STANDSTILL);
        case.finds(&[]);
        case.passes(SECOND);
        case.finds(&[Standstill]);
    }

    #[test]
    fn a_queue_that_comes_on_is_not() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.passes(STANDSTILL - SECOND);
        case.granted(1, 5);
        case.passes(9 * STANDSTILL);
        case.dies(1);
        case.passes(STANDSTILL - SECOND);
        case.disturbs(SECOND);
        case.passes(STANDSTILL);
        assert_eq!(case.count(Standstill), 0);
        case.passes(2 * SECOND);
        assert_eq!(case.count(Standstill), 1);
    }

    #[test]
    fn a_wait_without_an_end_is_found_once_nothing_goes_wrong() {
        let mut case = Case::new();
        case.asks(1);
        case.passes(2 * PATIENCE);
        case.finds(&[]);
        case.heals();
        case.passes(PATIENCE);
        case.finds(&[]);
        case.passes(SECOND);
        case.finds(&[Progress]);
    }
}
