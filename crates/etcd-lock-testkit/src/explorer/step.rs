//! The steps that a world can take: what clients, network, server and strangers may do next.

use etcd_lock_core::{LeaseId, LockKey};
use etcd_lock_queue::{CallerId, Mode, Ticket, Timer};

use super::client::{Caller, Channel, Client, Phase};
use super::lock_name;
use super::pace::Pace;
use super::trouble::Intruder;
use super::world::World;

/// A step of the world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Time passes: a heartbeat and the time that its answer may take.
    Tick,
    /// A stranger deletes the entry of a key.
    Rob(LockKey),
    /// A stranger enters the queue.
    Intrude(Intruder),
    /// It leaves.
    Leave(LockKey),
    /// A step of one client, or of something between it and the server.
    Of(usize, ClientStep),
}

/// A step of one client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ClientStep {
    Acquire(CallerId, Mode),
    Cancel(CallerId),
    Release(CallerId),
    Write(CallerId),
    ExecuteWrite(CallerId),
    AnswerWrite(CallerId),
    DoubtWrite(CallerId),
    /// The server executes a request.
    Execute(Ticket),
    /// The client gets the answer.
    Answer(Ticket),
    Fail(Ticket, How),
    /// A copy of a request stays under way.
    Copy(Ticket),
    ExecuteLate(usize),
    DropLate(usize),
    Fire(Timer),
    /// The keys of a heartbeat are read, and the answer arrives at once.
    Beat(LeaseId),
    /// The keys of a heartbeat are read, and the answer takes a while.
    SlowBeat(LeaseId),
    /// It arrives.
    Hear(LeaseId),
    /// The client loses a session; its lease ends later.
    EndSession(LeaseId),
    /// The client learns that the lease of a session has ended.
    Notice(LeaseId),
    Expire(LeaseId),
    /// A stranger revokes the lease.
    Revoke(LeaseId),
    /// The server creates the watches that were asked for.
    Open,
    /// A message of a watch arrives.
    Tell(LockKey),
    /// It is lost, and the watch goes on.
    Swallow(LockKey),
    /// The watch is lost or cancelled.
    Break(LockKey),
    /// For so many ticks the client's requests need not be answered, nor its leases kept alive.
    Lag(u64),
    /// For so many ticks the client stands still.
    Sleep(u64),
    /// The client has not kept a lease alive for so long that it gives the session up.
    Lose(LeaseId),
    /// A timer fires that was not asked for, or fires once more.
    Misfire(Timer),
    /// A caller wants to know its position.
    AskPosition(LeaseId),
    /// A watch reports a deletion once more.
    Repeat(LockKey),
}

/// How a request fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// The request or its answer is lost.
    Lost,
    /// The caller is told so, and the request is still under way.
    Stranded,
    /// It is refused, and may be sent again.
    NotExecuted,
    /// It is refused for good.
    Refused,
}

