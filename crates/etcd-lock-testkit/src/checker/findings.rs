//! Known defects of the code under test, each with the narrow condition by which it explains a violation.
//!
//! A condition is about what the history tells, never about a violation's words. Each finding has a scenario of its own that must break exactly its rule
//! ([`sim::expected`](crate::sim::expected)): when the defect is mended that scenario fails, and both go.

use std::fmt;

use etcd_lock_core::ErrorKind;

use super::bounds::answered_since;
use super::state::{Gone, State, Wait};
use super::{Rule, Violation};
use crate::history::{Author, Client, How, Micros};

/// A known defect.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Finding {
    /// A holder's entry is deleted while no watch of it is on, and nobody looks again.
    C1,
    /// A watch that is refused for an ended login ends the waits.
    C2,
    /// A withdrawal is given up after half a minute, whatever the lease.
    C3,
    /// A watch that etcd cancels ends the waits.
    C4,
    /// A wait that ends withdraws the entry of its session, and those behind it start again at the tail.
    C14,
    /// A wait fails with a timeout before its time is up, when one request, the one that enters, gets no answer.
    C15,
    /// A claim does not end with what was last heard of its entry: the answer to entering may come late, and so may the event of a deletion.
    N1,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::C1,
        Self::C2,
        Self::C3,
        Self::C4,
        Self::C14,
        Self::C15,
        Self::N1,
    ];

    /// The one that explains a violation, as of the state in which it was noticed.
    pub(super) fn of(violation: &Violation, state: &State) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|finding| finding.explains(violation, state).unwrap_or(false))
    }

    fn explains(self, violation: &Violation, state: &State) -> Option<bool> {
        let rule = violation.rule;
        let wait = || state.waits.get(&violation.wait?);
        Some(match self {
            Self::C1 => {
                let claims = matches!(rule, Rule::Exclusion | Rule::Order | Rule::Tokens);
                claims && missed_its_deletion(violation, state)?
            }
            Self::C2 => {
                rule == Rule::Error
                    && [ErrorKind::Unauthenticated, ErrorKind::PermissionDenied]
                        .iter()
                        .any(|kind| watch_was_refused(wait(), state, *kind))
            }
            Self::C3 => {
                let left = matches!(rule, Rule::Leak | Rule::Standstill);
                left && was_unreachable(violation, state, 30_000_000)?
            }
            Self::C4 => rule == Rule::Error && watch_was_refused(wait(), state, ErrorKind::Server),
            Self::C14 => rule == Rule::Place && another_wait_ended(violation, state)?,
            Self::C15 => rule == Rule::Error && was_cut_off(wait()?, state),
            Self::N1 => {
                let claims = matches!(rule, Rule::Exclusion | Rule::Order | Rule::Tokens);
                claims && vouches_no_longer(violation, state)?
            }
        })
    }
}

/// Somebody else deleted the entry of a guard's hold, when it was held or when it had just been created as the head; its client has a watch of the key, and none has
/// told it.
fn missed_its_deletion(violation: &Violation, state: &State) -> Option<bool> {
    let (client, key, gone, held) = deleted_by_others(violation, state)?;
    let told = (client, key.clone(), gone.revision);
    let watches = &state.watches;
    let watched = watches.watched.contains(&(client, key));
    Some(watched && !watches.told.contains(&told) && (held || !gone.contended))
}

/// Somebody else deleted the entry of a guard's hold, and the client could not learn of that in time: what it last heard of its entry vouches for it no longer.
fn vouches_no_longer(violation: &Violation, state: &State) -> Option<bool> {
    let (client, _, gone, _) = deleted_by_others(violation, state)?;
    let ttl = state.leases.get(&gone.lease)?.ttl;
    let (answered, most) = answered_since(state, client, gone.at, ttl);
    Some(answered <= most)
}

/// Client, key and end of an entry that others deleted, and whether it was held by then.
fn deleted_by_others<'a>(
    violation: &Violation,
    state: &'a State,
) -> Option<(Client, String, &'a Gone, bool)> {
    let (client, (lock, entry)) = (violation.client?, violation.entry.as_ref()?);
    let lock = state.lock(lock);
    let gone = lock.gone.get(entry)?;
    let granted = lock.first_granted.get(entry)?;
    let by_others = !matches!(gone.by, Author::Expiry) && gone.by != Author::Client(client);
    by_others.then(|| (client, entry.key.clone(), gone, *granted <= gone.at))
}

fn watch_was_refused(wait: Option<&Wait>, state: &State, kind: ErrorKind) -> bool {
    wait.is_some_and(|wait| {
        wait.failed == Some(kind) && state.was_watch_refused(wait.client, kind, wait.asked)
    })
}

/// Requests to withdraw an entry were not answered for so long after it was given up.
fn was_unreachable(violation: &Violation, state: &State, time: Micros) -> Option<bool> {
    let (lock, entry) = violation.entry.as_ref()?;
    let (client, since) = state.lock(lock).queue.get(entry)?.given_up?;
    Some(state.quiet_since(client.process) >= since + time)
}

