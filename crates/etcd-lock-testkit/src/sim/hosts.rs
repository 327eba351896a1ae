//! Where processes live: they are started, run, heard and woken, one life after the other.

use std::sync::Arc;

use super::claims::Hold;
use super::hub::Outgoing;
use super::notes::Note;
use super::process::{Micros, Process, Stream};
use super::program::{self, Progress};
use super::server::Who;
use super::world::{Event, World};
use crate::checker::Rule;
use crate::history::{Fact, Record};

/// A place where a process lives, one life after the other.
#[derive(Default)]
pub(super) struct Host {
    pub(super) process: Option<Process>,
    pub(super) life: u32,
    pub(super) progress: Arc<Progress>,
    pub(super) finished: bool,
    /// Stopped, until it is made to go on at this time or later.
    pub(super) paused: bool,
    pub(super) paused_until: Micros,
    /// For how long it is to stop at its next grant.
    pub(super) pause_at_grant: Option<Micros>,
    pub(super) partitioned_until: Micros,
    /// By how much its next answer to a transaction or a `Lock` call is late.
    pub(super) slow_reply: Option<Micros>,
    /// Until then nothing arrives on its streams, in either direction.
    pub(super) streams_stalled_until: Micros,
    /// Its computer sleeps, so that its clock stands still while it is paused.
    pub(super) asleep: bool,
}

impl Host {
    /// Until when nothing arrives on its streams.
    pub(super) fn held_up(&self) -> Micros {
        self.partitioned_until.max(self.streams_stalled_until)
    }
}

impl World<'_> {
    pub(super) fn start(&mut self, number: usize) {
        let program = self.scenario.processes[number].clone();
        let host = &mut self.hosts[number];
        host.life += 1;
        host.finished = false;
        let (progress, life) = (host.progress.clone(), u64::from(host.life));
        let first_id = (u64::try_from(number).unwrap_or(0) + 1) * 1_000_000 + life * 10_000;
        let clock_ppm = program.clock_ppm;
        let client = self.client(number);
        self.record(Fact::Started { client });
        let process = Process::start(self.now, clock_ppm, |hub| {
            Box::pin(program::run(hub, program, progress, client, first_id))
        });
        match process {
            Ok(process) => self.hosts[number].process = Some(process),
            Err(error) => {
                self.records
                    .violated(self.now, Rule::Panic, format!("no runtime: {error}"))
            }
        }
    }

    pub(super) fn run_process(&mut self, number: usize, until: Micros) {
        let Some(process) = &mut self.hosts[number].process else {
            return;
        };
        let said = process.run_to(until);
        let at = process.horizon;
        for outgoing in said {
            self.hear(number, at, outgoing);
        }
    }

    pub(super) fn who(&self, process: usize, id: u64) -> Who {
        let life = self.hosts[process].life;
        Who { process, life, id }
    }

    pub(super) fn process(&mut self, who: Who) -> Option<&mut Process> {
        let host = &mut self.hosts[who.process];
        if host.life == who.life {
            host.process.as_mut()
        } else {
            None
        }
    }

    /// Takes what a process has said.
    pub(super) fn hear(&mut self, number: usize, at: Micros, outgoing: Outgoing) {
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
                let late = self.late(number);
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

    pub(super) fn take_note(&mut self, number: usize, at: Micros, note: Note) {
        self.log.add(at, format_args!("{number} notes {note:?}"));
        match note {
            Note::Fact(fact) => {
                if let Fact::Released { grant, .. } = &fact {
                    self.holds.retain(|hold| hold.grant != *grant);
                }
                self.client_record(number, at, fact);
            }
            Note::Granted { fact, grant, held } => {
                let client = self.client(number);
                self.holds.push(Hold {
                    client,
                    grant,
                    held,
                });
                self.claims_due = true;
                self.client_record(number, at, fact);
                if let Some(length) = self.hosts[number].pause_at_grant.take() {
                    self.pause(number, at + length);
                }
            }
            Note::Finished => self.hosts[number].finished = true,
            Note::Said(_) => {}
        }
    }

    /// A process says something by its own clock, at a time that the world may not have come to.
    pub(super) fn client_record(&mut self, number: usize, at: Micros, fact: Fact) {
        let record = Record::observed(at.max(self.now), fact);
        let clock = self.hosts[number].process.as_ref().map(Process::clock);
        self.records.add(match clock {
            Some(clock) => record.with_clock(clock),
            None => record,
        });
    }

    /// The time on the clock of a process as it stops, or as it goes on.
    pub(super) fn note_clock(&mut self, number: usize, stops: bool) {
        let client = self.client(number);
        let at = self.hosts[number].process.as_ref().map(|of| of.horizon);
        let fact = if stops {
            Fact::Paused { client }
        } else {
            Fact::Resumed { client }
        };
        self.client_record(number, at.unwrap_or(self.now), fact);
    }

    /// Lets a process act on what it was just told, unless it is stopped.
    pub(super) fn wake(&mut self, number: usize) {
        if self.hosts[number].paused {
            return;
        }
        if let Some(process) = &self.hosts[number].process {
            self.run_process(number, process.horizon.max(self.now));
        }
    }
}
