//! A client that claims a lock has its oldest entry, or had it until just now.
//!
//! A claim is right while its entry is there, nobody was granted the lock after it, and no older entry is there but those that its own client had given up when
//! it was granted. It may outlive its entry by the bounds of [`bounds`](super::bounds), whoever deleted the entry, and by nothing where its own client did or its
//! lease expired. A client that stands still claims nothing, since it can't act on it: it is asked when it goes on, before it does anything else.

use std::collections::BTreeMap;

use super::bounds::outlived;
use super::report::Report;
use super::state::{Grant, State};
use super::{Rule, Violation};
use crate::history::Fact;

#[derive(Clone, Debug, Default)]
pub(super) struct Exclusion {
    /// The last grant of each entry: one entry is one hold at a time.
    last: BTreeMap<(String, i64, String), u64>,
}

impl Exclusion {
    pub(super) fn check(&mut self, state: &State, fact: &Fact, report: &mut Report) {
        match fact {
            Fact::Granted { grant, .. } => {
                if let Some(of) = state.grants.get(grant) {
                    self.last.insert(place(of), *grant);
                }
            }
            Fact::Claimed {
                grant, held: true, ..
            }
            | Fact::Released {
                grant, held: true, ..
            }
            | Fact::Lost {
                grant, held: true, ..
            } => {
                if let Some(of) = state.grants.get(grant) {
                    self.claimed(state, *grant, of, report);
                }
            }
            _ => {}
        }
    }

    fn claimed(&self, state: &State, number: u64, grant: &Grant, report: &mut Report) {
        let Some(wrong) = self.wrong(state, number, grant, report) else {
            return;
        };
        let (created, lock) = (grant.entry.created, &grant.lock);
        let text = format!(
            "grant {number} of {lock} to {:?} under revision {created} is claimed, and {wrong}",
            grant.client
        );
        let violation = Violation::new(Rule::Exclusion, state.now, text);
        report.violated_once(
            format!("exclusion {number}"),
            violation.by(grant.client).of_entry(lock, &grant.entry),
        );
    }

    fn wrong(
        &self,
        state: &State,
        number: u64,
        grant: &Grant,
        report: &mut Report,
    ) -> Option<String> {
        if let Some(last) = self.last.get(&place(grant))
            && *last != number
        {
            return Some(format!("the hold was handed over as grant {last}"));
        }
        let lock = state.lock(&grant.lock);
        if lock.queue.contains_key(&grant.entry) {
            report.mark("claim of an entry that is there");
            let mut older = lock.queue.range(..grant.entry.clone());
            if let Some((before, _)) = older.find(|(entry, _)| !grant.behind.contains(*entry)) {
                return Some(format!("the entry of revision {} is older", before.created));
            }
            let younger = lock.granted.range(grant.entry.clone()..).nth(1);
            return younger.map(|(entry, _)| {
                format!("the entry of revision {} was granted since", entry.created)
            });
        }
        match lock.gone.get(&grant.entry) {
            Some(gone) => {
                let wrong = outlived(state, grant, gone);
                report.mark(match wrong {
                    Some(_) => "claim that outlives its entry for too long",
                    None => "claim that outlives its entry",
                });
                wrong.map(|why| format!("{why} ({:?} deleted it)", gone.by))
            }
            None => Some("there never was such an entry".to_owned()),
        }
    }
}

