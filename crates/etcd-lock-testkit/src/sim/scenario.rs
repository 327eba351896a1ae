//! One run as data: programs of processes and a list of faults. The same scenario runs the same way each
//! time, and data can be made smaller.

mod draw;

use std::fmt;

use etcd_lock_memory::model::Version;
use etcd_lock_session::Tuning;

use crate::faults::{ClockFault, ServerError, StreamFault, WatchFault};

/// One run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scenario {
    /// Seeds everything that is decided during the run.
    pub seed: u64,
    pub(super) locks: usize,
    pub(super) processes: Vec<Program>,
    pub(super) faults: Vec<Fault>,
    pub(super) net: Net,
    pub(super) etcd: Etcd,
    /// When the faults end.
    pub(super) chaos_ms: u64,
    /// How far a process may run ahead of the world while nothing is on its way.
    pub(super) ahead_ms: u64,
}

/// The kind of server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Etcd {
    pub(super) version: Version,
    /// Whether leases end up to half a second late, as those of etcd do.
    pub(super) late_expiry: bool,
}

/// The program of one process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Program {
    pub(super) mode: Mode,
    /// The time to live of each of its sessions, in seconds. They share one queue.
    pub(super) ttls: Vec<u64>,
    /// How fast its clock runs, in millionths of the world's.
    pub(super) clock_ppm: u64,
    /// The constants of its queue.
    pub(super) tuning: Tuning,
    /// With how many slots its transactions are committed in groups, if they are.
    pub(super) group: Option<usize>,
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
    /// Each waiter of this process drops its wait, also one that has just been granted the lock.
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
    /// The value of its entry, where it can have one.
    pub(super) value: Value,
    /// Whether the holder stops when it learns that the lock is lost.
    pub(super) stops: bool,
    pub(super) end: End,
}

/// The value of an entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Value {
    /// Nothing, as Go's client and `etcdctl` do.
    #[default]
    Empty,
    /// Something of an application.
    Text,
    /// A value like that of a release that names this entry as the next.
    Turn,
}

impl Value {
    pub(super) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Empty => b"",
            Self::Text => b"{\"host\":\"a\"}",
            Self::Turn => b"next\0",
        }
    }
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

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum FaultKind {
    Clock(usize, ClockFault),
    Compact,
    Crash(usize),
    /// The connections of a process break, and with them its streams and some of its requests.
    Cut(usize),
    /// Somebody deletes a key of a queue.
    DeleteKey(usize),
    /// Somebody deletes the next key of a queue as soon as it is made.
    DeleteNextKey(usize),
    /// The server refuses requests for a while: those of one process, or all.
    Errors(Option<usize>, ServerError),
    /// Somebody who isn't one of the processes enters a queue, and leaves it again.
    Foreign(Foreign),
    /// Another member becomes the leader, after nobody was for a while.
    LeaderChange,
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
    /// Some reads of a process are answered as of now, by a member that is behind.
    StaleReads(usize),
    /// The server stops for a while, and then does what has come meanwhile.
    Stall,
    Streams(usize, StreamFault),
    /// One that lasts does so for a while.
    Watches(usize, WatchFault),
}

/// An entry of somebody who isn't one of the processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Foreign {
    pub(super) lock: usize,
    pub(super) value: Value,
    /// Whether the number of its lease is negative, as a client of etcd may choose it.
    pub(super) negative: bool,
}

/// The rates of the network's faults of single requests, in thousandths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Net {
    pub(super) refuse: u64,
    pub(super) lose_request: u64,
    pub(super) lose_reply: u64,
    pub(super) delay: u64,
    pub(super) duplicate: u64,
    /// The server says that it doesn't know whether a write will be committed.
    pub(super) time_out: u64,
    /// Requests that are executed long after their callers were told that they failed.
    pub(super) strand: u64,
    /// How long after at most.
    pub(super) strand_ms: u64,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            chaos_ms,
            ahead_ms,
            net,
            etcd,
            ..
        } = self;
        writeln!(
            f,
            "seed {seed}: faults until {chaos_ms} ms, {ahead_ms} ms ahead, {net:?}, {etcd:?}"
        )?;
        for (number, process) in self.processes.iter().enumerate() {
            let Program {
                mode,
                ttls,
                clock_ppm,
                tuning,
                group,
                ..
            } = process;
            writeln!(
                f,
                "process {number}: {mode:?}, sessions of {ttls:?} s, clock at {clock_ppm} ppm"
            )?;
            if *tuning != Tuning::new() {
                writeln!(f, "  {tuning:?}")?;
            }
            if let Some(slots) = group {
                writeln!(f, "  group commit, {slots} slots at first")?;
            }
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
