//! The world: time, the network, the faults and the server, one event after the other.
//!
//! Processes run ahead of the world by a little while nothing is on its way to them, so that idle time costs little; what
//! reaches them meanwhile reaches them late, as it may on any network. What they say carries the time at which they said it.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_lock_core::watch::{EventKind, WatchBody};
use etcd_lock_core::{Error, ErrorKind, LeaseId, Result};
use fastrand::Rng;

use super::checker::{Cause, Checker};
use super::history::{Log, Note};
use super::hub::{Call, Outgoing, Reply, StreamEnd, StreamItem};
use super::process::{Micros, Process, Stream};
use super::program::{self, Progress};
use super::scenario::{Fault, FaultKind, Net, Scenario};
use super::server::{Down, Server, Who};
use super::transport::lost;
use super::{Outcome, Stats};

/// How long after the faults every wait must have ended: leases end, streams are opened again, lines are read anew.
const PATIENCE: Micros = 120_000_000;

/// How long after the last caller lost interest entries may stay: as long as the queue looks after doubtful ones.
const WITHDRAWAL: Micros = 45_000_000;

/// How long after its end a process may need to be gone with all its tasks, leases and streams.
const WINDING_UP: Micros = 60_000_000;

/// A hundred times more than a long run takes.
const MANY_TURNS: u64 = 1_000_000;

pub(super) struct World<'a> {
    scenario: &'a Scenario,
    net: Net,
    now: Micros,
    events: BTreeMap<(Micros, u64), Event>,
    last_event: u64,
    /// The number of the event that happens now.
    this_event: u64,
    /// Requests that have not reached the server yet.
    on_their_way: u64,
    rng: Rng,
    server: Server,
    stalled_until: Micros,
    hosts: Vec<Host>,
    phase: Phase,
    checker: Checker,
    claims_due: bool,
    log: Log,
    stats: Stats,
}

/// A place where a process lives, one life after the other.
struct Host {
    process: Option<Process>,
    life: u32,
    progress: Arc<Progress>,
    finished: bool,
    /// Stopped, until it is made to go on at this time or later.
    paused: bool,
    paused_until: Micros,
    partitioned_until: Micros,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Chaos,
    Healed { since: Micros },
    Settling { since: Micros },
    Closing { since: Micros },
    Done,
}

enum Event {
    Arrive { who: Who, call: Call, fate: Fate },
    Cancel(Who),
    Down(Who, Down),
    Fault(usize),
    Heal,
    Reconnect(usize),
    Reply(Who, Result<Reply>),
    Restart(usize),
    Resume(usize),
    StreamClose(Who),
    Up(Who, StreamItem),
}