/// While the entry was there, another wait of its session ended without the lock.
fn another_wait_ended(violation: &Violation, state: &State) -> Option<bool> {
    let (client, (lock, entry)) = (violation.client?, violation.entry.as_ref()?);
    let since = state.lock(lock).gone.get(entry)?.since;
    Some(state.waits.values().any(|wait| {
        let ended = !wait.granted && wait.ended.is_some_and(|ended| ended >= since);
        ended && wait.client == client && wait.key == entry.key
    }))
}

/// It was ready to wait, and failed with a timeout when its client was cut off.
fn was_cut_off(wait: &Wait, state: &State) -> bool {
    let timed_out = wait.failed == Some(ErrorKind::Timeout);
    timed_out && wait.how != How::Try && state.disturbed_since(wait.client.process, wait.asked)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::*;

    /// Session 1's entry is deleted under its guard, which claims on.
    fn overlooked(prepare: impl Fn(&mut Case), by: Author, then: impl Fn(&mut Case)) -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        prepare(&mut case);
        case.leaves(5, by);
        then(&mut case);
        case.passes(3 * SECOND + 1);
        case.claims(5);
        case
    }

    fn watches(case: &mut Case) {
        case.watches(1);
    }

    fn nothing(_: &mut Case) {}

    #[test]
    fn c1_is_a_deletion_that_no_watch_told_of() {
        let stranger = Author::Stranger;
        let missed = overlooked(watches, stranger, nothing);
        assert_eq!(missed.findings(), [Some(Finding::C1)]);
        let told = overlooked(watches, stranger, |case| case.is_told(1));
        assert_eq!(told.findings(), [None]);
        let unwatched = overlooked(nothing, stranger, nothing);
        assert_eq!(unwatched.findings(), [None]);
        let expired = overlooked(watches, Author::Expiry, nothing);
        assert_eq!(expired.findings(), [None]);
    }

    fn fails(kind: ErrorKind, happens: impl Fn(&mut Case)) -> Vec<Option<Finding>> {
        let mut case = Case::new();
        case.asks(1);
        happens(&mut case);
        case.fails(1, kind);
        case.findings()
    }

    #[test]
    fn c2_and_c4_are_watches_that_were_refused() {
        for (kind, finding) in [
            (ErrorKind::Unauthenticated, Finding::C2),
            (ErrorKind::PermissionDenied, Finding::C2),
            (ErrorKind::Server, Finding::C4),
        ] {
            assert_eq!(fails(kind, nothing), [None]);
            let refused = fails(kind, |case| case.watch_is_refused(1, kind));
            assert_eq!(refused, [Some(finding)]);
            let another = fails(kind, |case| case.watch_is_refused(2, kind));
            assert_eq!(another, [None]);
        }
    }

    #[test]
    fn c3_is_an_entry_whose_withdrawal_was_not_answered_for_long() {
        for (time, finding) in [(30 * SECOND, Some(Finding::C3)), (29 * SECOND, None)] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.gives_up(1);
            case.disturbs(time);
            case.passes(50 * SECOND);
            let leaks = case.rules().into_iter().zip(case.findings());
            let leak = leaks.filter(|(rule, _)| *rule == Rule::Leak);
            assert_eq!(leak.collect::<Vec<_>>(), [(Rule::Leak, finding)]);
        }
    }

    #[test]
    fn c14_is_a_place_that_went_with_another_wait() {
        let place = |gives_up: bool| {
            let mut case = Case::new();
            case.enters(1, 5);
            if gives_up {
                case.asks(1);
                case.gives_up(1);
            }
            case.leaves(5, Case::client(1));
            case.enters(1, 6);
            case.findings()
        };
        assert_eq!(place(true), [Some(Finding::C14)]);
        assert_eq!(place(false), [None]);
    }

    #[test]
    fn c15_is_a_wait_that_was_cut_off() {
        let times_out = |disturbed| {
            fails(ErrorKind::Timeout, |case| {
                if disturbed {
                    case.disturbs(SECOND);
                }
            })
        };
        assert_eq!(times_out(true), [Some(Finding::C15)]);
        assert_eq!(times_out(false), [None]);
    }

    #[test]
    fn n1_is_a_claim_for_which_nothing_vouches_and_nothing_could_be_heard() {
        let claimed = |disturbed, by| {
            let mut case = Case::new();
            case.enters(1, 5);
            case.leaves(5, by);
            if disturbed {
                case.disturbs(6 * SECOND);
            }
            case.passes(6 * SECOND);
            case.granted(1, 5);
            case.findings()
        };
        let stranger = Author::Stranger;
        assert_eq!(claimed(true, stranger), [Some(Finding::N1)]);
        assert_eq!(claimed(false, stranger), [None]);
        assert_eq!(claimed(true, Author::Expiry), [None]);
    }
}
