//! Scenarios at random. Some worlds have few kinds of faults, so that rare ones are seen without the noise of others.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use etcd_lock_memory::model::{Version, WatchRefusal};
use etcd_lock_session::Tuning;
use fastrand::Rng;

use super::{
    Acquire, End, Etcd, Fault, FaultKind, Foreign, How, Mode, Net, Program, Scenario, Step, Value,
};
use crate::faults::{ClockFault, ServerError, StreamFault, WatchFault};

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let locks = if rng.u8(..4) == 0 { 2 } else { 1 };
        let chaos_ms = rng.u64(4_000..16_000);
        let mut processes: Vec<_> = (0..rng.usize(2..=4)).map(|_| program(rng, locks)).collect();
        if seed % 4 == 3 {
            processes[0] = crowd(rng, locks, if seed % 64 == 35 { 40 } else { 10 });
        }
        let (groups, count) = (groups(rng), rng.usize(..=6));
        let stage = Stage {
            processes: processes.len(),
            locks,
        };
        let mut faults: Vec<_> = (0..count)
            .map(|_| fault(rng, &groups, &stage, chaos_ms))
            .collect();
        if seed % 4 == 3 {
            // A read for many must notice whose entry is missing.
            faults.push(Fault {
                at_ms: rng.u64(..chaos_ms / 4),
                for_ms: 1,
                kind: FaultKind::DeleteNextKey(0),
            });
        }
        Self {
            seed,
            locks,
            processes,
            faults,
            net: net(rng),
            etcd: etcd(rng),
            chaos_ms,
            ahead_ms: pick(rng, &[5, 25, 100]),
        }
    }
}

fn program(rng: &mut Rng, locks: usize) -> Program {
    let mode = match rng.u8(..10) {
        0 | 1 => Mode::Bare,
        2 => Mode::Plain,
        3 | 4 => Mode::Mutex(0),
        5 | 6 => Mode::Mutex(1),
        7 => Mode::Mutex(2),
        _ => Mode::Mutex(512),
    };
    let sessions = match mode {
        Mode::Bare => 3,
        _ => 1 + usize::from(rng.u8(..3) == 0),
    };
    Program {
        mode,
        ttls: (0..sessions).map(|_| rng.u64(2..=9)).collect(),
        clock_ppm: clock(rng),
        tuning: tuning(rng),
        group: pick(rng, &[None, Some(1), Some(2)]),
        tasks: tasks(rng, 1..=3, 1..=4, locks, sessions),
    }
}

/// Clocks may differ by a tenth of a lease: sessions give theirs up that much before its end.
fn clock(rng: &mut Rng) -> u64 {
    if rng.bool() {
        1_000_000
    } else {
        rng.u64(905_000..=1_110_000)
    }
}

/// Many sessions of one process: more than its queue takes for near, so that they share reads.
fn crowd(rng: &mut Rng, locks: usize, sessions: usize) -> Program {
    let steps = if sessions > 10 { 1..=1 } else { 1..=4 };
    Program {
        mode: pick(rng, &[Mode::Bare, Mode::Mutex(0), Mode::Mutex(1)]),
        ttls: (0..sessions).map(|_| rng.u64(4..=9)).collect(),
        clock_ppm: 1_000_000,
        tuning: tuning(rng),
        group: pick(rng, &[None, Some(1), Some(2)]),
        tasks: tasks(rng, sessions * 6 / 10..=sessions, steps, locks, sessions),
    }
}

/// The constants that ship, or others: the rules must not hold by the constants that ship alone.
fn tuning(rng: &mut Rng) -> Tuning {
    let mut tuning = Tuning::new();
    if rng.bool() {
        return tuning;
    }
    let millis = |millis: u64| Duration::from_millis(millis);
    tuning.request_timeout = millis(pick(rng, &[200, 2_000, 10_000, 30_000]));
    tuning.idle_watches = pick(rng, &[0, 4, 64]);
    tuning.watched_age = millis(pick(rng, &[0, 10, 100, 1_000]));
    tuning.ask_interval = millis(pick(rng, &[1, 50, 250]));
    tuning.handover_time = millis(pick(rng, &[5, 200, 1_000]));
    tuning.shortest_pause = millis(pick(rng, &[1, 20, 200]));
    tuning.longest_pause = millis(pick(rng, &[300, 2_000]));
    tuning
}

fn tasks(
    rng: &mut Rng,
    tasks: RangeInclusive<usize>,
    steps: RangeInclusive<usize>,
    locks: usize,
    sessions: usize,
) -> Vec<Vec<Step>> {
    let tasks = (0..rng.usize(tasks)).map(|_| {
        let count = rng.usize(steps.clone());
        (0..count).map(|_| step(rng, locks, sessions)).collect()
    });
    tasks.collect()
}

fn step(rng: &mut Rng, locks: usize, sessions: usize) -> Step {
    match rng.u8(..14) {
        0 => Step::Sleep(rng.u64(..2_000)),
        1 => Step::CloseSession(rng.usize(..sessions)),
        2 => Step::Interrupt,
        _ => Step::Acquire(Acquire {
            lock: rng.usize(..locks),
            session: rng.usize(..sessions),
            how: match rng.u8(..8) {
                0 => How::Try,
                1 | 2 => How::Timeout(rng.u64(1..3_000)),
                _ => How::Lock,
            },
            polls: (rng.u8(..5) == 0).then(|| rng.usize(..8)),
            hold_ms: match rng.u8(..4) {
                0 => 0,
                1 if rng.u8(..8) == 0 => rng.u64(..12_000),
                1 => rng.u64(..3_000),
                _ => rng.u64(..200),
            },
            writes: rng.u64(..3),
            value: pick(rng, &[Value::Empty, Value::Empty, Value::Text]),
            stops: rng.bool(),
            end: match rng.u8(..6) {
                0 | 1 => End::Drop,
                2 => End::UnlockPolls(rng.usize(..4)),
                _ => End::Unlock,
            },
        }),
    }
}

