//! What happens in one run, as data: programs of processes and a list of faults. The same scenario runs the same way each
//! time, and what is data can be made smaller.

use std::fmt;
use std::ops::RangeInclusive;

use fastrand::Rng;

/// One run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scenario {
    /// Seeds everything that is decided during the run.
    pub seed: u64,
    pub(super) locks: usize,
    pub(super) processes: Vec<Program>,
    pub(super) faults: Vec<Fault>,
    pub(super) net: Net,
    /// When the faults end.
    pub(super) chaos_ms: u64,
    /// How far a process may run ahead of the world while nothing is on its way.
    pub(super) ahead_ms: u64,
}

/// What one process does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Program {
    pub(super) mode: Mode,
    /// The time to live of each of its sessions, in seconds. They share one queue.
    pub(super) ttls: Vec<u64>,
    /// How fast its clock runs, in millionths of the world's.
    pub(super) clock_ppm: u64,
    pub(super) tasks: Vec<Vec<Step>>,
}

/// How a process takes locks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Through the queue, each task with a lease of its own.
    Bare,
    /// Mutexes over the queue, with a limit of local hand-overs.
    Mutex(u32),
    /// Mutexes over the `Lock` RPC, each wait with a new lease.
    Plain,
}

/// One step of a task.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Acquire(Acquire),
    CloseSession(usize),
    /// Whoever waits for a lock in this process drops the wait, also one who has just got it.
    Interrupt,
    Sleep(u64),
}

/// Taking a lock, using it and giving it back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Acquire {
    pub(super) lock: usize,
    pub(super) session: usize,
    pub(super) how: How,
    /// Drop the wait after so many polls.
    pub(super) polls: Option<usize>,
    pub(super) hold_ms: u64,
    pub(super) writes: u64,
    /// Whether the holder stops when it learns that the lock is lost.
    pub(super) stops: bool,
    pub(super) end: End,
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    Lock,
    Timeout(u64),
    Try,
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Drop,
    Unlock,
    /// The release itself is dropped after so many polls.
    UnlockPolls(usize),
}

/// Something bad that happens at a time, for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) at_ms: u64,
    pub(super) for_ms: u64,
    pub(super) kind: FaultKind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FaultKind {
    Compact,
    Crash(usize),
    /// The connections of a process break, and with them its streams and some of its requests.
    Cut(usize),
    /// Somebody deletes a key of a queue.
    DeleteKey(usize),
    /// Somebody deletes the next key of a queue as soon as it is made.
    DeleteNextKey(usize),
    Partition(usize),
    Pause(usize),
    /// The process stops when it is granted a lock the next time.
    PauseAtGrant(usize),
    /// The server restarts: streams break, requests under way fail, perhaps nobody can connect for a while.
    Restart,
    /// The same when the next transaction is on its way.
    RestartAtRequest,
    /// Somebody revokes a lease of a process.
    Revoke(usize),
    /// The next answer to a transaction or a `Lock` call of the process takes longer by so much.
    SlowReply(usize),
    /// The server stops for a while, and then does what has come meanwhile.
    Stall,
}

/// What the network does to single requests, in thousandths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Net {
    pub(super) refuse: u64,
    pub(super) lose_request: u64,
    pub(super) lose_reply: u64,
    pub(super) delay: u64,
    pub(super) duplicate: u64,
    /// Requests that are executed long after their callers were told that they failed.
    pub(super) strand: u64,
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let locks = if rng.u8(..4) == 0 { 2 } else { 1 };
        let chaos_ms = rng.u64(4_000..16_000);
        let processes: Vec<_> = (0..rng.usize(2..=4))
            .map(|_| program(&mut rng, locks))
            .collect();
        let count = rng.usize(..=6);
        let faults = (0..count)
            .map(|_| fault(&mut rng, processes.len(), locks, chaos_ms))
            .collect();
        let mut scenario = Self {
            seed,
            locks,
            faults,
            net: net(&mut rng),
            chaos_ms,
            ahead_ms: [5, 25, 100][rng.usize(..3)],
            processes,
        };
        if seed % 4 == 3 {
            scenario.processes[0] = crowd(&mut rng, locks);
            // Who reads for many must notice whose entry is missing.
            scenario.faults.push(Fault {
                at_ms: rng.u64(..chaos_ms / 4),
                for_ms: 1,
                kind: FaultKind::DeleteNextKey(0),
            });
        }
        scenario
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
    let ttls = (0..sessions).map(|_| rng.u64(2..=7)).collect();
    let clock_ppm = if rng.bool() {
        1_000_000
    } else {
        rng.u64(930_000..=1_070_000)
    };
    let tasks = tasks(rng, 1..=3, locks, sessions);
    Program {
        mode,
        ttls,
        clock_ppm,
        tasks,
    }
}

/// Many sessions of one process: more than its queue takes for near, so that they share reads.
fn crowd(rng: &mut Rng, locks: usize) -> Program {
    let sessions = 10;
    Program {
        mode: [Mode::Bare, Mode::Mutex(0), Mode::Mutex(1)][rng.usize(..3)],
        ttls: (0..sessions).map(|_| rng.u64(4..=9)).collect(),
        clock_ppm: 1_000_000,
        tasks: tasks(rng, 6..=10, locks, sessions),
    }
}

fn tasks(
    rng: &mut Rng,
    count: RangeInclusive<usize>,
    locks: usize,
    sessions: usize,
) -> Vec<Vec<Step>> {
    let tasks = (0..rng.usize(count)).map(|_| {
        let count = rng.usize(1..=4);
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
            stops: rng.bool(),
            end: match rng.u8(..6) {
                0 | 1 => End::Drop,
                2 => End::UnlockPolls(rng.usize(..4)),
                _ => End::Unlock,
            },
        }),
    }
}

fn fault(rng: &mut Rng, processes: usize, locks: usize, chaos_ms: u64) -> Fault {
    let process = rng.usize(..processes);
    let kind = match rng.u8(..26) {
        0 => FaultKind::Compact,
        1..=3 => FaultKind::Crash(process),
        4..=6 => FaultKind::Cut(process),
        7..=10 => FaultKind::Partition(process),
        11..=14 => FaultKind::Pause(process),
        15 => FaultKind::Restart,
        16 => FaultKind::RestartAtRequest,
        17 => FaultKind::DeleteKey(rng.usize(..locks)),
        18 | 19 => FaultKind::DeleteNextKey(rng.usize(..locks)),
        20 | 21 => FaultKind::Revoke(process),
        22 | 23 => FaultKind::PauseAtGrant(process),
        _ => FaultKind::Stall,
    };
    Fault {
        at_ms: rng.u64(..chaos_ms),
        for_ms: rng.u64(1..6_000),
        kind,
    }
}

/// A third of the networks are good, so that rare faults are also seen without the noise of others.
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
        strand: rate(50),
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            chaos_ms,
            ahead_ms,
            net,
            ..
        } = self;
        writeln!(
            f,
            "seed {seed}: faults until {chaos_ms} ms, {ahead_ms} ms ahead, {net:?}"
        )?;
        for (number, process) in self.processes.iter().enumerate() {
            let Program {
                mode,
                ttls,
                clock_ppm,
                ..
            } = process;
            writeln!(
                f,
                "process {number}: {mode:?}, sessions of {ttls:?} s, clock at {clock_ppm} ppm"
            )?;
            for (task, steps) in process.tasks.iter().enumerate() {
                writeln!(f, "  task {task}: {steps:?}")?;
            }
        }
        for fault in &self.faults {
            writeln!(f, "{fault:?}")?;
        }
        Ok(())
    }
}