fn place(grant: &Grant) -> (String, i64, String) {
    let (entry, lock) = (&grant.entry, &grant.lock);
    (lock.clone(), entry.created, entry.key.clone())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule::Exclusion;
    use crate::history::{Author, Mode};

    /// Two clients in the queue; the first is granted the lock. Leases live six seconds: a heartbeat and an attempt are three.
    fn held() -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(2, 6);
        case.granted(1, 5);
        case
    }

    /// A caller that relies on its lease, whose entry somebody has deleted.
    fn held_by_lease_alone() -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted_in_mode(1, 5, Mode::Lease);
        case.leaves(5, Author::Stranger);
        case
    }

    #[test]
    fn a_claim_under_the_oldest_entry_passes() {
        let mut case = held();
        case.claims(5);
        case.finds(&[]);
    }

    #[test]
    fn a_claim_behind_an_older_entry_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.enters(2, 6);
        case.granted(2, 6);
        case.claims(6);
        case.finds(&[super::Rule::Order, Exclusion]);
    }

    #[test]
    fn a_claim_outlives_a_strangers_deletion_by_a_heartbeat_and_an_attempt_and_no_longer() {
        for by in [Author::Stranger, Author::Server, Author::Unknown] {
            let mut case = held();
            case.leaves(5, by);
            case.passes(3 * SECOND);
            case.claims(5);
            case.finds(&[]);
            case.passes(1);
            case.claims(5);
            case.finds(&[Exclusion]);
        }
    }

    #[test]
    fn the_bound_counts_by_the_claimers_own_clock() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.runs_at(1, 900_000);
        case.passes(3 * SECOND + SECOND / 4);
        case.claims(5);
        case.finds(&[]);
        case.passes(SECOND / 4);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    #[test]
    fn time_in_which_reads_are_not_answered_does_not_count() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.passes(2 * SECOND);
        case.disturbs(SECOND);
        case.passes(3 * SECOND);
        case.claims(5);
        case.finds(&[]);
        case.passes(SECOND + 1);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    #[test]
    fn unanswered_reads_are_no_excuse_after_nine_tenths_of_the_time_to_live() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.disturbs(60 * SECOND);
        case.passes(6 * SECOND / 10 * 9);
        case.claims(5);
        case.finds(&[]);
        case.passes(1);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    #[test]
    fn disturbances_of_others_are_no_excuse() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.disturbs_process(2, 60 * SECOND);
        case.passes(3 * SECOND + 1);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    #[test]
    fn a_claim_does_not_outlive_its_lease_nor_its_own_deletion() {
        for by in [Author::Expiry, Case::client(1).into()] {
            let mut case = held();
            case.disturbs(60 * SECOND);
            case.leaves(5, by);
            case.claims(5);
            case.finds(&[Exclusion]);
        }
    }

    #[test]
    fn two_tasks_of_one_session_do_not_hold_at_once() {
        let mut case = held();
        case.handed_over(1, 5, 1);
        case.claims_grant(Case::grant(5, 0));
        case.finds(&[Exclusion]);
    }

    #[test]
    fn a_hold_that_is_over_as_soon_as_it_began_is_judged() {
        let mut case = held();
        case.leaves(5, Author::Expiry);
        case.released(5, true);
        case.finds(&[Exclusion]);
    }

    /// The exemption of a caller that relies on its lease: the queue's own callers, and Go's.
    #[test]
    fn a_claim_by_lease_lasts_as_long_as_the_lease_and_no_longer() {
        let mut case = held_by_lease_alone();
        case.passes(60 * SECOND);
        case.claims(5);
        case.finds(&[]);
        case.lease_ends(1, Author::Stranger);
        case.passes(3 * SECOND + 1);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    /// A request for it that was repeated is executed once more, late.
    #[test]
    fn a_claim_by_a_lease_that_comes_back_lasts_until_it_ends_again() {
        let mut case = held_by_lease_alone();
        case.lease_ends(1, Author::Stranger);
        case.passes(2 * SECOND);
        case.lease_begins(1);
        case.passes(60 * SECOND);
        case.claims(5);
        case.finds(&[]);
        case.lease_ends(1, Author::Stranger);
        case.passes(3 * SECOND);
        case.claims(5);
        case.finds(&[]);
        case.passes(1);
        case.claims(5);
        case.finds(&[Exclusion]);
    }

    #[test]
    fn a_claim_under_an_entry_that_never_was_is_found() {
        let mut case = Case::new();
        case.granted(1, 5);
        case.claims(5);
        case.finds(&[super::Rule::Order, Exclusion]);
    }
}
