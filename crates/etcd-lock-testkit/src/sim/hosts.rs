//! Where processes live: they are started, run, heard and woken, one life after the other.

use std::sync::Arc;

use super::history::Note;
use super::hub::Outgoing;
use super::process::{Micros, Process, Stream};
use super::program::{self, Progress};
use super::server::Who;
use super::world::{Event, World};

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
        let process = Process::start(self.now, clock_ppm, |hub| {
            Box::pin(program::run(hub, program, progress, first_id))
        });
        match process {
            Ok(process) => host.process = Some(process),
            Err(error) => self.checker.violated(format!("no runtime: {error}")),
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

    pub(super) fn take_note(&mut self, number: usize, at: Micros, note: Note) {
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
        let granted = matches!(note, Note::Granted { .. });
        self.checker.note(number, at, note, holds);
        if granted && let Some(length) = self.hosts[number].pause_at_grant.take() {
            self.pause(number, at + length);
        }
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
