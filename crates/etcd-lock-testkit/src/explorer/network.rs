//! The network between the clients and the server: requests, heartbeats and watches.

use std::sync::Arc;

use etcd_lock_core::{ErrorKind, LeaseId};
use etcd_lock_queue::{
    EntryId, Input, Observation, Reply, Request, RequestFailure, Snapshot, Stage, Stamp, Ticket,
};

use super::client::{Answer, Channel};
use super::journal;
use super::judge::Wrong;
use super::pace::Pace;
use super::server::Deletion;
use super::step::{ClientStep, How};
use super::world::{World, nonce};
use super::{Bug, lock_name};
use crate::history::Author;

impl World {
    /// Takes a step of a request or a heartbeat, if it is one.
    pub(super) fn take_request(
        &mut self,
        client: usize,
        step: &ClientStep,
        bug: Option<Bug>,
    ) -> bool {
        match step {
            ClientStep::Execute(ticket) => self.execute(client, *ticket),
            ClientStep::Answer(ticket) => self.answer(client, *ticket, bug),
            ClientStep::Fail(ticket, how) => self.fail(client, *ticket, *how, bug),
            ClientStep::Copy(ticket) => {
                self.faults -= 1;
                let request = self.clients[client].wire[ticket].request.clone();
                self.client(client).late.push(request);
            }
            ClientStep::ExecuteLate(place) => {
                let request = self.client(client).late.remove(*place);
                let _ = self.ask(client, &request);
            }
            ClientStep::DropLate(place) => {
                self.client(client).late.remove(*place);
            }
            ClientStep::Beat(session) => {
                self.beat(client, *session, bug);
                self.hear(client, *session, bug);
            }
            ClientStep::SlowBeat(session) => {
                self.faults = self.faults.saturating_sub(1);
                self.beat(client, *session, bug);
            }
            ClientStep::Hear(session) => self.hear(client, *session, bug),
            _ => return false,
        }
        true
    }

    fn execute(&mut self, client: usize, ticket: Ticket) {
        let request = self.clients[client].wire[&ticket].request.clone();
        let answer = self.ask(client, &request);
        if let Some(wire) = self.client(client).wire.get_mut(&ticket) {
            wire.answer = Some(answer);
        }
    }

    /// The server executes a request as the transaction that it is.
    fn ask(&mut self, client: usize, request: &Request) -> Answer {
        let name = lock_name();
        let Ok((answer, deletions)) = self.server.execute(&request.txn(&name, b"")) else {
            return Answer::LeaseNotFound;
        };
        if let (Request::Enter { session, .. }, true) = (request, answer.succeeded) {
            let entry = EntryId::new(name.key(*session), answer.header.revision);
            self.journal.entered(&entry, session.get());
        }
        self.tell_watches(&deletions, Author::Client(journal::name(client)));
        let reply = request.reply(&name, &answer);
        Answer::Reply(reply.expect("an etcd answers so"))
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
            (_, Ticket::Enter(session)) => {
                self.journal.session_ends(session, ErrorKind::LeaseNotFound);
                self.end_session(client, session, bug);
            }
            _ => {}
        }
    }

    /// The input of a driver that counts a snapshot for entries that were created after it was read.
    fn antedated(&self, client: usize, reply: Reply) -> Reply {
        let Reply::Read(snapshot) = reply else {
            return reply;
        };
        let client = &self.clients[client];
        let sessions = client.sessions();
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
        self.write_failure(client, how);
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
        if let Answer::Reply(Reply::Checked(mut read)) = self.ask(client, &Request::Check { keys })
        {
            if bug == Some(Bug::WatchAsEvidence)
                && let Some(entry) = own
            {
                // No deletion was reported, so it is taken to exist.
                read.retain(|observation| observation.key != entry.key);
                let found = Some((entry.created, Some(nonce(session))));
                let at = self.server.revision();
                read.push(Observation::new(entry.key, at, found));
            }
            let (now, is_fine) = (self.now, self.pace == Pace::Fine);
            let this = self.client(client);
            this.beats.insert(session, (Stamp(now), read));
            if is_fine {
                this.trouble.beaten.insert(session, now);
            }
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

    /// Takes a step of the watches, if it is one.
    pub(super) fn take_watch(
        &mut self,
        client: usize,
        step: &ClientStep,
        bug: Option<Bug>,
    ) -> bool {
        let key = match step {
            ClientStep::Open => {
                self.open(client, bug);
                return true;
            }
            ClientStep::Tell(key) | ClientStep::Swallow(key) | ClientStep::Break(key) => {
                key.clone()
            }
            _ => return false,
        };
        if matches!(step, ClientStep::Swallow(_) | ClientStep::Break(_)) {
            self.faults -= 1;
        }
        if matches!(step, ClientStep::Break(_)) {
            self.feed(client, Input::WatchLost(key), bug);
            return true;
        }
        let Some(Channel::On(deleted)) = self.client(client).watches.get_mut(&key) else {
            return true;
        };
        let revision = deleted.remove(0);
        if matches!(step, ClientStep::Swallow(_)) {
            self.write_event_lost(client, &key);
        } else {
            self.feed(client, Input::Deleted(key, revision), bug);
        }
        true
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

    /// Somebody has deleted entries.
    pub(super) fn tell_watches(&mut self, deletions: &[Deletion], by: Author) {
        for Deletion { entry, revision } in deletions {
            self.journal.left(entry, *revision, by);
            if self.pace == Pace::Fine {
                let (key, at) = (entry.key.clone(), *revision);
                self.outside.deleted.insert(key, at);
            }
            for client in &mut self.clients {
                if !client.watches.contains_key(&entry.key) {
                    continue;
                }
                let watches = &mut Arc::make_mut(client).watches;
                if let Some(Channel::On(deleted)) = watches.get_mut(&entry.key) {
                    deleted.push(*revision);
                }
            }
        }
    }
}
