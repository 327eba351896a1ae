//! Faults of streams, of the watches on them, and of clocks.

use etcd_lock_core::ErrorKind;
use etcd_lock_core::watch::{Event, WatchBody};

use super::process::Micros;
use super::scenario::Mode;
use super::server::{Down, Who};
use super::transport::lost;
use super::world::{self, World};
use crate::faults::{ClockFault, StreamFault, WatchFault};
use crate::history::Fact;

impl World<'_> {
    pub(super) fn stream_fault(&mut self, process: usize, fault: StreamFault) {
        match fault {
            StreamFault::Broken | StreamFault::Ended => {
                self.end_streams(process, fault);
                self.wake(process);
            }
            StreamFault::Stalled(length) => {
                self.stats.count("streams stalled");
                let until = self.now + micros(length);
                self.disturb(process, until);
                let host = &mut self.hosts[process];
                host.streams_stalled_until = host.streams_stalled_until.max(until);
            }
        }
    }

    /// Ends the streams of a process, whose calls go on.
    pub(super) fn end_streams(&mut self, number: usize, how: StreamFault) {
        let Some(process) = &mut self.hosts[number].process else {
            return;
        };
        let streams = std::mem::take(&mut process.streams);
        // A request that was sent at this very instant is cut as well.
        self.disturb(number, self.now + 1);
        self.stats.count(match how {
            StreamFault::Ended => "streams ended",
            _ => "streams broken",
        });
        for (id, stream) in streams {
            if how != StreamFault::Ended {
                stream.end.fail(lost("the stream was cut"));
            }
            let who = self.who(number, id);
            self.server.close_stream(who);
        }
    }

    pub(super) fn watch_fault(&mut self, process: usize, fault: WatchFault, until: Micros) {
        self.stats.count(match fault {
            WatchFault::Delayed => "watches delayed",
            WatchFault::DelayedFromStart => "watches delayed from their start",
            WatchFault::EventsLost(_) => "events lost for a while",
            WatchFault::Refused(_) => "watches refused",
            WatchFault::Restarted => "watches restarted",
        });
        if fault.is_lasting() {
            self.at(until, world::Event::WatchFaultEnd(process, fault.clone()));
        }
        self.server.begin_watch_fault(process, fault);
    }

    /// A watch that lives was not told of an event.
    pub(super) fn event_lost(&mut self, who: Who, event: &Event) {
        self.stats.count("event lost");
        self.record(Fact::EventLost {
            client: who.client(),
            key: String::from_utf8_lossy(&event.kv.key).into_owned(),
        });
        self.log.add(
            self.now,
            format_args!("{}.{} is not told of {event:?}", who.process, who.id),
        );
    }

    /// Notes that a process hears that the server has ended a watch of its.
    pub(super) fn watch_ended(&mut self, who: Who, down: &Down) {
        let Down::Watch(Ok(reply)) = down else {
            return;
        };
        if let WatchBody::Canceled {
            reason,
            compact_revision,
        } = &reply.body
            && (compact_revision.is_some() || !reason.is_empty())
        {
            self.stats.count("watch cancelled");
            let kind = if reason.contains("permission denied") {
                ErrorKind::PermissionDenied
            } else if reason.contains("auth token") {
                ErrorKind::Unauthenticated
            } else {
                ErrorKind::Server
            };
            let client = who.client();
            self.record(Fact::WatchRefused { client, kind });
            // The watch of a caller of the `Lock` RPC is a part of its call.
            if self.scenario.processes[who.process].mode == Mode::Plain {
                self.refused(who, kind);
            }
            self.log.add(
                self.now,
                format_args!("{}.{} loses a watch: {reply:?}", who.process, who.id),
            );
        }
    }

    pub(super) fn clock_fault(&mut self, process: usize, fault: ClockFault, until: Micros) {
        match fault {
            ClockFault::Jumped(by) => {
                self.stats.count("clock jumped");
                // Its timers fire all at once, also those of what has begun at this very instant.
                self.disturb(process, self.now + 1);
                self.note_clock(process, true);
                if let Some(process) = &mut self.hosts[process].process {
                    process.jump_by(micros(by));
                }
                self.note_clock(process, false);
                self.claims_due = true;
                self.wake(process);
            }
            ClockFault::Suspended => {
                self.stats.count("suspend");
                self.hosts[process].asleep = true;
                self.pause(process, until);
            }
        }
    }
}