impl World {
    /// The steps that can be next without a fault.
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        for (number, client) in self.clients.iter().enumerate() {
            let mut own = Vec::new();
            self.steps_of(number, client, &mut own);
            steps.extend(own.into_iter().map(|step| Step::Of(number, step)));
        }
        if self.pace == Pace::Fine {
            steps.extend(self.leaves());
            if self.may_tick() {
                steps.push(Step::Tick);
            }
            return;
        }
        if steps.is_empty() {
            self.beats_that_find(steps);
        }
        if self.ticks > 0 && self.clients.iter().all(|client| client.is_prompt(self.now)) {
            steps.push(Step::Tick);
        }
    }

    fn steps_of(&self, number: usize, client: &Client, own: &mut Vec<ClientStep>) {
        for place in 0..client.late.len() {
            own.extend([ClientStep::ExecuteLate(place), ClientStep::DropLate(place)]);
        }
        let sleeps = client.sleeps(self.now);
        for (ticket, wire) in &client.wire {
            match wire.answer {
                Some(_) if sleeps => {}
                Some(_) => own.push(ClientStep::Answer(*ticket)),
                None => own.push(ClientStep::Execute(*ticket)),
            }
        }
        if sleeps {
            for session in client.sessions() {
                self.lease_steps(client, session, own);
            }
            return;
        }
        self.own_steps(number, client, own);
    }

    /// The steps of a client that is awake, and the replies and events that may reach it.
    fn own_steps(&self, number: usize, client: &Client, own: &mut Vec<ClientStep>) {
        let place = own.len();
        client.callers_steps(own);
        let callers = own.split_off(place).into_iter();
        own.extend(callers.filter(|step| !self.is_mirrored(number, step)));
        own.extend(client.timers.iter().map(|timer| ClientStep::Fire(*timer)));
        if client
            .watches
            .values()
            .any(|channel| *channel == Channel::Opening)
        {
            own.push(ClientStep::Open);
        }
        for (key, channel) in &client.watches {
            if matches!(channel, Channel::On(deleted) if !deleted.is_empty()) {
                own.push(ClientStep::Tell(key.clone()));
            }
        }
        for session in client.sessions() {
            own.extend(self.due(number, session).map(ClientStep::Fire));
            self.session_steps(client, session, own);
        }
    }

    fn session_steps(&self, client: &Client, session: LeaseId, own: &mut Vec<ClientStep>) {
        if client.beats.contains_key(&session) {
            own.push(ClientStep::Hear(session));
        } else if client.is_due(session, self.now) {
            own.push(match client.is_troubled(self.now) {
                true => ClientStep::SlowBeat(session),
                false => ClientStep::Beat(session),
            });
        }
        let has_ended = client.ended.contains(&session);
        match self.server.has_lease(session) {
            _ if self.pace == Pace::Fine => self.lease_steps(client, session, own),
            true if has_ended => own.push(ClientStep::Expire(session)),
            _ => {}
        }
        if !self.server.has_lease(session) && !has_ended {
            own.push(ClientStep::Notice(session));
        }
        let confirmed = client.queue.confirmed(session);
        let is_aged = confirmed.is_some_and(|confirmed| confirmed.0 < self.now);
        if is_aged && !client.watches.contains_key(&lock_name().key(session)) {
            own.push(ClientStep::Fire(Timer::Aged(session)));
        }
    }

    /// Whether a step is the first of a client, or of a session, whose twin has not begun: the twin may go first without
    /// loss, since the two are alike.
    fn is_mirrored(&self, number: usize, step: &ClientStep) -> bool {
        let ClientStep::Acquire(caller, _) = step else {
            return false;
        };
        let client = &self.clients[number];
        let has_begun = |client: &Client| client.callers.iter().any(Caller::has_begun);
        if number > 0 && !has_begun(client) {
            let twin = &self.clients[number - 1];
            return twin.is_twin_of(client) && !has_begun(twin);
        }
        let (caller, callers) = (caller.0 as usize, &client.callers);
        caller > 0
            && callers[caller].plan == callers[caller - 1].plan
            && !callers[caller].has_begun()
            && !callers[caller - 1].has_begun()
    }

    /// The faults that can be next.
    pub(super) fn faults(&self, steps: &mut Vec<Step>) {
        if self.faults == 0 {
            return;
        }
        let entries = self.server.entries().into_iter();
        steps.extend(entries.map(|entry| Step::Rob(entry.key)));
        if self.pace == Pace::Fine {
            self.troubles(steps);
        }
        for (number, client) in self.clients.iter().enumerate() {
            if client.sleeps(self.now) {
                continue;
            }
            let mut own = Vec::new();
            client.caller_faults(&mut own);
            own.retain(|step| !self.is_mirrored(number, step));
            client.network_faults(&mut own);
            for session in client.sessions() {
                if client.is_due(session, self.now) && !client.beats.contains_key(&session) {
                    own.push(ClientStep::SlowBeat(session));
                }
                if !client.ended.contains(&session) && self.server.has_lease(session) {
                    own.extend([ClientStep::EndSession(session), ClientStep::Revoke(session)]);
                }
            }
            steps.extend(own.into_iter().map(|step| Step::Of(number, step)));
        }
    }

    /// Whether nothing more can happen by itself but that time passes.
    pub(super) fn is_at_rest(&self) -> bool {
        // Nearly always something is under way, which is quickly seen.
        if self.clients.iter().any(|client| !client.wire.is_empty()) {
            return false;
        }
        let mut steps = Vec::new();
        self.steps(&mut steps);
        steps.iter().all(|step| *step == Step::Tick)
    }

    /// Where nothing else can happen, the heartbeats that have a consequence. The others change nothing until time passes.
    fn beats_that_find(&self, steps: &mut Vec<Step>) {
        for (number, client) in self.clients.iter().enumerate() {
            for session in client.sessions() {
                let beat = Step::Of(number, ClientStep::Beat(session));
                let mut next = self.clone();
                next.take(&beat, None);
                if next.clients[number] != *client {
                    steps.push(beat);
                }
            }
        }
    }
}

