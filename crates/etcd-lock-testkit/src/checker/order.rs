//! Only the oldest entry is granted.
//!
//! The set of entries that are older than a given one only shrinks. So when a grant is noted, whenever it was decided, no older entry is there but those that the
//! same client had given up: nobody else can be granted before they are gone. Its own entry is there, or was until just now (see [`bounds`](super::bounds)),
//! unless the guard itself says that it doesn't hold the lock.

use super::bounds::outlived;
use super::report::Report;
use super::state::{Grant, State};
use super::{Rule, Violation};
use crate::history::Fact;

pub(super) fn check(state: &State, fact: &Fact, report: &mut Report) {
    let Fact::Granted { grant, held, .. } = fact else {
        return;
    };
    let Some(of) = state.grants.get(grant) else {
        return;
    };
    report.mark("grant");
    if let Some(wrong) = wrong(state, of, *held, report) {
        let text = format!(
            "{} was granted to {:?} under revision {}, and {wrong}",
            of.lock, of.client, of.entry.created
        );
        let violation = Violation::new(Rule::Order, state.now, text);
        report.violated(violation.by(of.client).of_entry(&of.lock, &of.entry));
    }
}

fn wrong(state: &State, grant: &Grant, held: bool, report: &mut Report) -> Option<String> {
    let lock = state.lock(&grant.lock);
    let mut older = lock.queue.range(..grant.entry.clone());
    if let Some((before, queued)) = older.find(|(entry, _)| !grant.behind.contains(*entry)) {
        let given_up = queued.given_up;
        return Some(format!(
            "the entry of revision {} is older (given up: {given_up:?})",
            before.created
        ));
    }
    if !grant.behind.is_empty() {
        report.mark("grant behind entries that its client has given up");
    }
    if lock.queue.contains_key(&grant.entry) {
        return None;
    }
    let Some(gone) = lock.gone.get(&grant.entry) else {
        return Some("there never was such an entry".to_owned());
    };
    report.mark("grant of an entry that is gone");
    if !held {
        return None;
    }
    outlived(state, grant, gone).map(|why| format!("{why} ({:?} deleted it)", gone.by))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule::Order;
    use crate::history::Author;

    #[test]
    fn the_oldest_entry_is_granted() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(2, 6);
        case.granted(1, 5);
        case.released(5, true);
        case.leaves(5, Case::client(1));
        case.granted(2, 6);
        case.finds(&[]);
    }

    #[test]
    fn a_younger_entry_is_not() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(2, 6);
        case.granted(2, 6);
        case.finds(&[Order]);
    }

    /// Client 1 has two sessions: 1 holds and gives up, 3 waits.
    fn given_up() -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.released(5, true);
        case
    }

    #[test]
    fn a_client_may_hand_over_among_its_sessions_before_etcd_has_deleted() {
        let mut case = given_up();
        case.enters(3, 6);
        case.granted(3, 6);
        case.claims(6);
        case.finds(&[]);
    }

    #[test]
    fn another_client_may_not_take_the_lock_before() {
        let mut case = given_up();
        case.enters(2, 6);
        case.granted(2, 6);
        case.finds(&[Order]);
    }

    #[test]
    fn nor_may_the_client_itself_past_somebody_between() {
        let mut case = given_up();
        case.enters(2, 6);
        case.enters(3, 7);
        case.granted(3, 7);
        case.finds(&[Order]);
    }

    #[test]
    fn nor_its_next_life() {
        let mut case = given_up();
        case.dies(1);
        case.starts_again(1);
        case.enters_later_life(1, 4, 6);
        case.granted(4, 6);
        case.finds(&[Order]);
    }

    /// Found by seed 7000023007683: the session of an entry was granted the lock and lost in the same moment, so that its wait failed, and the client's
    /// next session came before the deletion.
    #[test]
    fn a_wait_that_failed_has_given_its_entry_up() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(3, 6);
        case.disturbs(SECOND);
        case.fails(1, etcd_lock_core::ErrorKind::Lost);
        case.granted(3, 6);
        case.claims(6);
        case.finds(&[]);
    }

    /// The guard of an earlier entry of the same key was not told yet that this is gone. It does not keep the later one.
    #[test]
    fn a_wait_beside_a_lost_guard_gives_its_entry_up() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.leaves(5, Author::Stranger);
        case.enters(1, 6);
        case.enters(3, 7);
        case.gives_up(1);
        case.granted(3, 7);
        case.claims(7);
        case.finds(&[]);
    }

    /// A grant rests on an entry that was seen at the last heartbeat.
    #[test]
    fn an_entry_that_is_gone_is_granted_within_the_bounds_only() {
        for (after, found) in [(3 * SECOND, vec![]), (3 * SECOND + 1, vec![Order])] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.leaves(5, Author::Stranger);
            case.passes(after);
            case.granted(1, 5);
            case.finds(&found);
        }
    }

    /// A client that stood still is handed a guard that knows better than the wait did.
    #[test]
    fn a_guard_that_says_at_once_that_it_is_not_held_may_come_late_but_not_too_early() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.leaves(5, Author::Expiry);
        case.granted_unheld(1, 5);
        case.finds(&[]);
        case.enters(2, 6);
        case.enters(3, 7);
        case.granted_unheld(3, 7);
        case.finds(&[Order]);
    }
}
