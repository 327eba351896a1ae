//! A fenced write is done once, and its end is true.
//!
//! A write that was acknowledged is there, and one that is said not to be done isn't. A refusal says that the lock isn't held, so the entry of the grant must be gone by
//! then. That nobody knows, or that it failed before it was executed, needs a disturbance between the beginning and the end.

use std::collections::BTreeMap;

use super::report::Report;
use super::state::State;
use super::{Rule, Violation};
use crate::history::{Client, Fact, Micros, WriteEnd};

#[derive(Clone, Debug, Default)]
pub(super) struct Writes(BTreeMap<u64, Write>);

/// A fenced write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) client: Client,
    pub(super) grant: u64,
    began: Micros,
    commits: u32,
    end: Option<WriteEnd>,
}

impl Writes {
    pub(super) fn get(&self, id: u64) -> Option<&Write> {
        self.0.get(&id)
    }

    pub(super) fn check(&mut self, state: &State, fact: &Fact, report: &mut Report) {
        let violation = match fact {
            Fact::WriteBegan {
                client,
                write,
                grant,
            } => {
                self.began(state, *client, *write, *grant);
                None
            }
            Fact::Committed { write } => self.committed(*write).map(|wrong| (*write, wrong)),
            Fact::WriteEnded { write, end, .. } => {
                let wrong = self.ended(state, *write, *end, report);
                wrong.map(|wrong| (*write, wrong))
            }
            Fact::Ended => self.missing(),
            _ => None,
        };
        if let Some((write, wrong)) = violation {
            let client = self.0.get(&write).map(|write| write.client);
            let text = format!("write {write} {wrong}");
            let violation = Violation::new(Rule::Write, state.now, text);
            report.violated(match client {
                Some(client) => violation.by(client),
                None => violation,
            });
        }
    }

    fn began(&mut self, state: &State, client: Client, write: u64, grant: u64) {
        let new = Write {
            client,
            grant,
            began: state.now,
            commits: 0,
            end: None,
        };
        self.0.insert(write, new);
    }

    fn committed(&mut self, id: u64) -> Option<String> {
        let write = self.0.get_mut(&id)?;
        write.commits += 1;
        if write.commits > 1 {
            return Some("was committed twice".to_owned());
        }
        let end = write.end?;
        matches!(end, WriteEnd::Refused | WriteEnd::NotDone)
            .then(|| format!("ended with {end:?} and is there"))
    }

    fn ended(
        &mut self,
        state: &State,
        id: u64,
        end: WriteEnd,
        report: &mut Report,
    ) -> Option<String> {
        let write = self.0.get_mut(&id)?;
        write.end = Some(end);
        let grant = state.grants.get(&write.grant)?;
        let disturbed = state.disturbed_since(write.client.process, write.began);
        let exists = state.lock(&grant.lock).queue.contains_key(&grant.entry);
        let there = write.commits > 0;
        match end {
            WriteEnd::Done => return None,
            WriteEnd::Refused => report.mark("write that is refused"),
            WriteEnd::Unknown => report.mark("write of unknown outcome"),
            WriteEnd::NotDone => report.mark("write that fails"),
        }
        match end {
            WriteEnd::Refused | WriteEnd::NotDone if there => {
                Some(format!("ended with {end:?} and is there"))
            }
            WriteEnd::Refused if exists => Some("was refused, and its entry is there".to_owned()),
            WriteEnd::Unknown | WriteEnd::NotDone if !disturbed => {
                Some(format!("ended with {end:?}, and nothing disturbed it"))
            }
            _ => None,
        }
    }

    /// At the end, nothing that was acknowledged may be missing.
    fn missing(&self) -> Option<(u64, String)> {
        let mut done = self.0.iter();
        let (id, _) =
            done.find(|(_, write)| write.end == Some(WriteEnd::Done) && write.commits == 0)?;
        Some((*id, "was acknowledged and is lost".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, SECOND};
    use super::Rule;
    use crate::history::{Author, WriteEnd};

    fn found(disturbed: bool, gone: bool, times: usize, end: WriteEnd) -> Vec<Rule> {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.write_begins(1, 5);
        if disturbed {
            case.disturbs(SECOND);
        }
        for _ in 0..times {
            case.is_written(1);
        }
        if gone {
            case.leaves(5, Author::Stranger);
        }
        case.write_ends(1, end);
        case.ends();
        case.rules()
    }

    #[test]
    fn ends_that_are_true_pass() {
        assert_eq!(found(false, false, 1, WriteEnd::Done), []);
        assert_eq!(found(false, true, 0, WriteEnd::Refused), []);
        assert_eq!(found(true, false, 0, WriteEnd::Unknown), []);
        assert_eq!(found(true, false, 1, WriteEnd::Unknown), []);
        assert_eq!(found(true, false, 0, WriteEnd::NotDone), []);
    }

    #[test]
    fn ends_that_are_not_true_are_found() {
        for (gone, times, end) in [
            (false, 0, WriteEnd::Done),
            (true, 1, WriteEnd::Refused),
            (false, 1, WriteEnd::NotDone),
            (false, 2, WriteEnd::Unknown),
        ] {
            assert_eq!(found(true, gone, times, end), [Rule::Write], "{end:?}");
        }
    }

    #[test]
    fn ends_without_a_reason_are_found() {
        for end in [WriteEnd::Refused, WriteEnd::NotDone, WriteEnd::Unknown] {
            assert_eq!(found(false, false, 0, end), [Rule::Write], "{end:?}");
        }
    }

    #[test]
    fn a_write_that_is_committed_after_it_was_refused_is_found() {
        let mut case = Case::new();
        case.enters(1, 5);
        case.granted(1, 5);
        case.write_begins(1, 5);
        case.disturbs(SECOND);
        case.write_ends(1, WriteEnd::NotDone);
        case.is_written(1);
        case.finds(&[Rule::Write]);
    }
}
