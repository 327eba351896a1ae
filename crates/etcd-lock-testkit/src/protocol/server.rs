//! The server of the model: who has an entry, whose lease lives, and what a request does to that.

use super::Bug;

/// Create revisions count the entries that were made, and nothing else.
pub(super) type Revision = u8;

/// What a process asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Request {
    /// Put the entry if there is none, and read who stands before it.
    Enter,
    /// Delete the entry that was created at this revision.
    Delete(Revision),
    /// Write under the grant of this revision.
    Write(Revision),
    /// What etcd's own `Lock` does for a caller that is gone: delete the key, whoever made it.
    Sweep,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reply {
    Entered { created: Revision, first: bool },
    LeaseEnded,
    Deleted,
    Written { committed: bool },
}

/// The queue of one lock, the leases of the processes, and the resource that holders write.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Server {
    pub(super) entries: Vec<Option<Revision>>,
    pub(super) leases: Vec<bool>,
    revision: Revision,
    last_write: Revision,
    /// A write was committed by somebody who did not hold the lock, or after one with a greater token.
    pub(super) stale_write: bool,
}

impl Server {
    pub(super) fn new(processes: usize) -> Self {
        Self {
            entries: vec![None; processes],
            leases: vec![true; processes],
            revision: 0,
            last_write: 0,
            stale_write: false,
        }
    }

    /// Does what a process asks for, who holds the lock, or doesn't.
    pub(super) fn execute(
        &mut self,
        process: usize,
        request: Request,
        holds: bool,
        bug: Option<Bug>,
    ) -> Reply {
        match request {
            Request::Enter => self.enter(process),
            Request::Delete(created) => {
                let compares = bug != Some(Bug::DeleteWithoutCompare);
                self.delete(process, compares.then_some(created))
            }
            Request::Sweep => self.delete(process, None),
            Request::Write(created) => {
                let compares = bug != Some(Bug::WriteWithoutCompare);
                self.write(process, created, holds, compares)
            }
        }
    }

    pub(super) fn end_lease(&mut self, process: usize) {
        self.leases[process] = false;
        self.entries[process] = None;
    }

    /// Whether the entry of this revision is there, and nobody stands before it.
    pub(super) fn is_first(&self, process: usize, created: Revision) -> bool {
        self.entries[process] == Some(created) && self.first() == Some(created)
    }

    fn first(&self) -> Option<Revision> {
        self.entries.iter().flatten().min().copied()
    }

    fn enter(&mut self, process: usize) -> Reply {
        if !self.leases[process] {
            return Reply::LeaseEnded;
        }
        let created = match self.entries[process] {
            Some(created) => created,
            None => {
                self.revision += 1;
                self.revision
            }
        };
        self.entries[process] = Some(created);
        let first = self.is_first(process, created);
        Reply::Entered { created, first }
    }

    fn delete(&mut self, process: usize, created: Option<Revision>) -> Reply {
        let entry = &mut self.entries[process];
        if created.is_none() || *entry == created {
            *entry = None;
        }
        Reply::Deleted
    }

    fn write(&mut self, process: usize, created: Revision, holds: bool, compares: bool) -> Reply {
        let committed = !compares || self.entries[process] == Some(created);
        if committed {
            self.stale_write |= created < self.last_write || !holds;
            self.last_write = created;
        }
        Reply::Written { committed }
    }
}
