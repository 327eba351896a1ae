//! A waiter keeps its entry: while its lease lives, its own client doesn't put another in the place of one that was never granted.
//!
//! An entry may be of a wait that has ended, whose request was on its way: that one is deleted whoever waits by then. A wait that ends when its entry is withdrawn
//! has no place to lose.

use super::report::Report;
use super::state::{Gone, State};
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
    let through = waits.find(|(_, wait)| {
        let waits = wait.ended.is_none() && wait.how != How::Try && wait.asked <= gone.at;
        waits && wait.client == owner && wait.key == entry.key
    });
    through.map(|(wait, _)| *wait)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::Rule::Place;
    use crate::history::Author;

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
