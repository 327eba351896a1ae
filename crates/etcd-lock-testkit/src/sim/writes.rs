//! Fenced writes: which were begun, which were committed, and how they ended for their writers.

use std::collections::BTreeMap;

use bytes::Bytes;
use etcd_lock_core::Revision;

use super::history::WriteEnd;

#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<u64, Write>);

#[derive(Debug)]
struct Write {
    process: usize,
    lock: usize,
    /// The grant that it is under.
    created: Revision,
    committed: bool,
    end: Option<WriteEnd>,
}

impl Writes {
    pub(super) fn began(&mut self, id: u64, process: usize, lock: usize, created: Revision) {
        let write = Write {
            process,
            lock,
            created,
            committed: false,
            end: None,
        };
        self.0.insert(id, write);
    }

    pub(super) fn ended(&mut self, id: u64, end: WriteEnd) {
        if let Some(write) = self.0.get_mut(&id) {
            write.end = Some(end);
        }
    }

    /// What is wrong with a write that is committed now, or nothing at all where it is none of those that were begun.
    /// `holder` says for each process under which grant it may write.
    pub(super) fn committed(
        &mut self,
        lock: usize,
        value: &Bytes,
        holder: impl Fn(usize) -> Option<Revision>,
    ) -> Option<Result<(), String>> {
        let id = std::str::from_utf8(value).ok()?.parse::<u64>().ok()?;
        let write = self.0.get_mut(&id)?;
        let created = write.created;
        let holder = holder(write.process);
        Some(if std::mem::replace(&mut write.committed, true) {
            Err(format!("write {id} was committed twice"))
        } else if write.lock != lock || holder != Some(created) {
            Err(format!(
                "fencing: write {id} under revision {created} was committed while {holder:?} held the lock"
            ))
        } else {
            Ok(())
        })
    }

    /// At the end, nothing that was acknowledged may be missing, and nothing there that was refused.
    pub(super) fn settle(&self) -> Option<String> {
        self.0
            .iter()
            .find_map(|(id, write)| match (write.end?, write.committed) {
                (WriteEnd::Done, false) => Some(format!("write {id} was acknowledged and is lost")),
                (end @ (WriteEnd::Refused | WriteEnd::NotDone), true) => {
                    Some(format!("write {id} ended with {end:?} and is there"))
                }
                _ => None,
            })
    }
}
