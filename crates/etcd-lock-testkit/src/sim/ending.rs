//! How a run ends: the faults stop, every wait ends, nothing is left.

use super::process::{Micros, Process};
use super::world::World;

/// How long after the faults every wait must have ended: leases end, streams are opened again, lines are read anew.
const PATIENCE: Micros = 120_000_000;

/// How long after the last caller lost interest entries may stay: as long as the queue looks after doubtful ones.
const WITHDRAWAL: Micros = 45_000_000;

/// How long it may take, while nothing goes wrong, until who stands first holds the lock, or gives it back, or is removed:
/// holds are shorter, and so are the lives of leases. Lines are read anew after 15 s of silence: that must not be needed.
const STANDSTILL: Micros = 10_000_000;

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

    /// Nobody stands first for long without anything coming of it.
    pub(super) fn check_progress(&mut self) {
        let Some(before) = self.now.checked_sub(STANDSTILL) else {
            return;
        };
        if self.calm_from < before
            && let Some(lock) = self.checker.stuck_since(before)
        {
            let queues = self.checker.queues();
            self.checker.violated(format!(
                "standstill: nothing comes of who stands first for lock {lock}, queues are {queues}"
            ));
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
