//! The world of the explorer at one moment, and how a step changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_lock_core::LeaseId;
use etcd_lock_queue::{
    CallerId, EntryId, Input, Mode, Nonce, Observation, Reply, Request, RequestFailure, Snapshot,
    Stage, Stamp, Ticket, Timer,
};

use super::client::{Answer, Channel, Client, Phase, Token, Write};
use super::coverage;
use super::judge::Wrong;
use super::server::{Deletion, Server};
use super::step::{How, Step, What};
use super::{Bounds, Bug, lock_name};

/// The world at one moment.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct World {
    pub(super) server: Server,
    pub(super) clients: Vec<Arc<Client>>,
    pub(super) now: u64,
    pub(super) ticks: u8,
    pub(super) faults: u8,
    /// When strangers deleted entries that clients may still believe in.
    pub(super) robbed: BTreeMap<EntryId, u64>,
    /// Entries whose holds ended while they were true, and which are still there.
    pub(super) over: BTreeSet<EntryId>,
    /// The greatest token that was granted.
    pub(super) granted: Option<Token>,
    /// What must not happen and has.
    pub(super) wrong: Option<Wrong>,
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
            robbed: BTreeMap::new(),
            over: BTreeSet::new(),
            granted: None,
            wrong: None,
        }
    }

    pub(super) fn take(&mut self, step: &Step, bug: Option<Bug>) {
        match step {
            Step::Tick => {
                self.now += 1;
                self.ticks -= 1;
            }
            Step::Rob(entry) => {
                self.faults -= 1;
                let deletions = self.server.delete(entry);
                self.rob(deletions);
            }
            Step::Of(client, what) => self.take_of(*client, what, bug),
        }
    }

    fn take_of(&mut self, client: usize, what: &What, bug: Option<Bug>) {
        match what {
            What::Acquire(caller, mode) => self.acquire(client, *caller, *mode, bug),
            What::Cancel(caller) => {
                let session = self.caller(client, *caller).session;
                let phase = &mut self.caller(client, *caller).phase;
                *phase = Phase::Idle;
                self.faults -= 1;
                self.feed(client, Input::Cancel(session, *caller), bug);
            }
            What::Release(caller) => {
                let this = self.caller(client, *caller);
                this.phase = Phase::Releasing;
                let session = this.session;
                self.feed(client, Input::Release(session, *caller), bug);
            }
            What::Write(caller) => self.write(client, *caller, bug),
            What::ExecuteWrite(caller) => self.execute_write(client, *caller),
            What::AnswerWrite(caller) => self.answer_write(client, *caller, bug),
            What::DoubtWrite(caller) => {
                self.faults -= 1;
                if let Some(write) = &mut self.caller(client, *caller).write {
                    write.is_in_doubt = true;
                }
            }
            What::Execute(ticket) => self.execute(client, *ticket),
            What::Answer(ticket) => self.answer(client, *ticket, bug),
            What::Fail(ticket, how) => self.fail(client, *ticket, *how, bug),
            What::Copy(ticket) => {
                self.faults -= 1;
                let request = self.clients[client].wire[ticket].request.clone();
                self.client(client).late.push(request);
            }
            What::ExecuteLate(place) => {
                let request = self.client(client).late.remove(*place);
                let _ = self.ask(&request);
            }
            What::DropLate(place) => {
                self.client(client).late.remove(*place);
            }
            What::Fire(timer) => {
                self.client(client).timers.remove(timer);
                self.feed(client, Input::Fired(*timer), bug);
            }
            What::Beat(session) => {
                self.beat(client, *session, bug);
                self.hear(client, *session, bug);
            }
            What::SlowBeat(session) => {
                self.faults -= 1;
                self.beat(client, *session, bug);
            }
            What::Hear(session) => self.hear(client, *session, bug),
            What::EndSession(session) => {
                self.faults -= 1;
                self.end_session(client, *session, bug);
            }
            What::Notice(session) => self.end_session(client, *session, bug),
            What::Expire(lease) => {
                let deletions = self.server.end_lease(*lease);
                self.tell_watches(&deletions);
            }
            What::Revoke(lease) => {
                self.faults -= 1;
                let deletions = self.server.end_lease(*lease);
                self.rob(deletions);
            }
            What::Open => self.open(client, bug),
            watch => self.take_watch(client, watch, bug),
        }
    }

    /// The server creates the watches that the client has asked for: they share one stream.
    fn open(&mut self, client: usize, bug: Option<Bug>) {
        let revision = self.server.revision();
        let mut opened = Vec::new();
        for (key, channel) in &mut self.client(client).watches {
            if *channel == Channel::Opening {
                *channel = Channel::On(Vec::new());
                opened.push(key.clone());
            }
        }
        for key in opened {
            self.feed(client, Input::Watching(key, revision), bug);
        }
    }

    fn take_watch(&mut self, client: usize, what: &What, bug: Option<Bug>) {
        let watches = &mut self.client(client).watches;
        let input = match what {
            What::Tell(key) | What::Swallow(key) => match watches.get_mut(key) {
                Some(Channel::On(deleted)) => Input::Deleted(key.clone(), deleted.remove(0)),
                _ => return,
            },
            What::Break(key) => Input::WatchLost(key.clone()),
            _ => return,
        };
        if matches!(what, What::Swallow(_) | What::Break(_)) {
            self.faults -= 1;
        }
        if !matches!(what, What::Swallow(_)) {
            self.feed(client, input, bug);
        }
    }

    fn acquire(&mut self, client: usize, caller: CallerId, mode: Mode, bug: Option<Bug>) {
        if mode == Mode::Try {
            self.faults -= 1;
        }
        let this = self.caller(client, caller);
        this.wants -= 1;
        this.phase = Phase::Waiting;
        let session = this.session;
        let nonce = Nonce::new(session.get().unsigned_abs());
        let input = Input::Acquire {
            session,
            caller,
            mode,
            nonce,
            limits: self.clients[client].limits,
        };
        self.feed(client, input, bug);
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
        if self.server.is_live(&entry) && self.granted > Some(write.token) {
            self.wrong = Some(Wrong::StaleWrite);
        }
    }

    fn answer_write(&mut self, client: usize, caller: CallerId, bug: Option<Bug>) {
        let this = self.caller(client, caller);
        this.write = None;
        let session = this.session;
        self.feed(client, Input::WriteAnswered(session, caller), bug);
    }

    fn execute(&mut self, client: usize, ticket: Ticket) {
        let request = self.clients[client].wire[&ticket].request.clone();
        let answer = self.ask(&request);
        if let Some(wire) = self.client(client).wire.get_mut(&ticket) {
            wire.answer = Some(answer);
        }
    }

    /// The server executes a request as the transaction that it is.
    fn ask(&mut self, request: &Request) -> Answer {
        let name = lock_name();
        match self.server.execute(&request.txn(&name, b"")) {
            Ok((answer, deletions)) => {
                self.tell_watches(&deletions);
                let reply = request.reply(&name, &answer);
                Answer::Reply(reply.expect("an etcd answers so"))
            }
            Err(_) => Answer::LeaseNotFound,
        }
    }

    fn answer(&mut self, client: usize, ticket: Ticket, bug: Option<Bug>) {
        let Some(wire) = self.client(client).wire.remove(&ticket) else {
            return;
        };
        match (wire.answer, ticket) {
            (Some(Answer::Reply(reply)), _) => {
                let sent = match bug {
                    Some(Bug::ConfirmedFromReceipt) => Stamp(self.now),
                    _ => wire.sent,
                };
                let reply = match bug {
                    Some(Bug::SnapshotOlderThanEntry) => self.antedated(client, reply),
                    _ => reply,
                };
                let request = ticket;
                let input = Input::Replied {
                    request,
                    sent,
                    reply,
                };
                self.feed(client, input, bug);
            }
            (_, Ticket::Enter(session)) => self.end_session(client, session, bug),
            _ => {}
        }
    }

    /// What a driver would feed that counts a snapshot for entries that were created after it was read.
    fn antedated(&self, client: usize, reply: Reply) -> Reply {
        let Reply::Read(snapshot) = reply else {
            return reply;
        };
        let client = &self.clients[client];
        let sessions = client.sessions().into_iter();
        let own: Vec<_> = sessions.filter_map(|of| client.queue.entry(of)).collect();
        let newest = own.iter().map(|entry| entry.created).max();
        let up_to = newest.unwrap_or(snapshot.up_to);
        let entries = snapshot.entries.into_iter().chain(own);
        Reply::Read(Snapshot::new(up_to, up_to, snapshot.complete, entries))
    }

    fn fail(&mut self, client: usize, ticket: Ticket, how: How, bug: Option<Bug>) {
        self.faults -= 1;
        let Some(wire) = self.client(client).wire.remove(&ticket) else {
            return;
        };
        if how == How::Stranded {
            self.client(client).late.push(wire.request);
        }
        let failure = match how {
            How::NotExecuted => RequestFailure::NotExecuted,
            How::Refused => RequestFailure::Refused,
            How::Lost | How::Stranded => RequestFailure::InDoubt,
        };
        self.feed(client, Input::Failed(ticket, failure), bug);
    }

    /// A heartbeat is read. Its answer may take a while.
    fn beat(&mut self, client: usize, session: LeaseId, bug: Option<Bug>) {
        let keys: Vec<_> = self.clients[client].queue.heartbeat(session).collect();
        let own = self.clients[client].queue.entry(session);
        if let Answer::Reply(Reply::Checked(mut read)) = self.ask(&Request::Check { keys }) {
            if bug == Some(Bug::WatchAsEvidence)
                && let Some(entry) = own
            {
                // No deletion was reported, so it is taken to exist.
                read.retain(|observation| observation.key != entry.key);
                let nonce = Some(Nonce::new(session.get().unsigned_abs()));
                let found = Some((entry.created, nonce));
                let at = self.server.revision();
                read.push(Observation::new(entry.key, at, found));
            }
            let beat = (Stamp(self.now), read);
            self.client(client).beats.insert(session, beat);
        }
    }

    fn hear(&mut self, client: usize, session: LeaseId, bug: Option<Bug>) {
        let Some((sent, observations)) = self.client(client).beats.remove(&session) else {
            return;
        };
        let held = self.clients[client].queue.entry(session);
        let is_gone = |entry: &EntryId| {
            let mut read = observations.iter();
            read.any(|read| {
                let found = read.found.map(|(created, _)| created);
                read.key == entry.key && read.at >= entry.created && found != Some(entry.created)
            })
        };
        let gone = held.filter(is_gone);
        let sent = match bug {
            Some(Bug::ConfirmedFromReceipt) => Stamp(self.now),
            _ => sent,
        };
        let input = Input::Observed { sent, observations };
        self.feed(client, input, bug);
        let queue = &self.clients[client].queue;
        if gone.is_some() && queue.stage(session) == Stage::Held && queue.entry(session) == gone {
            self.wrong = Some(Wrong::DeafHold);
        }
    }

    fn end_session(&mut self, client: usize, session: LeaseId, bug: Option<Bug>) {
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
        self.tell_watches(&deletions);
        let robbed = deletions.into_iter();
        self.robbed
            .extend(robbed.map(|deletion| (deletion.entry, self.now)));
    }

    fn tell_watches(&mut self, deletions: &[Deletion]) {
        for deletion in deletions {
            for client in &mut self.clients {
                let key = &deletion.entry.key;
                if !client.watches.contains_key(key) {
                    continue;
                }
                let watches = &mut Arc::make_mut(client).watches;
                if let Some(Channel::On(deleted)) = watches.get_mut(key) {
                    deleted.push(deletion.revision);
                }
            }
        }
    }

    fn feed(&mut self, client: usize, input: Input, bug: Option<Bug>) {
        let before = Arc::clone(&self.clients[client]);
        let now = self.now;
        let told = self.client(client).feed(input.clone(), now, bug);
        coverage::note(&before.queue, &input, &self.clients[client]);
        self.note_over(client, &before);
        for output in &told {
            coverage::tell(output);
            self.judge(client, &before, output);
        }
        self.forget_robbed();
    }

    fn client(&mut self, client: usize) -> &mut Client {
        Arc::make_mut(&mut self.clients[client])
    }

    fn caller(&mut self, client: usize, caller: CallerId) -> &mut super::client::Caller {
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
