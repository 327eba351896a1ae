//! The world: time, the network, the faults and the server, one event after the other.
//!
//! Processes run ahead of the world by a little while nothing is on its way to them, so that idle time costs little; what
//! reaches them meanwhile reaches them late, as it may on any network. What they say carries the time at which they said it.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use etcd_lock_core::Result;
use fastrand::Rng;

use super::checker::{Cause, Checker};
use super::ending::Phase;
use super::history::Log;
use super::hosts::Host;
use super::hub::{Call, Reply, StreamItem};
use super::network::Fate;
use super::process::Micros;
use super::scenario::{Net, Scenario};
use super::server::{Down, Server, Who};
use super::{Outcome, Stats};
use crate::faults::{ServerError, WatchFault};

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
    /// When the last effect of any fault so far is over.
    pub(super) calm_from: Micros,
    pub(super) checker: Checker,
    pub(super) claims_due: bool,
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
            calm_from: 0,
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
        self.check_progress();
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
            self.flush(Cause::Expiry);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { who, call, fate } => self.arrive(who, call, fate),
            Event::Cancel(who) => {
                self.server.cancel(who);
                self.flush(Cause::Process(who.process));
            }
            Event::Deletion(key) => self.delete(key),
            Event::Down(who, down) => self.down(who, down),
            Event::Fault(number) => self.fault(&self.scenario.faults[number]),
            Event::ForeignLeaves(lease) => {
                self.server.revoke(lease);
                self.flush(Cause::Stranger);
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

    /// Compares what processes claim at this moment with what the server has.
    pub(super) fn check_claims(&mut self) {
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
}
