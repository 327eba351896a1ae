//! The world: time, the network, the faults and the server, one event after the other.
//!
//! Processes run ahead of the world by a little while nothing is on its way to them, so that idle time costs little; replies
//! and events that reach them meanwhile reach them late, as they may on any network. Their requests and notes carry the time at which they were sent.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_core::Result;
use fastrand::Rng;

use super::claims::Hold;
use super::ending::Phase;
use super::hosts::Host;
use super::hub::{Call, Reply, StreamItem};
use super::log::Log;
use super::network::Fate;
use super::process::Micros;
use super::records::Records;
use super::scenario::{Net, Scenario};
use super::server::{Down, Server, Who};
use super::{Outcome, Stats};
use crate::checker::Rule;
use crate::faults::{ServerError, WatchFault};
use crate::history::{Author, Client, Fact, Record};

/// A hundred times more than a long run takes.
const MANY_TURNS: u64 = 1_000_000;

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) net: Net,
    pub(super) now: Micros,
    pub(super) events: BTreeMap<(Micros, u64), Event>,
    pub(super) last_event: u64,
    /// The number of the event that happens now.
    pub(super) this_event: u64,
    /// Requests that have not reached the server yet.
    pub(super) on_their_way: u64,
    pub(super) rng: Rng,
    pub(super) server: Server,
    pub(super) stalled_until: Micros,
    /// Until then nobody can connect to the server.
    pub(super) down_until: Micros,
    /// For how long it is to be away when the next transaction is sent.
    pub(super) restart_at_request: Option<Micros>,
    /// The locks whose next entries are to be deleted.
    pub(super) delete_next: BTreeSet<usize>,
    /// The errors that the server answers with for a while, to one process or to all.
    pub(super) errors: Vec<(Micros, Option<usize>, ServerError)>,
    /// Until when reads of processes may be answered by a member that is behind.
    pub(super) stale_until: BTreeMap<usize, Micros>,
    pub(super) hosts: Vec<Host>,
    pub(super) phase: Phase,
    pub(super) records: Records,
    pub(super) holds: Vec<Hold>,
    /// Holders are to be asked as soon as possible, and when they were last.
    pub(super) claims_due: bool,
    pub(super) asked_at: Micros,
    /// The keys of watches, by stream and number.
    pub(super) watched: BTreeMap<(Who, i64), Bytes>,
    pub(super) log: Log,
    pub(super) stats: Stats,
}

pub(super) enum Event {
    Arrive {
        who: Who,
        call: Call,
        fate: Fate,
    },
    Cancel(Who),
    Deletion(Bytes),
    Down(Who, Down),
    Fault(usize),
    /// A stranger leaves a queue, with the lease of its entry.
    ForeignLeaves(i64),
    Heal,
    LeaderChange,
    Reconnect(usize),
    Reply(Who, Result<Reply>),
    Restart(usize),
    Resume(usize),
    ServerRestart(Micros),
    StreamClose(Who),
    Up(Who, StreamItem),
    WatchFaultEnd(usize, WatchFault),
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, keep_lines: bool) -> Self {
        let mut world = Self {
            scenario,
            net: scenario.net.clone(),
            now: 0,
            events: BTreeMap::new(),
            last_event: 0,
            this_event: 0,
            on_their_way: 0,
            rng: Rng::with_seed(scenario.seed ^ 0x5eed_5eed),
            server: Server::new(&scenario.etcd),
            stalled_until: 0,
            down_until: 0,
            restart_at_request: None,
            delete_next: BTreeSet::new(),
            errors: Vec::new(),
            stale_until: BTreeMap::new(),
            hosts: scenario.processes.iter().map(|_| Host::default()).collect(),
            phase: Phase::Chaos,
            records: Records::new(scenario.locks, keep_lines),
            holds: Vec::new(),
            claims_due: false,
            asked_at: 0,
            watched: BTreeMap::new(),
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
        let mut noticed = 0;
        while self.phase != Phase::Done && self.records.checker().violations().is_empty() {
            self.turn();
            turns += 1;
            if turns == MANY_TURNS {
                let text = "the run doesn't come to an end";
                self.records.violated(self.now, Rule::Livelock, text);
            }
            self.log_violations(&mut noticed);
        }
        let history = self.records.end(self.now);
        self.log_violations(&mut noticed);
        self.outcome(history)
    }

    fn log_violations(&mut self, noticed: &mut usize) {
        let violations = self.records.checker().violations();
        for violation in &violations[*noticed..] {
            self.log
                .add(self.now, format_args!("VIOLATION {violation}"));
        }
        *noticed = violations.len();
    }

    fn outcome(self, history: Vec<Record>) -> Outcome {
        let Self {
            mut stats,
            log,
            records,
            ..
        } = self;
        let checker = records.checker();
        stats.seeds = 1;
        stats.simulated = self.now;
        stats.marks = checker.marks().clone();
        let (hash, trace) = log.into_parts();
        Outcome {
            violations: checker.violations().to_vec(),
            hash,
            trace,
            history,
            stats,
        }
    }

    /// Something happens now.
    pub(super) fn record(&mut self, fact: Fact) {
        self.records.add(Record::observed(self.now, fact));
    }

    /// One life of a process, as the history names it.
    pub(super) fn client(&self, process: usize) -> Client {
        client(process, self.hosts[process].life)
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
        self.ask_holders();
        self.records.pass(self.now);
        self.check_phase();
        if let Some(panic) = super::panics::take() {
            self.records.violated(self.now, Rule::Panic, panic);
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

    pub(super) fn at(&mut self, at: Micros, event: Event) {
        self.last_event += 1;
        if matches!(event, Event::Arrive { .. }) {
            self.on_their_way += 1;
        }
        self.events.insert((at, self.last_event), event);
    }

    /// Has what happens now happen later, still before all that was sent after it.
    pub(super) fn put_off(&mut self, until: Micros, event: Event) {
        self.events.insert((until, self.this_event), event);
    }

    /// Leases end while the server is awake.
    fn pass_time(&mut self) {
        if self.stalled_until <= self.now {
            self.server.advance(self.now);
            self.flush(Author::Expiry);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { who, call, fate } => self.arrive(who, call, fate),
            Event::Cancel(who) => {
                self.server.cancel(who);
                self.flush(who.author());
            }
            Event::Deletion(key) => self.delete(key),
            Event::Down(who, down) => self.down(who, down),
            Event::Fault(number) => self.fault(&self.scenario.faults[number]),
            Event::ForeignLeaves(lease) => {
                self.server.revoke(lease);
                self.flush(Author::Stranger);
            }
            Event::Heal => self.heal(),
            Event::LeaderChange => self.server.change_leader(),
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
            Event::ServerRestart(length) => self.restart_server(self.now + length),
            Event::StreamClose(who) => self.server.close_stream(who),
            Event::Up(who, item) => self.up(who, item),
            Event::WatchFaultEnd(process, fault) => self.server.end_watch_fault(process, &fault),
        }
    }
}

/// A life of a process as the history names it.
pub(super) fn client(process: usize, life: u32) -> Client {
    Client::new(u32::try_from(process).unwrap_or(u32::MAX), life)
}
