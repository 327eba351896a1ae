//! A fenced write commits under the last grant only.
//!
//! Its entry is there, no younger entry and no later hand-over was granted, and every older entry that is still there was given up by the same client before the
//! grant: so it lasts when that client dies, since nothing can be written under those.

use super::report::Report;
use super::state::{Grant, State};
use super::writes::Writes;
use super::{Rule, Violation};
use crate::history::Fact;

pub(super) fn check(state: &State, fact: &Fact, writes: &Writes, report: &mut Report) {
    let Fact::Committed { write: id } = fact else {
        return;
    };
    let Some(write) = writes.get(*id) else {
        return;
    };
    report.mark("fenced write");
    let Some(grant) = state.grants.get(&write.grant) else {
        return;
    };
    if let Some(wrong) = wrong(state, grant) {
        let token = grant.token();
        let text = format!("write {id} under {token:?} was committed, and {wrong}");
        let violation = Violation::new(Rule::Fencing, state.now, text);
        report.violated(
            violation
                .by(grant.client)
                .of_entry(&grant.lock, &grant.entry),
        );
    }
}

fn wrong(state: &State, grant: &Grant) -> Option<String> {
    let lock = state.lock(&grant.lock);
    if !lock.queue.contains_key(&grant.entry) {
        return Some("its entry is gone".to_owned());
    }
    let mut later = lock.granted.range(grant.entry.clone()..);
    let own = later.next().map(|(_, handover)| *handover);
    if own > Some(grant.handover) {
        return Some(format!("the hold was handed over since, {own:?} times"));
    }
    if let Some((entry, _)) = later.next() {
        let created = entry.created;
        return Some(format!("the entry of revision {created} was granted since"));
    }
    let mut older = lock.queue.range(..grant.entry.clone());
    let before = older.find(|(entry, _)| !grant.behind.contains(*entry));
    before.map(|(entry, _)| format!("the entry of revision {} is older", entry.created))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::Rule::{Fencing, Order};
    use crate::history::Author;

    /// Session 1 of client 1 has given up, its entry stays for now, and session 3 is granted the lock and writes.
    fn handed_over() -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.write_begins(1, 5);
        case.released(5, true);
        case.enters(3, 6);
        case.granted(3, 6);
        case.write_begins(2, 6);
        case
    }

    #[test]
    fn a_write_under_the_last_grant_passes() {
        let mut case = handed_over();
        case.is_written(2);
        case.finds(&[]);
    }

    #[test]
    fn a_write_under_a_hold_that_was_handed_over_is_found() {
        let mut case = handed_over();
        case.is_written(1);
        case.finds(&[Fencing]);

        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.write_begins(1, 5);
        case.handed_over(1, 5, 1);
        case.is_written(1);
        case.finds(&[Fencing]);
    }

    /// Found by seeds 734512002378 and 7000004003172: that the client has died takes nothing back.
    #[test]
    fn a_write_of_the_dead_is_as_right_as_it_was() {
        let mut case = handed_over();
        case.dies(1);
        case.is_written(2);
        case.finds(&[]);
    }

    #[test]
    fn a_later_life_has_given_nothing_up() {
        let mut case = handed_over();
        case.dies(1);
        case.starts_again(1);
        case.enters_later_life(1, 4, 7);
        case.granted(4, 7);
        case.finds(&[Order]);
    }

    #[test]
    fn a_write_under_an_entry_that_is_gone_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.write_begins(1, 5);
        case.leaves(5, Author::Expiry);
        case.is_written(1);
        case.finds(&[Fencing]);
    }
}
