//! The faults of processes, connections and the server, and how they end.

use bytes::Bytes;
use etcd_lock_core::watch::{Event, EventKind};

use super::ending::Phase;
use super::network::Fate;
use super::process::Micros;
use super::scenario::{Fault, FaultKind, Net};
use super::transport::lost;
use super::world::{self, World};
use crate::faults::StreamFault;
use crate::history::{Author, Fact, Record};

impl World<'_> {
    pub(super) fn fault(&mut self, fault: &Fault) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.log.add(self.now, format_args!("FAULT {fault:?}"));
        let until = self.now + fault.for_ms * 1_000;
        match fault.kind.clone() {
            FaultKind::Clock(process, fault) => self.clock_fault(process, fault, until),
            FaultKind::Compact => {
                self.stats.count("compaction");
                self.server.compact();
            }
            FaultKind::Crash(process) => self.crash(process, until),
            FaultKind::Cut(process) => self.cut(process),
            FaultKind::DeleteKey(lock) => {
                let keys = self.records.entries(lock);
                if let Some(key) = self.rng.choice(keys) {
                    self.delete(key);
                }
            }
            FaultKind::DeleteNextKey(lock) => {
                self.delete_next.insert(lock);
            }
            FaultKind::Errors(process, error) => self.refuse_calls(process, error, until),
            FaultKind::Foreign(foreign) => self.foreign_entry(foreign, until),
            FaultKind::LeaderChange => self.change_leader(until),
            FaultKind::Partition(process) => {
                self.stats.count("partition");
                self.disturb(process, until);
                let host = &mut self.hosts[process];
                host.partitioned_until = host.partitioned_until.max(until);
                self.at(until, world::Event::Reconnect(process));
            }
            FaultKind::Pause(process) => self.pause(process, until),
            FaultKind::PauseAtGrant(process) => {
                self.hosts[process].pause_at_grant = Some(fault.for_ms * 1_000);
            }
            FaultKind::Restart => self.restart_server(until),
            FaultKind::RestartAtRequest => self.restart_at_request = Some(fault.for_ms * 1_000),
            FaultKind::Revoke(process) => {
                let alive = self.server.leases();
                let mut leases = self.records.leases_of(process);
                leases.retain(|lease| alive.contains(lease));
                if let Some(lease) = leases.first() {
                    self.stats.count("lease revoked");
                    self.server.revoke(*lease);
                    self.flush(Author::Stranger);
                }
            }
            FaultKind::SlowReply(process) => {
                self.hosts[process].slow_reply = Some(fault.for_ms * 1_000);
            }
            FaultKind::StaleReads(process) => {
                self.stats.count("member behind");
                self.disturb(process, until);
                self.server.fall_behind();
                self.stale_until.insert(process, until);
            }
            FaultKind::Stall => {
                self.stats.count("server stall");
                self.disturb_all(until);
                self.stalled_until = self.stalled_until.max(until);
            }
            FaultKind::Streams(process, fault) => self.stream_fault(process, fault),
            FaultKind::Watches(process, fault) => self.watch_fault(process, fault, until),
        }
    }

    pub(super) fn crash(&mut self, number: usize, until: Micros) {
        let gone_at = self.now + self.rng.u64(..2_000_000);
        let Some(process) = self.hosts[number].process.take() else {
            return;
        };
        self.stats.count("crash");
        for id in process.streams.keys().chain(process.calls.keys()) {
            let who = self.who(number, *id);
            self.at(gone_at, world::Event::StreamClose(who));
            self.at(gone_at, world::Event::Cancel(who));
        }
        self.disturb(number, gone_at);
        let (client, died) = (self.client(number), process.horizon.max(self.now));
        let record = Record::observed(died, Fact::Died { client });
        self.records.add(record);
        self.holds.retain(|hold| hold.client != client);
        let host = &mut self.hosts[number];
        host.finished = false;
        // The next life does not stand still.
        (host.paused, host.paused_until, host.asleep) = (false, 0, false);
        drop(process);
        self.at(until, world::Event::Restart(number));
    }

    /// Stops a process. Requests that it has sent already are on their way.
    pub(super) fn pause(&mut self, number: usize, until: Micros) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.stats.count("pause");
        self.disturb(number, until);
        self.note_clock(number, true);
        let host = &mut self.hosts[number];
        host.paused = true;
        host.paused_until = host.paused_until.max(until);
        self.at(until, world::Event::Resume(number));
    }

    /// Breaks the connections of a process: all streams, waiting calls, and some of the others, which may still be executed.
    pub(super) fn cut(&mut self, number: usize) {
        let Some(process) = &self.hosts[number].process else {
            return;
        };
        self.stats.count("streams cut");
        let calls: Vec<_> = process.calls.keys().copied().collect();
        self.end_streams(number, StreamFault::Broken);
        for id in calls {
            let who = self.who(number, id);
            let waits = self.server.lets_wait(who);
            if waits {
                self.hang_up(who, self.now);
            }
            if waits || self.rng.bool() {
                self.stats.count("request cut");
                self.at(
                    self.now,
                    world::Event::Reply(who, Err(lost("the connection broke"))),
                );
            }
        }
        self.wake(number);
    }

    /// A stranger deletes a key.
    pub(super) fn delete(&mut self, key: Bytes) {
        if self.phase == Phase::Chaos {
            self.stats.count("key deleted");
            self.server.delete(key);
            self.flush(Author::Stranger);
        }
    }

    /// Where the next entry of a queue is to be deleted, its put is what a stranger has waited for.
    pub(super) fn delete_soon(&mut self, events: &[Event]) {
        for event in events.iter().filter(|event| event.kind == EventKind::Put) {
            let lock = self.records.lock_of(&event.kv.key);
            if lock.is_some_and(|lock| self.delete_next.remove(&lock)) {
                let soon = self.now + self.rng.u64(..5_000);
                self.at(soon, world::Event::Deletion(event.kv.key.clone()));
            }
        }
    }

    pub(super) fn restart_server(&mut self, until: Micros) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.disturb_all(until);
        self.stats.count("server restart");
        self.stalled_until = self.stalled_until.max(until);
        if self.rng.bool() {
            self.down_until = self.down_until.max(until);
        }
        if self.rng.bool() {
            self.stats.count("compaction");
            self.server.compact();
        }
        for who in self.server.fail_locks() {
            self.fail(who, self.now);
        }
        self.flush(Author::Server);
        self.lose_arrivals();
        for process in 0..self.hosts.len() {
            self.cut(process);
        }
    }

    /// Requests that were on their way when the server went down are lost, some of them.
    pub(super) fn lose_arrivals(&mut self) {
        let arriving = self.events.iter().filter_map(|(at, event)| match event {
            world::Event::Arrive { who, fate, .. } => Some((*at, *who, *fate)),
            _ => None,
        });
        let arriving: Vec<_> = arriving.collect();
        let keys: Vec<_> = self
            .events
            .iter()
            .filter(|(_, event)| matches!(event, world::Event::Arrive { .. }))
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

    pub(super) fn resume(&mut self, number: usize) {
        if self.hosts[number].paused_until > self.now {
            return;
        }
        self.hosts[number].paused = false;
        let was_asleep = std::mem::take(&mut self.hosts[number].asleep);
        if let Some(process) = &mut self.hosts[number].process
            && process.horizon < self.now
        {
            if was_asleep {
                process.sleep_to(self.now);
            } else {
                process.jump_to(self.now);
            }
            self.note_clock(number, false);
            // Nothing has run since: any claim that it makes now comes from a look at the clock.
            self.claims_due = true;
            self.ask_holders();
        }
        self.wake(number);
    }

    /// No fault begins any more, and those under way come to their ends.
    pub(super) fn heal(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.log.add(self.now, format_args!("HEALED"));
        self.record(Fact::Healed);
        self.phase = Phase::Healed { since: self.now };
        self.net = Net::default();
    }
}