/// The parts of a world that faults can befall.
struct Stage {
    processes: usize,
    locks: usize,
}

/// Kinds of faults that go together.
#[derive(Clone, Copy, Debug)]
enum Group {
    Clocks,
    Connections,
    Errors,
    Processes,
    Server,
    Strangers,
    Watches,
}

const GROUPS: [Group; 7] = [
    Group::Clocks,
    Group::Connections,
    Group::Errors,
    Group::Processes,
    Group::Server,
    Group::Strangers,
    Group::Watches,
];

/// One group, two, or all of them.
fn groups(rng: &mut Rng) -> Vec<Group> {
    match rng.u8(..4) {
        0 => vec![pick(rng, &GROUPS)],
        1 => vec![pick(rng, &GROUPS), pick(rng, &GROUPS)],
        _ => GROUPS.to_vec(),
    }
}

fn fault(rng: &mut Rng, groups: &[Group], stage: &Stage, chaos_ms: u64) -> Fault {
    let (process, lock) = (rng.usize(..stage.processes), rng.usize(..stage.locks));
    let kind = match pick(rng, groups) {
        Group::Clocks => clock_fault(rng, process),
        Group::Connections => connection_fault(rng, process),
        Group::Errors => error_fault(rng, process),
        Group::Processes => process_fault(rng, process),
        Group::Server => server_fault(rng, process),
        Group::Strangers => stranger_fault(rng, process, lock),
        Group::Watches => FaultKind::Watches(process, watch_fault(rng)),
    };
    Fault {
        at_ms: rng.u64(..chaos_ms),
        for_ms: rng.u64(1..6_000),
        kind,
    }
}

fn clock_fault(rng: &mut Rng, process: usize) -> FaultKind {
    let by = Duration::from_millis(rng.u64(1..10_000));
    let fault = pick(rng, &[ClockFault::Jumped(by), ClockFault::Suspended]);
    FaultKind::Clock(process, fault)
}

fn connection_fault(rng: &mut Rng, process: usize) -> FaultKind {
    match rng.u8(..6) {
        0 => FaultKind::Cut(process),
        1 => FaultKind::Streams(process, StreamFault::Broken),
        2 => FaultKind::Streams(process, StreamFault::Ended),
        3 => {
            let length = Duration::from_millis(rng.u64(1..6_000));
            FaultKind::Streams(process, StreamFault::Stalled(length))
        }
        _ => FaultKind::Partition(process),
    }
}

fn error_fault(rng: &mut Rng, process: usize) -> FaultKind {
    match pick(rng, &ServerError::ALL) {
        error @ (ServerError::PermissionDenied | ServerError::InvalidAuthToken) => {
            FaultKind::Errors(Some(process), error)
        }
        error => FaultKind::Errors(None, error),
    }
}

fn process_fault(rng: &mut Rng, process: usize) -> FaultKind {
    match rng.u8(..9) {
        0..=2 => FaultKind::Crash(process),
        3 | 4 => FaultKind::PauseAtGrant(process),
        _ => FaultKind::Pause(process),
    }
}

fn server_fault(rng: &mut Rng, process: usize) -> FaultKind {
    match rng.u8(..8) {
        0 => FaultKind::Compact,
        1 => FaultKind::Restart,
        2 => FaultKind::RestartAtRequest,
        3 => FaultKind::LeaderChange,
        4 | 5 => FaultKind::StaleReads(process),
        _ => FaultKind::Stall,
    }
}

fn stranger_fault(rng: &mut Rng, process: usize, lock: usize) -> FaultKind {
    match rng.u8(..8) {
        0 => FaultKind::DeleteKey(lock),
        1 | 2 => FaultKind::DeleteNextKey(lock),
        3 | 4 => FaultKind::Revoke(process),
        _ => FaultKind::Foreign(Foreign {
            lock,
            value: pick(rng, &[Value::Empty, Value::Empty, Value::Text, Value::Turn]),
            negative: rng.u8(..4) == 0,
        }),
    }
}

fn watch_fault(rng: &mut Rng) -> WatchFault {
    match rng.u8(..8) {
        0 | 1 => WatchFault::Delayed,
        2 | 3 => WatchFault::DelayedFromStart,
        4 => WatchFault::EventsLost(Bytes::new()),
        5 => WatchFault::Restarted,
        6 => WatchFault::Refused(WatchRefusal::LoginEnded),
        _ => WatchFault::Refused(WatchRefusal::PermissionDenied),
    }
}

/// A third of the networks are good.
fn net(rng: &mut Rng) -> Net {
    if rng.u8(..3) == 0 {
        return Net::default();
    }
    let mut rate = |most: u64| if rng.bool() { rng.u64(..most) } else { 0 };
    Net {
        refuse: rate(60),
        lose_request: rate(80),
        lose_reply: rate(120),
        delay: rate(150),
        duplicate: rate(150),
        time_out: rate(50),
        strand: rate(50),
        strand_ms: 10_000,
    }
}

fn etcd(rng: &mut Rng) -> Etcd {
    Etcd {
        version: pick(rng, &[Version::V3_4, Version::V3_5, Version::V3_6]),
        late_expiry: rng.bool(),
    }
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}
