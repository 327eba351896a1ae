//! How a run ends: the faults stop, every wait ends, nothing is left.

use super::process::{Micros, Process};
use super::world::World;

/// How long after the faults every wait must have ended: leases end, streams are opened again, lines are read anew.
const PATIENCE: Micros = 120_000_000;

/// How long after the last caller lost interest entries may stay: as long as the queue looks after doubtful ones.
const WITHDRAWAL: Micros = 45_000_000;

/// How long after its end a process may need to be gone with all its tasks, leases and streams.
const WINDING_UP: Micros = 60_000_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Chaos,
    Healed { since: Micros },
    Settling { since: Micros },
    Closing { since: Micros },
    Done,
}

impl World<'_> {
    pub(super) fn check_phase(&mut self) {
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

    pub(super) fn close(&mut self) {
        self.log.add(self.now, format_args!("CLOSING"));
        self.phase = Phase::Closing { since: self.now };
        for number in 0..self.hosts.len() {
            self.hosts[number].progress.close.notify_one();
            self.wake(number);
        }
    }
}
