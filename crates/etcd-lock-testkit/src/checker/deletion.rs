//! A client deletes its own entries only: those of leases that the same life of it has asked for.

use super::report::Report;
use super::state::State;
use super::{Rule, Violation};
use crate::history::{Author, Fact};

pub(super) fn check(state: &State, fact: &Fact, report: &mut Report) {
    let Fact::Left {
        lock, entry, by, ..
    } = fact
    else {
        return;
    };
    let Author::Client(client) = *by else { return };
    let gone = state.lock(lock).gone.get(entry);
    let owner = gone.and_then(|gone| state.owner(gone.lease));
    report.mark("deletion by a client");
    if owner != Some(client) {
        let created = entry.created;
        let text =
            format!("{client:?} deleted the entry of revision {created}, which is of {owner:?}");
        let violation = Violation::new(Rule::Deletion, state.now, text);
        report.violated(violation.by(client).of_entry(lock, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use super::Rule::Deletion;
    use crate::history::{Author, Client};

    #[test]
    fn a_client_may_delete_its_own_entries_and_no_others() {
        for (by, found) in [
            (Case::client(1).into(), vec![]),
            (Author::Stranger, vec![]),
            (Author::Unknown, vec![]),
            (Case::client(2).into(), vec![Deletion]),
            (Author::Client(Client::new(1, 2)), vec![Deletion]),
        ] {
            let mut case = Case::new();
            case.enters(1, 5);
            case.gives_up(1);
            case.leaves(5, by);
            case.finds(&found);
        }
    }
}
