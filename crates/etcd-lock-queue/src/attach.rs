//! A hold that another process has detached goes on here.

use etcd_lock_core::{LeaseId, Revision};

use crate::entry::{Hold, OwnEntry, Seen, State};
use crate::handover::Limits;
use crate::io::{CallerId, Failure, Output, Stamp};
use crate::knowledge::EntryId;
use crate::machine::LockQueue;
use crate::value::Nonce;

/// The hold of another process: a read has shown that its entry exists and no older one does, and then a nonce of this
/// client was written into the entry, so that no other process goes on with the hold.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "the driver states all of it")]
pub struct DetachedEntry {
    /// The create revision of the entry.
    pub created: Revision,
    /// The hand-overs in the token of the hold.
    pub handover: u64,
    /// The nonce that the entry's value has by now.
    pub nonce: Nonce,
    /// The revision of the store when the nonce was written.
    pub at: Revision,
    /// When the write was sent, or earlier.
    pub sent: Stamp,
}

impl LockQueue {
    /// Nothing of the session may be here yet: neither an entry nor a request that could make one.
    pub(crate) fn attach(
        &mut self,
        session: LeaseId,
        caller: CallerId,
        limits: Limits,
        entry: DetachedEntry,
    ) {
        if self.own.contains_key(&session) {
            let busy = Output::Failed(caller, Failure::Busy);
            return self.outputs.push_back(busy);
        }
        let key = self.name.key(session);
        let id = EntryId::new(key.clone(), entry.created);
        if !self.knowledge.note(&id, entry.at) {
            let deleted = Output::Failed(caller, Failure::Deleted);
            return self.outputs.push_back(deleted);
        }
        let own = OwnEntry::new(key, entry.nonce, limits);
        self.own.insert(session, own);
        let seen = Seen::new(entry.created, entry.sent);
        let hold = Hold {
            handover: entry.handover,
            // Nobody here knows whether each fenced write of the other process was answered.
            unanswered: 1,
            ..Hold::new(seen, caller)
        };
        self.set_state(session, State::Held(hold));
        self.outputs.push_back(Output::Attached {
            session,
            caller,
            created: entry.created,
            handover: entry.handover,
        });
    }
}
