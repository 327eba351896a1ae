//! A loss is true, and for good.
//!
//! A guard that says that its lock is lost says so because its entry was deleted by others, or its lease ended or could not be renewed; it does not say that it holds the
//! lock at the same time, nor ever after. Where it only said no when asked, it may say yes later: an answer that was late vouches for it again.

use etcd_lock_core::ErrorKind;

use super::report::Report;
use super::state::{Grant, State};
use super::{Rule, Violation};
use crate::history::{Author, Fact};

pub(super) fn check(state: &State, fact: &Fact, report: &mut Report) {
    let (Fact::Lost { grant, held, .. }
    | Fact::Claimed { grant, held, .. }
    | Fact::Released { grant, held, .. }) = fact
    else {
        return;
    };
    let Some(of) = state.grants.get(grant) else {
        return;
    };
    let wrong = match fact {
        Fact::Lost { .. } if *held => Some("was said to be lost, and to be held"),
        Fact::Lost { kind, .. } => {
            report.mark("loss");
            is_entailed(state, of, *kind).err()
        }
        _ if *held && of.lost.is_some() => {
            Some("was said to be lost, and is said to be held again")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        let text = format!("grant {grant} of {} to {:?} {wrong}", of.lock, of.client);
        let violation = Violation::new(Rule::Loss, state.now, text);
        report.violated_once(
            format!("loss {grant} {wrong}"),
            violation.by(of.client).of_entry(&of.lock, &of.entry),
        );
    }
}

fn is_entailed(state: &State, grant: &Grant, kind: ErrorKind) -> Result<(), &'static str> {
    let gone = state.lock(&grant.lock).gone.get(&grant.entry);
    let lease = state.leases.get(&grant.lease);
    let deleted = gone.is_some_and(|gone| gone.by != Author::Client(grant.client));
    let ended = lease.is_none_or(|lease| lease.ended.is_some());
    let closed = lease.is_none_or(|lease| lease.closed.is_some());
    let unsure = lease.is_none_or(|lease| {
        let last_renewal = state.now.saturating_sub(lease.ttl);
        state.disturbed_since(grant.client.process, last_renewal)
    });
    let entailed = match kind {
        ErrorKind::Lost => deleted || ended || unsure,
        ErrorKind::LeaseNotFound => ended,
        ErrorKind::Closed => closed,
        _ => return Err("was said to be lost for what is no loss"),
    };
    if entailed {
        Ok(())
    } else {
        Err("was said to be lost, and nothing had ended it")
    }
}

#[cfg(test)]
mod tests {
    use etcd_lock_core::ErrorKind;

    use super::super::testing::{Case, SECOND};
    use super::Rule::Loss;
    use crate::history::Author;

    fn held() -> Case {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case
    }

    #[test]
    fn a_loss_that_is_true_passes() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.loses(5, ErrorKind::Lost, false);
        case.finds(&[]);

        let mut case = held();
        case.disturbs(SECOND);
        case.loses(5, ErrorKind::Lost, false);
        case.finds(&[]);

        let mut case = held();
        case.lease_ends(1, Author::Stranger);
        case.loses(5, ErrorKind::LeaseNotFound, false);
        case.finds(&[]);
    }

    #[test]
    fn a_loss_for_no_reason_is_found() {
        for kind in [ErrorKind::Lost, ErrorKind::LeaseNotFound, ErrorKind::Closed] {
            let mut case = held();
            case.loses(5, kind, false);
            case.finds(&[Loss]);
        }
    }

    #[test]
    fn what_is_lost_is_not_held() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.loses(5, ErrorKind::Lost, true);
        case.finds(&[Loss]);
    }

    #[test]
    fn nor_is_it_later() {
        let mut case = held();
        case.leaves(5, Author::Stranger);
        case.loses(5, ErrorKind::Lost, false);
        case.claims(5);
        case.finds(&[Loss]);
    }
}