fn micros(length: std::time::Duration) -> Micros {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::mended::{fault, hold, program};
    use super::super::run;
    use super::super::scenario::{Etcd, Fault, FaultKind, Net, Scenario, Step};
    use super::*;
    use crate::checker::Rule;
    use crate::faults::ServerError;

    /// The rules that a run breaks in which a fault befalls the holder of a lock, whose lease is of 2 s, while somebody else waits.
    fn broken(clock_ppm: u64, kind: FaultKind) -> Vec<Rule> {
        let mut holder = program(Mode::Mutex(0), 2, vec![vec![hold(20_000)]]);
        holder.clock_ppm = clock_ppm;
        let waits = vec![Step::Sleep(500), hold(10_000)];
        let waiter = program(Mode::Mutex(0), 5, vec![waits]);
        let scenario = Scenario {
            seed: 0,
            locks: 1,
            processes: vec![holder, waiter],
            faults: vec![fault(1_000, 6_000, kind)],
            net: Net::default(),
            etcd: Etcd::default(),
            chaos_ms: 30_000,
            ahead_ms: 5,
        };
        let violations = run(&scenario).violations.into_iter();
        violations.map(|violation| violation.rule).collect()
    }

    /// A tenth of a lease is left for clocks that run at different speeds: the control shows that more would be noticed.
    #[test]
    fn a_clock_beyond_the_margin_is_found_and_one_within_is_not() {
        assert_eq!(broken(800_000, FaultKind::Partition(0)), [Rule::Exclusion]);
        assert_eq!(broken(905_000, FaultKind::Partition(0)), []);
    }

    /// How many waits fail otherwise, in runs of a process that takes a lock twice. No rule is broken.
    fn refused_waits(faults: &[Fault]) -> u64 {
        let steps = vec![hold(2_050), hold(10)];
        let process = program(Mode::Mutex(0), 6, vec![steps]);
        let mut refused = 0;
        for seed in 0..16 {
            let outcome = run(&Scenario {
                seed,
                locks: 1,
                processes: vec![process.clone()],
                faults: faults.to_vec(),
                net: Net::default(),
                etcd: Etcd::default(),
                chaos_ms: 10_000,
                ahead_ms: 5,
            });
            assert_eq!(outcome.violations, []);
            let marks = outcome.stats.marks;
            refused += marks.get("wait that fails otherwise").copied().unwrap_or(0);
        }
        refused
    }

    const REFUSED: FaultKind = FaultKind::Errors(Some(0), ServerError::PermissionDenied);

    /// A heartbeat and a release are refused while the process stands still. When it goes on it hears of the release first,
    /// in some of the runs, and asks again before it hears of the heartbeat.
    #[test]
    fn a_refusal_that_comes_to_a_stopped_process_is_a_reason_when_it_goes_on() {
        let faults = [
            fault(1_900, 600, FaultKind::LeaderChange),
            fault(2_100, 2_000, FaultKind::Pause(0)),
            fault(2_200, 1_500, REFUSED),
        ];
        assert!(refused_waits(&faults) > 0);
    }

    #[test]
    fn a_refusal_after_a_crash_in_a_pause_is_a_reason_at_once() {
        let faults = [
            fault(1_000, 5_000, FaultKind::Pause(0)),
            fault(1_500, 500, FaultKind::Crash(0)),
            fault(2_002, 3_000, REFUSED),
        ];
        assert!(refused_waits(&faults) > 0);
    }

    /// Sessions count the time for which the computer slept, although its clock stood still.
    #[test]
    fn a_holder_whose_computer_slept_claims_no_longer_than_one_that_was_stopped() {
        let asleep = FaultKind::Clock(0, ClockFault::Suspended);
        assert_eq!(broken(1_000_000, asleep), []);
        assert_eq!(broken(1_000_000, FaultKind::Pause(0)), []);
    }

    #[test]
    fn a_clock_that_jumps_on_ends_claims_early_at_worst() {
        let jump = ClockFault::Jumped(Duration::from_secs(5));
        assert_eq!(broken(1_000_000, FaultKind::Clock(0, jump)), []);
    }
}
