//! Faults of the server, and strangers in the queues.

use etcd_lock_core::Error;

use super::hub::Call;
use super::process::Micros;
use super::program::name;
use super::scenario::Foreign;
use super::server::Who;
use super::world::{Event, World};
use crate::faults::{CallKind, ServerError, StreamFault};
use crate::history::Author;

/// For how long a cluster is without a leader at the most.
const ELECTION: Micros = 3_000_000;

impl World<'_> {
    /// The server answers calls with an error for a while. Without a leader it also ends the streams.
    pub(super) fn refuse_calls(
        &mut self,
        process: Option<usize>,
        error: ServerError,
        until: Micros,
    ) {
        match process {
            Some(process) => self.disturb(process, until),
            None => self.disturb_all(until),
        }
        self.errors.push((until, process, error));
        if error == ServerError::NoLeader {
            for process in 0..self.hosts.len() {
                self.end_streams(process, StreamFault::Broken);
                self.wake(process);
            }
        }
    }

    /// The error that a call is answered with, where there is one.
    pub(super) fn server_error(&mut self, who: Who, call: &Call) -> Option<Error> {
        let kind = call.kind();
        let of = |process: Option<usize>| process.is_none_or(|process| process == who.process);
        let mut errors = self.errors.iter();
        let (.., error) = *errors.find(|(until, process, error)| {
            *until > self.now && of(*process) && error.concerns(kind)
        })?;
        self.stats.count(error.text());
        if error.may_be_executed() && kind != CallKind::Lock && self.rng.bool() {
            self.server.execute(who, call);
        }
        Some(error.error(kind))
    }

    /// Whether a read is answered by a member that is behind.
    pub(super) fn is_read_behind(&mut self, who: Who, call: &Call) -> bool {
        let until = self.stale_until.get(&who.process);
        let is_behind =
            until.is_some_and(|until| *until > self.now) && call.is_read_only() && self.rng.bool();
        if is_behind {
            self.stats.count("stale read");
        }
        is_behind
    }

    /// There is no leader for a while, and then there is another.
    pub(super) fn change_leader(&mut self, until: Micros) {
        self.stats.count("leader change");
        let until = until.min(self.now + ELECTION);
        self.disturb_all(until);
        self.stalled_until = self.stalled_until.max(until);
        self.at(until, Event::LeaderChange);
    }

    /// Somebody who isn't one of the processes enters a queue as Go's client does, and leaves it or gives the lock back.
    pub(super) fn foreign_entry(&mut self, foreign: Foreign, until: Micros) {
        self.stats.count("foreign entry");
        let number = self.rng.i64(1..i64::MAX);
        let lease = if foreign.negative { -number } else { number };
        let ttl = i64::try_from((until - self.now) / 1_000_000).unwrap_or(i64::MAX) + 3;
        let value = foreign.value.bytes();
        self.server.enter(&name(foreign.lock), lease, ttl, value);
        self.flush(Author::Stranger);
        self.at(until, Event::ForeignLeaves(lease));
    }
}
