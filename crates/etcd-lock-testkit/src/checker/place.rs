//! A waiter keeps its entry: while its lease lives, its own client doesn't put another in the place of one that was never granted.
//!
//! An entry may be of a wait that has ended, whose request was on its way: that one is deleted although another task waits by
//! then. A wait that ends when its entry is withdrawn has no place to lose. Neither has one that joins while the deletion is on
//! its way, or one whose entry was deleted by others: it fails, and may still ask why.

use super::bounds::attempt;
use super::report::Report;
use super::state::{Gone, State, Wait};
use super::{Rule, Violation};
use crate::history::{Author, Client, Entry, Fact, How};

pub(super) fn check(state: &State, fact: &Fact, report: &mut Report) {
    let Fact::Entered { lock, entry, lease } = fact else {
        return;
    };
    let Some(owner) = state.owner(*lease) else {
        return;
    };
    let of = state.lock(lock);
    let gone = of.gone.iter().filter(|(gone, _)| gone.key == entry.key);
    let mut withdrawn = gone.filter(|(gone, how)| {
        let by_itself = how.by == Author::Client(owner);
        by_itself && !how.was_unwanted && !of.granted.contains_key(*gone)
    });
    let Some((before, gone)) = withdrawn.next_back() else {
        return;
    };
    report.mark("entry that comes after one that was withdrawn");
    if let Some(wait) = waited_through(state, owner, entry, gone) {
        let text = format!(
            "wait {wait} of {owner:?} had the entry of revision {}, and has that of {}",
            before.created, entry.created
        );
        let violation = Violation::new(Rule::Place, state.now, text);
        let violation = violation.by(owner).of_entry(lock, before);
        report.violated(violation.of_wait(wait));
    }
}

/// A wait of an entry's key that goes on, and had begun before an earlier entry of the key was withdrawn.
fn waited_through(state: &State, owner: Client, entry: &Entry, gone: &Gone) -> Option<u64> {
    let mut waits = state.waits.iter();
    let through = waits.find(|(number, wait)| {
        let waits = wait.ended.is_none() && wait.how != How::Try && wait.asked <= gone.at;
        let of_key = wait.client == owner && wait.key == entry.key;
        waits
            && of_key
            && !is_about_to_fail(state, wait, gone)
            && !joins_a_withdrawal(state, **number, wait, gone)
    });
    through.map(|(wait, _)| *wait)
}

/// Whether others had deleted the entry that a wait had before one that was withdrawn.
fn is_about_to_fail(state: &State, wait: &Wait, withdrawn: &Gone) -> bool {
    let mut deleted = state.deleted_by_others(wait);
    deleted.any(|gone| (wait.asked..withdrawn.at).contains(&gone.at))
}

/// Whether the entry may have been given up by all before a wait that joined them: its deletion was on its way, for an attempt
/// at most. One that does not wait is told of its end when that is answered.
fn joins_a_withdrawal(state: &State, number: u64, wait: &Wait, gone: &Gone) -> bool {
    let ttl = state.leases.get(&wait.lease).map_or(0, |lease| lease.ttl);
    let sent = wait.asked.max(state.quiet_since(wait.client.process));
    let mut before = state.waits.range(..number).filter(|(_, other)| {
        let had_it = other.ended.is_none_or(|ended| ended >= gone.since);
        let of_key = other.client == wait.client && other.key == wait.key;
        had_it && of_key && !other.granted
    });
    let gave_up = |(number, other): (&u64, &Wait)| {
        other.how == How::Try
            || other.ended.is_some_and(|ended| ended <= wait.asked)
            || is_about_to_fail(state, other, gone)
            || joins_a_withdrawal(state, *number, other, gone)
    };
    let mut gave_up = before.by_ref().map(gave_up);
    sent + attempt(ttl) >= gone.at
        && gave_up.next().is_some_and(|first| first)
        && gave_up.all(|gave_up| gave_up)
}

#[cfg(test)]
mod tests {
    use super::super::bounds::attempt;
    use super::super::testing::{Case, SECOND};
    use super::Rule::Place;
    use crate::history::{Author, How, Micros};

    #[test]
    fn a_wait_that_goes_on_keeps_its_entry() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.leaves(5, Case::client(1));
        case.finds(&[]);
        case.enters(1, 6);
        case.finds(&[Place]);
    }

    #[test]
    fn a_wait_whose_entry_was_deleted_by_others_has_none_to_keep() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.passes(1);
        case.leaves(5, Author::Stranger);
        case.enters_without_asking(1, 6);
        case.passes(1);
        case.leaves(6, Case::client(1));
        case.enters_without_asking(1, 7);
        case.finds(&[]);
    }

    #[test]
    fn an_entry_that_nobody_waits_with_is() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.gives_up(1);
        case.leaves(5, Case::client(1));
        case.asks(1);
        case.enters(1, 6);
        case.finds(&[]);
    }

    #[test]
    fn an_entry_that_comes_after_the_end_of_its_wait_is_and_the_next_one_is_not() {
        let mut case = Case::new();
        case.asks(1);
        case.gives_up(1);
        case.asks(1);
        case.passes(1);
        case.enters(1, 5);
        case.leaves(5, Case::client(1));
        case.finds(&[]);
        case.enters(1, 6);
        case.finds(&[]);
        case.leaves(6, Case::client(1));
        case.enters(1, 7);
        case.finds(&[Place]);
    }

    /// Its deletion is on its way when another task of the session asks.
    #[test]
    fn an_entry_that_was_given_up_before_somebody_joined_is() {
        let joined = |first: How, before: Micros| {
            let mut case = Case::new();
            case.asks_how(1, first);
            case.enters_without_asking(1, 5);
            case.asks(1);
            case.passes(before);
            case.leaves(5, Case::client(1));
            case.enters_without_asking(1, 6);
            case.rules()
        };
        let most = attempt(6 * SECOND);
        assert_eq!(joined(How::Try, most), []);
        assert_eq!(joined(How::Try, most + 1), [Place]);
        assert_eq!(joined(How::Lock, 1), [Place]);
    }

    #[test]
    fn an_entry_that_was_held_is() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.asks(1);
        case.granted(1, 5);
        case.released(5, true);
        case.leaves(5, Case::client(1));
        case.enters(1, 6);
        case.finds(&[]);
    }

    #[test]
    fn what_others_delete_is_not_the_clients_doing() {
        for by in [Author::Stranger, Author::Expiry] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.leaves(5, by);
            case.enters(1, 6);
            case.finds(&[]);
        }
    }
}