/// What becomes of a request's answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Answer,
    /// It is a second copy, whose answer nobody waits for.
    Copy,
    Lose,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, keep_lines: bool) -> Self {
        let host = || Host {
            process: None,
            life: 0,
            progress: Arc::default(),
            finished: false,
            paused: false,
            paused_until: 0,
            partitioned_until: 0,
        };
        let mut world = Self {
            scenario,
            net: scenario.net.clone(),
            now: 0,
            events: BTreeMap::new(),
            last_event: 0,
            this_event: 0,
            on_their_way: 0,
            rng: Rng::with_seed(scenario.seed ^ 0x5eed_5eed),
            server: Server::new(),
            stalled_until: 0,
            hosts: scenario.processes.iter().map(|_| host()).collect(),
            phase: Phase::Chaos,
            checker: Checker::new(scenario.locks),
            claims_due: false,
            log: Log::new(keep_lines),
            stats: Stats::default(),
        };
        for (number, fault) in scenario.faults.iter().enumerate() {
            world.at(fault.at_ms * 1_000, Event::Fault(number));
        }
        world.at(scenario.chaos_ms * 1_000, Event::Heal);
        for process in 0..world.hosts.len() {
            world.start(process);
        }
        world
    }

    pub(super) fn run(mut self) -> Outcome {
        let mut turns = 0;
        while self.phase != Phase::Done && self.checker.violation().is_none() {
            self.turn();
            turns += 1;
            if turns == MANY_TURNS {
                self.checker
                    .violated("livelock: the run doesn't come to an end".to_owned());
            }
        }
        self.checker.settle();
        let violation = self.checker.violation().cloned();
        if let Some(violation) = &violation {
            self.log
                .add(self.now, format_args!("VIOLATION {violation}"));
        }
        self.stats.seeds = 1;
        self.stats.simulated = self.now;
        self.stats.grants = self.checker.grants;
        self.stats.handovers = self.checker.handovers;
        self.stats.writes = self.checker.commits;
        let (hash, trace) = self.log.into_parts();
        Outcome {
            violation,
            hash,
            trace,
            stats: self.stats,
        }
    }

    /// Lets the process that is furthest behind run, or the next thing happen.
    fn turn(&mut self) {
        let next = self.next_event();
        let ahead = self.now + self.ahead();
        let target = next.map_or(ahead, |next| next.min(ahead));
        let runnable = self.hosts.iter().enumerate().filter_map(|(number, host)| {
            let horizon = host.process.as_ref()?.horizon;
            (horizon < target && !host.paused).then_some((horizon, number))
        });
        if let Some((_, number)) = runnable.min() {
            return self.run_process(number, target);
        }
        self.now = self.now.max(target);
        if next == Some(target) {
            self.pass_time();
            if let Some(event) = self.pop() {
                self.happen(event);
            }
        }
        self.check_claims();
        self.check_phase();
        if let Some(panic) = super::panics::take() {
            self.checker.violated(format!("panic: {panic}"));
        }
    }

    const fn ahead(&self) -> Micros {
        match self.phase {
            Phase::Closing { .. } => 500_000,
            _ => self.scenario.ahead_ms * 1_000,
        }
    }

    fn next_event(&self) -> Option<Micros> {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let deadline = self.server.next_deadline();
        let deadline = deadline.map(|at| at.max(self.stalled_until));
        event.into_iter().chain(deadline).min()
    }

    fn pop(&mut self) -> Option<Event> {
        let (at, _) = *self.events.keys().next()?;
        if at > self.now {
            return None;
        }
        let ((_, number), event) = self.events.pop_first()?;
        self.this_event = number;
        Some(event)
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.last_event += 1;
        if matches!(event, Event::Arrive { .. }) {
            self.on_their_way += 1;
        }
        self.events.insert((at, self.last_event), event);
    }

    /// Has what happens now happen later, still before all that was sent after it.
    fn put_off(&mut self, until: Micros, event: Event) {
        self.events.insert((until, self.this_event), event);
    }

    /// Leases end while the server is awake.
    fn pass_time(&mut self) {
        if self.stalled_until <= self.now {
            self.server.advance(self.now);
            self.flush(Cause::Expiry);
        }
    }

    fn start(&mut self, number: usize) {
        let program = self.scenario.processes[number].clone();
        let ttl = self.scenario.ttl_secs;
        let host = &mut self.hosts[number];
        host.life += 1;
        host.finished = false;
        let (progress, life) = (host.progress.clone(), u64::from(host.life));
        let first_id = (u64::try_from(number).unwrap_or(0) + 1) * 1_000_000 + life * 10_000;
        let clock_ppm = program.clock_ppm;
        let process = Process::start(self.now, clock_ppm, |hub| {
            Box::pin(program::run(hub, program, ttl, progress, first_id))
        });
        match process {
            Ok(process) => host.process = Some(process),
            Err(error) => self.checker.violated(format!("no runtime: {error}")),
        }
    }

    fn run_process(&mut self, number: usize, until: Micros) {
        let Some(process) = &mut self.hosts[number].process else {
            return;
        };
        let said = process.run_to(until);
        let at = process.horizon;
        for outgoing in said {
            self.hear(number, at, outgoing);
        }
    }

    fn who(&self, process: usize, id: u64) -> Who {
        let life = self.hosts[process].life;
        Who { process, life, id }
    }

    fn process(&mut self, who: Who) -> Option<&mut Process> {
        let host = &mut self.hosts[who.process];
        if host.life == who.life {
            host.process.as_mut()
        } else {
            None
        }
    }

    /// Takes what a process has said.
    fn hear(&mut self, number: usize, at: Micros, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Call(id, call, reply) => {
                let who = self.who(number, id);
                if let Some(process) = self.process(who) {
                    process.calls.insert(id, reply);
                }
                self.log
                    .add(at, format_args!("{number} asks {id}: {call:?}"));
                self.send(who, at, call);
            }
            Outgoing::Cancel(id) => {
                let who = self.who(number, id);
                if let Some(process) = self.process(who) {
                    process.calls.remove(&id);
                }
                let arrives = at.max(self.hosts[number].partitioned_until) + self.latency();
                self.at(arrives, Event::Cancel(who));
            }
            Outgoing::Open(id, end) => {
                let who = self.who(number, id);
                let stream = Stream {
                    end,
                    up: at,
                    down: at,
                };
                if let Some(process) = self.process(who) {
                    process.streams.insert(id, stream);
                }
            }
            Outgoing::Send(id, item) => {
                let who = self.who(number, id);
                self.log
                    .add(at, format_args!("{number} says on {id}: {item:?}"));
                let late = self.late();
                let arrives = at + self.latency() + late;
                if let Some(stream) = self
                    .process(who)
                    .and_then(|process| process.streams.get_mut(&id))
                {
                    stream.up = stream.up.max(arrives);
                    let arrives = stream.up;
                    self.at(arrives, Event::Up(who, item));
                }
            }
            Outgoing::Close(id) => {
                let who = self.who(number, id);
                if let Some(process) = self.process(who) {
                    process.streams.remove(&id);
                }
                let arrives = at + self.latency();
                self.at(arrives, Event::StreamClose(who));
            }
            Outgoing::Note(note) => self.take_note(number, at, note),
        }
    }

    fn take_note(&mut self, number: usize, at: Micros, note: Note) {
        self.log.add(at, format_args!("{number} notes {note:?}"));
        let mut holds = false;
        match &note {
            Note::Finished => self.hosts[number].finished = true,
            Note::Granted { held, .. } => {
                self.claims_due = true;
                let process = self.hosts[number].process.as_ref();
                holds = held.upgrade().is_some_and(|held| {
                    process.is_some_and(|process| process.inside(|| held.is_held()))
                });
            }
            _ => {}
        }
        self.checker.note(number, at, note, holds);
    }

    fn latency(&mut self) -> Micros {
        self.rng.u64(200..2_500)
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.rng.u64(..1_000) < per_mille
    }

    /// Now and then much longer than usual.
    fn late(&mut self) -> Micros {
        if !self.chance(self.net.delay) {
            return 0;
        }
        self.stats.count("delay");
        let most = [50_000, 500_000, 4_000_000][self.rng.usize(..3)];
        self.rng.u64(..most)
    }

    /// Puts a request on its way, whatever becomes of it.
    fn send(&mut self, who: Who, at: Micros, call: Call) {
        if let Call::Grant(grant) = &call
            && let Some(lease) = grant.id
        {
            self.checker.lease(lease.get(), who.process);
        }
        if self.hosts[who.process].partitioned_until > at || self.chance(self.net.lose_request) {
            self.stats.count("request lost");
            return self.fail(who, at);
        }
        if self.chance(self.net.refuse) {
            self.stats.count("request refused");
            let refused = Error::new(ErrorKind::Unavailable, "no connection");
            let arrives = at + self.latency();
            return self.at(arrives, Event::Reply(who, Err(refused)));
        }
        let arrives = at + self.latency() + self.late();
        let fate = if self.chance(self.net.lose_reply) {
            self.stats.count("reply lost");
            Fate::Lose
        } else {
            Fate::Answer
        };
        if call.is_idempotent() && self.chance(self.net.duplicate) {
            self.stats.count("duplicate");
            self.duplicate(who, arrives, call.clone());
        }
        self.at(arrives, Event::Arrive { who, call, fate });
    }

    /// A second copy of a request, as a transport makes it that repeats what may be repeated.
    fn duplicate(&mut self, who: Who, arrives: Micros, call: Call) {
        let copy = arrives.saturating_sub(self.rng.u64(..1_000)).max(self.now);
        self.at(
            copy,
            Event::Arrive {
                who,
                call,
                fate: Fate::Copy,
            },
        );
    }

    /// A request that nobody answers: its caller learns that sooner or later.
    fn fail(&mut self, who: Who, at: Micros) {
        let after = if self.rng.bool() {
            self.rng.u64(1_000..300_000)
        } else {
            self.rng.u64(300_000..12_000_000)
        };
        let reply = Err(lost("no answer came"));
        self.at(at + after, Event::Reply(who, reply));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { who, call, fate } => self.arrive(who, call, fate),
            Event::Cancel(who) => {
                self.server.cancel(who);
                self.flush(Cause::Process(who.process));
            }
            Event::Down(who, down) => self.down(who, down),
            Event::Fault(number) => self.fault(&self.scenario.faults[number]),
            Event::Heal => self.heal(),
            Event::Reconnect(process) => {
                if self.hosts[process].partitioned_until <= self.now && self.rng.bool() {
                    self.cut(process);
                }
            }
            Event::Reply(who, result) => self.reply(who, result),
            Event::Restart(process) => {
                if self.hosts[process].process.is_none() {
                    self.log
                        .add(self.now, format_args!("{process} starts again"));
                    self.start(process);
                }
            }
            Event::Resume(process) => self.resume(process),
            Event::StreamClose(who) => self.server.close_stream(who),
            Event::Up(who, item) => self.up(who, item),
        }
    }

    fn arrive(&mut self, who: Who, call: Call, fate: Fate) {
        self.on_their_way -= 1;
        if self.stalled_until > self.now {
            return self.at(self.stalled_until, Event::Arrive { who, call, fate });
        }
        let answer = self.server.execute(who, &call);
        self.log.add(
            self.now,
            format_args!(
                "server does {}.{} ({fate:?}): {answer:?}",
                who.process, who.id
            ),
        );
        self.flush(Cause::Process(who.process));
        if let Some(answer) = answer {
            self.answer(who, answer, fate);
        }
    }

    fn answer(&mut self, who: Who, answer: Result<Reply>, fate: Fate) {
        match fate {
            Fate::Answer => {
                let arrives = self.now + self.latency() + self.late();
                self.at(arrives, Event::Reply(who, answer));
            }
            Fate::Copy => {}
            Fate::Lose => self.fail(who, self.now),
        }
    }

    fn reply(&mut self, who: Who, result: Result<Reply>) {
        if self.hosts[who.process].partitioned_until > self.now && result.is_ok() {
            return self.fail(who, self.now);
        }
        let call = self
            .process(who)
            .and_then(|process| process.calls.remove(&who.id));
        if let Some(call) = call {
            self.log.add(
                self.now,
                format_args!("{} is answered {}: {result:?}", who.process, who.id),
            );
            // A caller that has just given up hears nothing.
            let _ = call.send(result);
            self.wake(who.process);
        }
    }

    fn up(&mut self, who: Who, item: StreamItem) {
        let held_up = self
            .stalled_until
            .max(self.hosts[who.process].partitioned_until);
        if held_up > self.now {
            return self.put_off(held_up, Event::Up(who, item));
        }
        if self
            .process(who)
            .is_none_or(|process| !process.streams.contains_key(&who.id))
        {
            return;
        }
        let reply = self.server.on_stream(who, item);
        self.flush(Cause::Expiry);
        if let Some(reply) = reply {
            self.send_down(who, reply);
        }
    }

    fn send_down(&mut self, who: Who, reply: Down) {
        let arrives = self.now + self.latency() + self.late();
        let Some(stream) = self
            .process(who)
            .and_then(|process| process.streams.get_mut(&who.id))
        else {
            return;
        };
        stream.down = stream.down.max(arrives);
        let arrives = stream.down;
        self.at(arrives, Event::Down(who, reply));
    }

    fn down(&mut self, who: Who, down: Down) {
        let held_up = self.hosts[who.process].partitioned_until;
        if held_up > self.now {
            return self.put_off(held_up, Event::Down(who, down));
        }
        if self
            .process(who)
            .is_none_or(|process| !process.streams.contains_key(&who.id))
        {
            return;
        }
        if let Down::Watch(Ok(reply)) = &down
            && let WatchBody::Events(events) = &reply.body
        {
            for event in events
                .iter()
                .filter(|event| event.kind == EventKind::Delete)
            {
                // One that is stopped learns of it when it goes on.
                if !self.hosts[who.process].paused {
                    self.checker
                        .told(who.process, &event.kv.key, event.kv.mod_revision);
                    self.claims_due = true;
                }
            }
        }
        self.log.add(
            self.now,
            format_args!("{} hears on {}: {down:?}", who.process, who.id),
        );
        let Some(stream) = self
            .process(who)
            .and_then(|process| process.streams.get(&who.id))
        else {
            return;
        };
        // A reader that is gone hears nothing.
        match (&stream.end, down) {
            (StreamEnd::KeepAlive(sender), Down::KeepAlive(reply)) => drop(sender.send(reply)),
            (StreamEnd::Watch(sender), Down::Watch(reply)) => drop(sender.send(reply)),
            _ => {}
        }
        self.wake(who.process);
    }

    /// Lets a process act on what it was just told, unless it is stopped.
    fn wake(&mut self, number: usize) {
        if self.hosts[number].paused {
            return;
        }
        if let Some(process) = &self.hosts[number].process {
            self.run_process(number, process.horizon.max(self.now));
        }
    }

    /// Passes on what the server's last act has brought about.
    fn flush(&mut self, cause: Cause) {
        for events in self.server.changes() {
            self.log
                .add(self.now, format_args!("changed by {cause:?}: {events:?}"));
            self.checker.changed(&events, cause);
            self.claims_due = true;
        }
        for (who, answer) in self.server.answered_locks() {
            let fate = if self.chance(self.net.lose_reply) {
                self.stats.count("reply lost");
                Fate::Lose
            } else {
                Fate::Answer
            };
            self.answer(who, answer, fate);
        }
        for (who, down) in self.server.watch_replies() {
            self.send_down(who, down);
        }
    }

    fn fault(&mut self, fault: &Fault) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.log.add(self.now, format_args!("FAULT {fault:?}"));
        let until = self.now + fault.for_ms * 1_000;
        match fault.kind {
            FaultKind::Compact => {
                self.stats.count("compaction");
                self.server.compact();
            }
            FaultKind::Crash(process) => self.crash(process, until),
            FaultKind::Cut(process) => self.cut(process),
            FaultKind::DeleteKey(lock) => {
                let keys = self.checker.entries(lock);
                if let Some(key) = self.rng.choice(keys) {
                    self.stats.count("key deleted");
                    self.server.delete(key);
                    self.flush(Cause::Stranger);
                }
            }
            FaultKind::Partition(process) => {
                self.stats.count("partition");
                let host = &mut self.hosts[process];
                host.partitioned_until = host.partitioned_until.max(until);
                self.at(until, Event::Reconnect(process));
            }
            FaultKind::Pause(process) => {
                self.stats.count("pause");
                let host = &mut self.hosts[process];
                host.paused = true;
                host.paused_until = host.paused_until.max(until);
                self.at(until, Event::Resume(process));
            }
            FaultKind::Restart => self.restart_server(until),
            FaultKind::Revoke(process) => {
                let alive = self.server.leases();
                let mut leases = self.checker.leases_of(process);
                leases.retain(|lease| alive.contains(lease));
                if let Some(lease) = leases.first().and_then(|lease| LeaseId::new(*lease).ok()) {
                    self.stats.count("lease revoked");
                    self.server.revoke(lease);
                    self.flush(Cause::Stranger);
                }
            }
            FaultKind::Stall => {
                self.stats.count("server stall");
                self.stalled_until = self.stalled_until.max(until);
            }
        }
    }

    fn crash(&mut self, number: usize, until: Micros) {
        let gone_at = self.now + self.rng.u64(..2_000_000);
        let Some(process) = self.hosts[number].process.take() else {
            return;
        };
        self.stats.count("crash");
        for id in process.streams.keys().chain(process.calls.keys()) {
            let who = self.who(number, *id);
            self.at(gone_at, Event::StreamClose(who));
            self.at(gone_at, Event::Cancel(who));
        }
        self.checker.died(number);
        self.hosts[number].finished = false;
        self.hosts[number].paused = false;
        drop(process);
        self.at(until, Event::Restart(number));
    }

    /// Breaks all streams of a process.
    fn cut(&mut self, number: usize) {
        let Some(process) = &mut self.hosts[number].process else {
            return;
        };
        self.stats.count("streams cut");
        let streams = std::mem::take(&mut process.streams);
        for id in streams.into_keys() {
            let who = self.who(number, id);
            self.server.close_stream(who);
        }
        self.wake(number);
    }

    fn restart_server(&mut self, until: Micros) {
        self.stats.count("server restart");
        self.stalled_until = self.stalled_until.max(until);
        if self.rng.bool() {
            self.stats.count("compaction");
            self.server.compact();
        }
        for who in self.server.fail_locks() {
            self.fail(who, self.now);
        }
        self.flush(Cause::Expiry);
        self.lose_arrivals();
        for process in 0..self.hosts.len() {
            self.cut(process);
        }
    }

    /// Requests that were on their way when the server went down are lost, some of them.
    fn lose_arrivals(&mut self) {
        let arriving = self.events.iter().filter_map(|(at, event)| match event {
            Event::Arrive { who, fate, .. } => Some((*at, *who, *fate)),
            _ => None,
        });
        let arriving: Vec<_> = arriving.collect();
        let keys: Vec<_> = self
            .events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Arrive { .. }))
            .map(|(at, _)| *at)
            .collect();
        for (key, (_, who, fate)) in keys.into_iter().zip(arriving) {
            if self.rng.bool() {
                self.events.remove(&key);
                self.on_their_way -= 1;
                if fate != Fate::Copy {
                    self.stats.count("request lost");
                    self.fail(who, self.now);
                }
            }
        }
    }

    fn resume(&mut self, number: usize) {
        if self.hosts[number].paused_until > self.now {
            return;
        }
        self.hosts[number].paused = false;
        if let Some(process) = &mut self.hosts[number].process
            && process.horizon < self.now
        {
            process.jump_to(self.now);
            // Nothing has run since: what it claims now, it claims by looking at the clock.
            self.claims_due = true;
            self.check_claims();
        }
        self.wake(number);
    }

    /// No fault begins any more, and those under way come to their ends.
    fn heal(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.log.add(self.now, format_args!("HEALED"));
        self.phase = Phase::Healed { since: self.now };
        self.net = Net::default();
    }

    /// Compares what processes claim at this moment with what the server has.
    fn check_claims(&mut self) {
        if !std::mem::take(&mut self.claims_due) {
            return;
        }
        let mut wrong = None;
        for claim in self.checker.claims(self.now) {
            let host = &self.hosts[claim.process];
            let Some(process) = &host.process else {
                continue;
            };
            // A stopped process claims nothing: it can't act on it.
            if host.paused {
                continue;
            }
            if let Some(contradiction) = self.checker.contradiction(claim)
                && let Some(held) = claim.held.upgrade()
                && process.inside(|| held.is_held())
            {
                wrong = Some(contradiction);
            }
        }
        if self
            .checker
            .claims(u64::MAX)
            .any(|claim| claim.since > self.now)
        {
            self.claims_due = true;
        }
        if let Some(wrong) = wrong {
            self.checker.violated(wrong);
        }
    }

    fn check_phase(&mut self) {
        let all = self.hosts.iter().all(|host| host.finished);
        match self.phase {
            Phase::Chaos if all => self.heal(),
            Phase::Healed { .. } if all => self.phase = Phase::Settling { since: self.now },
            Phase::Healed { since } if self.now > since + PATIENCE => {
                let waiting = self.hosts.iter().enumerate();
                let waiting: Vec<_> = waiting
                    .filter(|(_, host)| !host.finished)
                    .map(|(n, _)| n)
                    .collect();
                let queues = self.checker.queues();
                self.checker.violated(format!(
                    "progress: processes {waiting:?} still wait, queues are {queues}"
                ));
            }
            Phase::Settling { since } => {
                if self.checker.queues_are_empty() && self.on_their_way == 0 {
                    self.close();
                } else if self.now > since + WITHDRAWAL {
                    let queues = self.checker.queues();
                    self.checker
                        .violated(format!("leak: nobody waits, and queues are {queues}"));
                }
            }
            Phase::Closing { since } => {
                let tasks: usize = self
                    .hosts
                    .iter()
                    .flat_map(|host| &host.process)
                    .map(Process::tasks)
                    .sum();
                let leases = self.server.leases();
                if tasks == 0 && leases.is_empty() && !self.server.has_streams() {
                    self.phase = Phase::Done;
                } else if self.now > since + WINDING_UP {
                    self.checker.violated(format!(
                        "leak: {tasks} tasks are left, leases {leases:?}, streams {}",
                        self.server.has_streams()
                    ));
                }
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        self.log.add(self.now, format_args!("CLOSING"));
        self.phase = Phase::Closing { since: self.now };
        for number in 0..self.hosts.len() {
            self.hosts[number].progress.close.notify_one();
            self.wake(number);
        }
    }
}
