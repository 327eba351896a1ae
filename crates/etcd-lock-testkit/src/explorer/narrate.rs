//! The history of a world: the facts that each step stands for.

use etcd_lock_core::{ErrorKind, LeaseId, LockKey};
use etcd_lock_queue::{CallerId, EntryId, Failure, Mode, Output};

use super::client::Phase;
use super::journal::{self, Current, LOCK};
use super::lock_name;
use super::step::How;
use super::world::World;
use crate::history::{Author, Fact, How as Wait, Mode as Claim, WriteEnd};

impl World {
    /// Begins a history, which is kept to be read or only judged.
    pub(super) fn begin_history(&mut self, is_kept: bool) {
        self.journal = journal::Journal::new(is_kept);
        let ttl = self.pace.ttl();
        for (number, of) in self.clients.iter().enumerate() {
            let client = journal::name(number);
            self.journal.write(|| Fact::Started { client });
            for lease in of.sessions().map(LeaseId::get) {
                let leased = Fact::Leased { client, lease, ttl };
                self.journal.write(|| leased);
                self.journal.write(|| Fact::LeaseBegan { lease });
            }
        }
    }

    pub(super) fn write_wait(&mut self, client: usize, caller: CallerId, mode: Mode) {
        let wait = self.journal.waits(client, caller);
        let session = self.clients[client].callers[caller.0 as usize].session;
        self.journal.write(|| Fact::Asked {
            client: journal::name(client),
            wait,
            lock: LOCK.to_owned(),
            key: journal::text(&lock_name().key(session)),
            lease: session.get(),
            how: match mode {
                Mode::Try => Wait::Try,
                Mode::Wait => Wait::Lock,
            },
        });
    }

    /// The facts of an output of a machine, as its caller sees it.
    pub(super) fn narrate(&mut self, client: usize, output: &Output) {
        match output {
            Output::Granted {
                session,
                caller,
                created,
                handover,
            } => {
                let entry = EntryId::new(lock_name().key(*session), *created);
                self.write_grant(client, *caller, &entry, *handover);
            }
            Output::Failed(caller, failure) => {
                let Some(Current::Waits(wait)) = self.journal.ends(client, *caller) else {
                    return;
                };
                let kind = self.failure_kind(client, *caller, *failure);
                let client = journal::name(client);
                self.journal.write(|| Fact::Failed { client, wait, kind });
            }
            Output::Lost(caller) => self.write_loss(client, *caller),
            _ => {}
        }
    }

    fn write_grant(&mut self, client: usize, caller: CallerId, entry: &EntryId, handover: u64) {
        let Some(Current::Waits(wait)) = self.journal.current(client, caller) else {
            return;
        };
        let grant = self.journal.holds(client, caller);
        let held = self.is_claimed(client, caller);
        let limit = self.handovers.into();
        self.journal.write(|| Fact::Granted {
            client: journal::name(client),
            wait,
            grant,
            entry: journal::of(entry),
            handover,
            mode: Claim::Guard,
            limit,
            held,
        });
        self.journal.news();
    }

    fn write_loss(&mut self, number: usize, caller: CallerId) {
        let Some(Current::Holds(grant)) = self.journal.ends(number, caller) else {
            return;
        };
        let session = self.clients[number].callers[caller.0 as usize].session;
        let kind = match self.clients[number].ended.contains(&session) {
            true => self.journal.end_of(session),
            false => ErrorKind::Lost,
        };
        let held = self.is_claimed(number, caller);
        let client = journal::name(number);
        let lost = Fact::Lost {
            client,
            grant,
            kind,
            held,
        };
        self.journal.write(|| lost);
        let held = false;
        let released = Fact::Released {
            client,
            grant,
            held,
        };
        self.journal.write(|| released);
    }

    fn failure_kind(&self, client: usize, caller: CallerId, failure: Failure) -> ErrorKind {
        let session = self.clients[client].callers[caller.0 as usize].session;
        match failure {
            Failure::Busy => ErrorKind::Busy,
            Failure::Foreign => ErrorKind::AlreadyOpen,
            Failure::Refused => ErrorKind::PermissionDenied,
            Failure::SessionLost => self.journal.end_of(session),
            _ => ErrorKind::Lost,
        }
    }

    fn is_claimed(&self, client: usize, caller: CallerId) -> bool {
        let mut claims = self.clients[client].claims(self.now);
        claims.any(|(_, claimer)| claimer == caller)
    }

