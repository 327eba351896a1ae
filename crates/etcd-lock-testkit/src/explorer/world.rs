//! The world of the explorer at one moment, and how a step changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_lock_core::{ErrorKind, LeaseId};
use etcd_lock_queue::{CallerId, EntryId, Input, Mode, Nonce, Timer};

use super::client::{Caller, Client, Phase, Token, Write};
use super::coverage;
use super::journal::{Journal, Outside};
use super::judge::Wrong;
use super::pace::Pace;
use super::server::{Deletion, Server};
use super::step::{ClientStep, Step};
use super::{Bounds, Bug, lock_name};
use crate::history::Author;

/// The world at one moment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct World {
    pub(super) server: Server,
    pub(super) clients: Vec<Arc<Client>>,
    pub(super) now: u64,
    pub(super) ticks: u8,
    pub(super) faults: u8,
    pub(super) pace: Pace,
    pub(super) handovers: u32,
    pub(super) outside: Outside,
    /// When strangers deleted entries that clients may still believe in.
    pub(super) robbed: BTreeMap<EntryId, u64>,
    /// Entries whose holds ended while they were true, and which are still there.
    pub(super) over: BTreeSet<EntryId>,
    /// The greatest token that was granted.
    pub(super) granted: Option<Token>,
    /// The wrong that a step has done.
    pub(super) wrong: Option<Wrong>,
    pub(super) journal: Journal,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let clients = bounds.clients.iter();
        Self {
            server: Server::new(),
            clients: clients
                .map(|sessions| Arc::new(Client::new(sessions, bounds)))
                .collect(),
            now: 0,
            ticks: bounds.ticks,
            faults: bounds.faults,
            pace: bounds.pace,
            handovers: bounds.handovers,
            outside: Outside::default(),
            robbed: BTreeMap::new(),
            over: BTreeSet::new(),
            granted: None,
            wrong: None,
            journal: Journal::default(),
        }
    }

    pub(super) fn take(&mut self, step: &Step, bug: Option<Bug>) {
        match step {
            Step::Tick => self.tick(),
            Step::Rob(key) => {
                self.faults -= 1;
                let deletions = self.server.delete(key);
                self.outside.keys.remove(key);
                self.rob(deletions);
            }
            Step::Intrude(intruder) => self.intrude(intruder),
            Step::Leave(key) => {
                let deletions = self.server.delete(key);
                self.outside.keys.remove(key);
                self.tell_watches(&deletions, Author::Stranger);
            }
            Step::Of(client, step) => self.take_of(*client, step, bug),
        }
        self.write_claims();
    }

    fn tick(&mut self) {
        let delayed = self.delayed();
        self.now += 1;
        self.ticks = self.ticks.saturating_sub(1);
        self.journal.tick(self.now, self.pace);
        for client in delayed {
            self.journal.disturbed(client, "requests take long");
        }
        self.pass_time();
    }

    fn take_of(&mut self, client: usize, step: &ClientStep, bug: Option<Bug>) {
        match step {
            ClientStep::Acquire(caller, mode) => self.acquire(client, *caller, *mode, bug),
            ClientStep::Cancel(caller) => self.cancel(client, *caller, bug),
            ClientStep::Release(caller) => {
                self.write_release(client, *caller);
                let this = self.caller(client, *caller);
                this.phase = Phase::Releasing;
                let session = this.session;
                self.feed(client, Input::Release(session, *caller), bug);
            }
            ClientStep::Write(caller) => self.write(client, *caller, bug),
            ClientStep::ExecuteWrite(caller) => self.execute_write(client, *caller),
            ClientStep::AnswerWrite(caller) => self.answer_write(client, *caller, bug),
            ClientStep::DoubtWrite(caller) => {
                self.faults -= 1;
                if let Some(write) = &mut self.caller(client, *caller).write {
                    write.is_in_doubt = true;
                }
                self.write_doubt(client, *caller);
            }
            ClientStep::Fire(timer) => {
                self.client(client).timers.remove(timer);
                self.feed(client, Input::Fired(*timer), bug);
            }
            ClientStep::EndSession(session) => {
                self.faults -= 1;
                self.write_closed(client, *session);
                self.end_session(client, *session, bug);
            }
            ClientStep::Notice(session) => {
                self.journal
                    .session_ends(*session, ErrorKind::LeaseNotFound);
                self.end_session(client, *session, bug);
            }
            ClientStep::Expire(lease) => {
                let deletions = self.server.end_lease(*lease);
                self.write_lease_end(*lease, Author::Expiry);
                self.tell_watches(&deletions, Author::Expiry);
            }
            ClientStep::Revoke(lease) => {
                self.faults -= 1;
                let deletions = self.server.end_lease(*lease);
                self.write_lease_end(*lease, Author::Stranger);
                self.rob(deletions);
            }
            request if self.take_request(client, request, bug) => {}
            watch if self.take_watch(client, watch, bug) => {}
            trouble => self.take_trouble(client, trouble, bug),
        }
    }

    fn acquire(&mut self, client: usize, caller: CallerId, mode: Mode, bug: Option<Bug>) {
        if mode == Mode::Try {
            self.faults = self.faults.saturating_sub(1);
        }
        let this = self.caller(client, caller);
        this.wants -= 1;
        this.phase = Phase::Waiting;
        let session = this.session;
        self.write_wait(client, caller, mode);
        let input = Input::Acquire {
            session,
            caller,
            mode,
            nonce: nonce(session),
            limits: self.clients[client].limits,
        };
        self.feed(client, input, bug);
    }

    fn cancel(&mut self, client: usize, caller: CallerId, bug: Option<Bug>) {
        self.faults -= 1;
        self.write_cancel(client, caller);
        let this = self.caller(client, caller);
        this.phase = Phase::Idle;
        let session = this.session;
        self.feed(client, Input::Cancel(session, caller), bug);
    }

    fn write(&mut self, client: usize, caller: CallerId, bug: Option<Bug>) {
        let this = self.caller(client, caller);
        let session = this.session;
        if let Phase::Holding { token, may_write } = &mut this.phase {
            *may_write = false;
            this.write = Some(Write {
                token: *token,
                is_answered: false,
                is_in_doubt: false,
            });
            self.write_begins(client, caller);
            self.feed(client, Input::WriteSent(session, caller), bug);
        }
    }

    fn execute_write(&mut self, client: usize, caller: CallerId) {
        let this = self.caller(client, caller);
        let session = this.session;
        let Some(write) = &mut this.write else {
            return;
        };
        write.is_answered = true;
        let write = *write;
        if write.is_in_doubt {
            this.write = None;
        }
        let entry = EntryId::new(lock_name().key(session), write.token.0);
        if self.server.is_live(&entry) {
            self.write_commit(client, caller);
            if self.granted > Some(write.token) {
                self.wrong = Some(Wrong::StaleWrite);
            }
        }
    }

    fn answer_write(&mut self, client: usize, caller: CallerId, bug: Option<Bug>) {
        let this = self.caller(client, caller);
        this.write = None;
        let session = this.session;
        self.write_ends(client, caller);
        self.feed(client, Input::WriteAnswered(session, caller), bug);
    }

    pub(super) fn end_session(&mut self, client: usize, session: LeaseId, bug: Option<Bug>) {
        let this = self.client(client);
        this.ended.insert(session);
        for caller in &mut this.callers {
            if caller.session == session {
                caller.wants = 0;
            }
        }
        this.beats.remove(&session);
        self.feed(client, Input::SessionEnded(session), bug);
    }

    fn rob(&mut self, deletions: Vec<Deletion>) {
        self.tell_watches(&deletions, Author::Stranger);
        let robbed = deletions.into_iter();
        self.robbed
            .extend(robbed.map(|deletion| (deletion.entry, self.now)));
    }

    /// Feeds a machine. A history is judged by the checker, and every other world by its own properties.
    pub(super) fn feed(&mut self, client: usize, input: Input, bug: Option<Bug>) {
        let now = self.now;
        if self.journal.is_on() {
            for output in self.client(client).feed(input, now, bug) {
                self.narrate(client, &output);
            }
            return;
        }
        let before = Arc::clone(&self.clients[client]);
        let told = self.client(client).feed(input.clone(), now, bug);
        coverage::note(&before.queue, &input, &self.clients[client]);
        self.note_over(client, &before);
        for output in &told {
            coverage::tell(output);
            self.judge(client, &before, output);
        }
        self.forget_robbed();
    }

    pub(super) fn client(&mut self, client: usize) -> &mut Client {
        Arc::make_mut(&mut self.clients[client])
    }

    pub(super) fn caller(&mut self, client: usize, caller: CallerId) -> &mut Caller {
        self.client(client).caller(caller)
    }

    /// The timers that a driver fires without being asked.
    pub(super) fn due(&self, client: usize, session: LeaseId) -> Option<Timer> {
        let client = &self.clients[client];
        client.queue.holder(session)?;
        let claims = client.claims(self.now).any(|(of, _)| of == session);
        (!claims).then_some(Timer::Expired(session))
    }
}

/// The nonce of all attempts of a session.
pub(super) fn nonce(session: LeaseId) -> Nonce {
    Nonce::new(session.get().unsigned_abs())
}
