//! Unwanted things are gone soon: entries that a living client has given up, leases of sessions that were closed, leases of the dead.
//!
//! Only time in which nothing disturbs the client counts. An entry that is given up is deleted by a request; one that is sent just before a disturbance ends
//! fails within [`ATTEMPT`], and the next one does it. Another task of the session may want an entry before it is withdrawn, and keeps it. A lease that nobody keeps alive ends within its time to live.

use super::report::Report;
use super::state::{Queued, State};
use super::{Rule, Violation};
use crate::history::{Entry, Micros};

/// How long a request inside a client may take before it is given up and sent again, with the pause between.
pub(super) const ATTEMPT: Micros = 15_000_000;

/// How long after its end a lease may still be seen: etcd looks for those that have ended every half second, and revokes so many at once.
const SLACK: Micros = 5_000_000;

/// When it was last looked.
#[derive(Clone, Debug, Default)]
pub(super) struct Cleanup(Micros);

impl Cleanup {
    pub(super) fn check(&mut self, state: &State, report: &mut Report) {
        if state.now < self.0 + 100_000 {
            return;
        }
        self.0 = state.now;
        for (name, lock) in &state.locks {
            for (entry, queued) in &lock.queue {
                orphan(state, name, entry, queued, report);
            }
        }
        leases(state, report);
    }
}

fn orphan(state: &State, lock: &str, entry: &Entry, queued: &Queued, report: &mut Report) {
    let Some((client, since)) = queued.given_up else {
        return;
    };
    let lease = state.leases.get(&queued.lease);
    let closed = lease.is_some_and(|lease| lease.closed.is_some());
    let quiet = since.max(state.quiet_since(client.process));
    if state.died.contains_key(&client) || closed || state.now <= quiet + ATTEMPT {
        return;
    }
    match state.unwanted_since(client, &entry.key, since) {
        Some(since) if state.now > since + ATTEMPT => {}
        _ => return,
    }
    let created = entry.created;
    let text =
        format!("{client:?} gave up the entry of revision {created} at {since}, and it is there");
    let violation = Violation::new(Rule::Leak, state.now, text);
    report.violated_once(
        format!("orphan {lock} {created}"),
        violation.by(client).of_entry(lock, entry),
    );
}

fn leases(state: &State, report: &mut Report) {
    for (id, lease) in &state.leases {
        let Some(began) = lease.began.filter(|_| lease.exists) else {
            continue;
        };
        let died = state.died.get(&lease.owner).copied();
        let Some(since) = lease.closed.or(died) else {
            continue;
        };
        // A server that restarts counts anew.
        let quiet = since.max(began).max(state.quiet_since_for_all());
        if state.now > quiet + lease.ttl + SLACK {
            let owner = lease.owner;
            let text =
                format!("lease {id:x} of {owner:?} is there, which nobody keeps since {since}");
            let violation = Violation::new(Rule::Leak, state.now, text).by(owner);
            report.violated_once(format!("lease {id}"), violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::{ATTEMPT, Rule::Leak};
    use crate::history::Author;

    #[test]
    fn a_lease_that_comes_back_after_its_session_is_gone_after_its_time() {
        let mut case = Case::new();
        case.asks(1);
        case.gives_up(1);
        case.closes(1);
        case.lease_ends(1, Author::Stranger);
        case.lease_ends(3, Author::Stranger);
        case.passes(20 * SECOND);
        case.lease_begins(1);
        case.passes(11 * SECOND);
        case.finds(&[]);
        case.passes(SECOND);
        case.finds(&[Leak]);
    }

    #[test]
    fn an_entry_that_was_given_up_is_gone_soon() {
        for (after, found) in [(ATTEMPT, 0), (ATTEMPT + 1, 1)] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.gives_up(1);
            case.passes(after);
            assert_eq!(case.count(Leak), found);
        }
    }

    #[test]
    fn another_task_of_the_session_may_keep_the_entry_until_it_gives_up_too() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.gives_up(1);
        case.asks(1);
        case.passes(2 * ATTEMPT);
        assert_eq!(case.count(Leak), 0);
        case.gives_up(1);
        case.passes(ATTEMPT);
        assert_eq!(case.count(Leak), 0);
        case.passes(SECOND);
        assert_eq!(case.count(Leak), 1);
    }

    #[test]
    fn time_in_which_something_disturbs_does_not_count() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.gives_up(1);
        case.disturbs(60 * SECOND);
        case.passes(60 * SECOND + ATTEMPT);
        assert_eq!(case.count(Leak), 0);
        case.passes(SECOND);
        assert_eq!(case.count(Leak), 1);
    }

    #[test]
    fn an_entry_that_is_made_when_nobody_wants_it_is_gone_soon() {
        let mut case = Case::new();
        case.enters_without_asking(1, 5);
        case.passes(ATTEMPT + 1);
        assert_eq!(case.count(Leak), 1);
    }

    #[test]
    fn a_lease_that_nobody_keeps_ends() {
        for ends in [true, false] {
            for dies in [true, false] {
                let mut case = Case::new();
                case.asks(1);
                case.gives_up(1);
                if dies {
                    case.dies(1);
                } else {
                    case.closes(1);
                    case.closes(3);
                }
                if ends {
                    case.lease_ends(1, Author::Expiry);
                    case.lease_ends(3, Author::Expiry);
                }
                case.passes(11 * SECOND);
                case.finds(&[]);
                case.passes(SECOND);
                let found = if ends { vec![] } else { vec![Leak, Leak] };
                case.finds(&found);
            }
        }
    }
}
