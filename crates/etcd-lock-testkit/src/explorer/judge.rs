//! Whether what the machine tells callers is true, as the server knows it.

use std::collections::BTreeSet;

use etcd_lock_queue::{EntryId, Failure, Output, Stage, Ticket};

use super::client::{Client, Token};
use super::lock_name;
use super::world::World;

/// The ways in which a step can be wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Wrong {
    /// A grant while an older entry of another client is live.
    NotTheHead,
    /// A grant of an entry that was deleted longer ago than a heartbeat, or a hold can last.
    NoEntry,
    /// A grant whose token is not greater than all before.
    Token,
    /// A fenced write was committed after a grant with a greater token.
    StaleWrite,
    /// A caller was told of a deletion or a loss that did not happen.
    FalseLoss,
    /// A heartbeat showed that the entry is gone, and the hold went on.
    DeafHold,
}

impl World {
    /// Whether what a caller is told is true.
    pub(super) fn judge(&mut self, client: usize, before: &Client, output: &Output) {
        match output {
            Output::Granted {
                session,
                created,
                handover,
                ..
            } => {
                let entry = EntryId::new(lock_name().key(*session), *created);
                self.judge_grant(client, &entry, (*created, *handover));
            }
            Output::Failed(caller, Failure::Deleted) | Output::Lost(caller) => {
                let session = before.callers[caller.0 as usize].session;
                let is_valid = before
                    .claims(self.now)
                    .any(|(_, claimer)| claimer == *caller)
                    || matches!(output, Output::Failed(..));
                let entry = before.queue.entry(session);
                let is_there = entry.is_some_and(|entry| self.server.is_live(&entry));
                let has_ended = self.clients[client].ended.contains(&session);
                if is_valid && is_there && !has_ended {
                    self.wrong = Some(Wrong::FalseLoss);
                }
            }
            _ => {}
        }
    }

    fn judge_grant(&mut self, client: usize, entry: &EntryId, token: Token) {
        if self.server.is_live(entry) {
            if !self.is_head(client, entry) {
                self.wrong = Some(Wrong::NotTheHead);
            }
            if self.granted >= Some(token) {
                self.wrong = Some(Wrong::Token);
            }
        } else {
            let bound = match token.1 {
                0 => self.pace.fresh(),
                _ => self.pace.valid(),
            };
            let robbed = self.robbed.get(entry);
            if robbed.is_none_or(|at| self.now - at > bound) {
                self.wrong = Some(Wrong::NoEntry);
            }
        }
        self.granted = self.granted.max(Some(token));
    }

    /// Whether all older entries are those of the same client whose holds are over.
    pub(super) fn is_head(&self, client: usize, entry: &EntryId) -> bool {
        let name = lock_name();
        let keys = self.clients[client].sessions();
        let own: BTreeSet<_> = keys.map(|session| name.key(session)).collect();
        let is_over = |older: &EntryId| own.contains(&older.key) && self.over.contains(older);
        self.server.entries().range(..entry).all(is_over)
    }

    /// Notes the entry of a hold that was true until it was released.
    pub(super) fn note_over(&mut self, client: usize, before: &Client) {
        for (session, _) in before.claims(self.now) {
            let entry = before.queue.entry(session);
            if self.clients[client].queue.stage(session) == Stage::Releasing {
                self.over.extend(entry);
            }
        }
        let server = &self.server;
        self.over.retain(|entry| server.is_live(entry));
    }

    /// Forgets the entries that no client believes in, or is about to.
    pub(super) fn forget_robbed(&mut self) {
        let clients = &self.clients;
        self.robbed.retain(|entry, _| {
            let mut clients = clients.iter();
            clients.any(|client| {
                let mut sessions = client.sessions();
                sessions.any(|session| {
                    let is_entering = client.wire.contains_key(&Ticket::Enter(session));
                    is_entering || client.queue.entry(session).as_ref() == Some(entry)
                })
            })
        });
    }
}