impl Client {
    fn callers_steps(&self, own: &mut Vec<ClientStep>) {
        for (number, caller) in (0..).zip(&self.callers) {
            let caller_id = CallerId(number);
            match caller.phase {
                Phase::Idle if caller.wants > 0 => {
                    own.push(ClientStep::Acquire(caller_id, Mode::Wait));
                }
                Phase::Holding { may_write, .. } => {
                    own.push(ClientStep::Release(caller_id));
                    if may_write && caller.write.is_none() && self.writes {
                        own.push(ClientStep::Write(caller_id));
                    }
                }
                _ => {}
            }
            own.extend(caller.write.map(|write| match write.is_answered {
                true => ClientStep::AnswerWrite(caller_id),
                false => ClientStep::ExecuteWrite(caller_id),
            }));
        }
    }

    fn caller_faults(&self, own: &mut Vec<ClientStep>) {
        for (number, caller) in (0..).zip(&self.callers) {
            let caller_id = CallerId(number);
            match caller.phase {
                Phase::Idle if caller.wants > 0 => {
                    own.push(ClientStep::Acquire(caller_id, Mode::Try));
                }
                Phase::Waiting | Phase::Holding { .. } => own.push(ClientStep::Cancel(caller_id)),
                _ => {}
            }
            if caller
                .write
                .is_some_and(|write| !write.is_in_doubt && !write.is_answered)
            {
                own.push(ClientStep::DoubtWrite(caller_id));
            }
        }
    }

    fn network_faults(&self, own: &mut Vec<ClientStep>) {
        for (ticket, wire) in &self.wire {
            own.push(ClientStep::Fail(*ticket, How::Lost));
            if wire.answer.is_none() {
                let hows = [How::Stranded, How::NotExecuted, How::Refused];
                own.extend(hows.map(|how| ClientStep::Fail(*ticket, how)));
                if matches!(ticket, Ticket::Delete(_)) {
                    own.push(ClientStep::Copy(*ticket));
                }
            }
        }
        for (key, channel) in &self.watches {
            if let Channel::On(deleted) = channel {
                own.push(ClientStep::Break(key.clone()));
                if !deleted.is_empty() {
                    own.push(ClientStep::Swallow(key.clone()));
                }
            }
        }
    }

    /// Whether nothing has been under way for longer than a heartbeat's answer may take.
    fn is_prompt(&self, now: u64) -> bool {
        let mut wires = self.wire.values().map(|wire| wire.sent);
        let mut beats = self.beats.values().map(|(sent, _)| *sent);
        wires.all(|sent| sent.0 == now) && beats.all(|sent| sent.0 == now)
    }
}