    pub(super) fn write_release(&mut self, client: usize, caller: CallerId) {
        if let Some(Current::Holds(grant)) = self.journal.ends(client, caller) {
            let held = self.is_claimed(client, caller);
            let client = journal::name(client);
            self.journal.write(|| Fact::Released {
                client,
                grant,
                held,
            });
        }
    }

    pub(super) fn write_cancel(&mut self, client: usize, caller: CallerId) {
        let phase = self.clients[client].callers[caller.0 as usize].phase;
        if matches!(phase, Phase::Holding { .. }) {
            return self.write_release(client, caller);
        }
        if let Some(Current::Waits(wait)) = self.journal.ends(client, caller) {
            let client = journal::name(client);
            self.journal.write(|| Fact::GaveUp { client, wait });
        }
    }

    pub(super) fn write_begins(&mut self, client: usize, caller: CallerId) {
        if let Some(Current::Holds(grant)) = self.journal.current(client, caller) {
            let write = self.journal.writes(client, caller);
            let client = journal::name(client);
            self.journal.write(|| Fact::WriteBegan {
                client,
                write,
                grant,
            });
        }
    }

    pub(super) fn write_commit(&mut self, client: usize, caller: CallerId) {
        if let Some(write) = self.journal.written(client, caller) {
            write.1 = true;
            let write = write.0;
            self.journal.write(|| Fact::Committed { write });
        }
    }

    pub(super) fn write_ends(&mut self, client: usize, caller: CallerId) {
        let written = self.journal.written(client, caller).copied();
        let Some((write, is_committed)) = written else {
            return;
        };
        let end = match is_committed {
            true => WriteEnd::Done,
            false => WriteEnd::Refused,
        };
        let client = journal::name(client);
        self.journal
            .write(|| Fact::WriteEnded { client, write, end });
    }

    pub(super) fn write_doubt(&mut self, client: usize, caller: CallerId) {
        let written = self.journal.written(client, caller).copied();
        if let Some((write, _)) = written {
            self.journal
                .disturbed(client, "the answer to a write is lost");
            let (client, end) = (journal::name(client), WriteEnd::Unknown);
            self.journal
                .write(|| Fact::WriteEnded { client, write, end });
        }
    }

    pub(super) fn write_failure(&mut self, client: usize, how: How) {
        self.journal.disturbed(client, "a request fails");
        if how == How::Refused {
            let (client, kind) = (journal::name(client), ErrorKind::PermissionDenied);
            self.journal.write(|| Fact::Refused { client, kind });
        }
    }

    pub(super) fn write_event_lost(&mut self, client: usize, key: &LockKey) {
        let client = journal::name(client);
        self.journal.write(|| Fact::EventLost {
            client,
            key: journal::text(key),
        });
    }

    pub(super) fn write_closed(&mut self, client: usize, session: LeaseId) {
        self.journal.session_ends(session, ErrorKind::Closed);
        let (client, lease) = (journal::name(client), session.get());
        self.journal.write(|| Fact::Closed { client, lease });
    }

    pub(super) fn write_lease_end(&mut self, lease: LeaseId, by: Author) {
        let lease = lease.get();
        self.journal.write(|| Fact::LeaseEnded { lease, by });
    }

    /// The clients whose requests are not answered in time when time passes now.
    pub(super) fn delayed(&self) -> Vec<usize> {
        if !self.journal.is_on() {
            return Vec::new();
        }
        let clients = self.clients.iter().enumerate();
        let delayed = clients.filter(|(_, client)| {
            let mut sessions = client.sessions();
            client.is_troubled(self.now) || sessions.any(|of| client.is_due(of, self.now))
        });
        delayed.map(|(number, _)| number).collect()
    }

    /// The answer of each guard, where something has happened since it was asked last.
    pub(super) fn write_claims(&mut self) {
        if !self.journal.takes_claims() {
            return;
        }
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            if client.sleeps(self.now) {
                continue;
            }
            let claims: Vec<_> = client.claims(self.now).collect();
            for (_, caller) in claims {
                if let Some(Current::Holds(grant)) = self.journal.current(number, caller) {
                    let (client, held) = (journal::name(number), true);
                    self.journal.write(|| Fact::Claimed {
                        client,
                        grant,
                        held,
                    });
                }
            }
        }
    }
}
