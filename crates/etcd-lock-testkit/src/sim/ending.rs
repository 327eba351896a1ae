//! How a run ends: the faults stop, every wait ends, nothing is left.

use super::process::{Micros, Process};
use super::world::World;
use crate::checker::Rule;

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
                let queues = self.records.queues();
                let text = format!("processes {waiting:?} still wait, queues are {queues}");
                self.records.violated(self.now, Rule::Progress, text);
            }
            Phase::Settling { since } => {
                if self.records.queues_are_empty() && self.on_their_way == 0 {
                    self.close();
                } else if self.now > since + WITHDRAWAL {
                    let queues = self.records.queues();
                    let text = format!("nobody waits, and queues are {queues}");
                    self.records.violated(self.now, Rule::Leak, text);
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
                    let streams = self.server.has_streams();
                    let text =
                        format!("{tasks} tasks are left, leases {leases:?}, streams {streams}");
                    self.records.violated(self.now, Rule::Leak, text);
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

#[cfg(test)]
mod tests {
    use etcd_lock_core::kv::{PutRequest, TxnRequest};
    use etcd_lock_core::lease::LeaseGrantRequest;
    use etcd_lock_core::{LeaseId, Ttl};
    use etcd_lock_session::Tuning;

    use super::super::hub::Call;
    use super::super::scenario::{Etcd, Mode, Net, Program, Scenario, Step};
    use super::super::server::Who;
    use super::*;

    /// How a run ends whose one process takes these steps, when somebody has made these calls before.
    fn verdict(steps: Vec<Step>, before: &[Call]) -> Option<Rule> {
        let program = Program {
            mode: Mode::Bare,
            ttls: vec![2],
            clock_ppm: 1_000_000,
            tuning: Tuning::new(),
            group: None,
            tasks: vec![steps],
        };
        let scenario = Scenario {
            seed: 0,
            locks: 1,
            processes: vec![program],
            faults: Vec::new(),
            net: Net::default(),
            etcd: Etcd::default(),
            chaos_ms: 1_000,
            ahead_ms: 25,
        };
        let mut world = World::new(&scenario, false);
        let who = Who {
            process: 0,
            life: 0,
            id: 0,
        };
        for call in before {
            assert!(matches!(world.server.execute(who, call), Some(Ok(_))));
        }
        world
            .run()
            .violations
            .first()
            .map(|violation| violation.rule)
    }

    fn lease() -> LeaseId {
        LeaseId::new(7).unwrap()
    }

    fn grant() -> Call {
        let ttl = Ttl::from_secs(3_600).unwrap();
        Call::Grant(LeaseGrantRequest::new(ttl).with_id(lease()))
    }

    #[test]
    fn a_run_that_leaves_nothing_passes() {
        assert_eq!(verdict(vec![Step::Sleep(10)], &[]), None);
    }

    #[test]
    fn an_entry_that_is_left_is_found() {
        let put = PutRequest::new("lock0/7", "").with_lease(lease());
        let enter = Call::Txn(TxnRequest::new().and_then(put));
        let verdict = verdict(Vec::new(), &[grant(), enter]);
        assert_eq!(verdict, Some(Rule::Standstill));
    }

    #[test]
    fn a_lease_that_is_left_is_found() {
        let verdict = verdict(Vec::new(), &[grant()]);
        assert_eq!(verdict, Some(Rule::Leak));
    }

    #[test]
    fn a_wait_without_an_end_is_found() {
        let verdict = verdict(vec![Step::Sleep(86_400_000)], &[]);
        assert_eq!(verdict, Some(Rule::Progress));
    }
}
