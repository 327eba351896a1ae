//! Scenarios in which a queue once broke a rule. They are data, so that they say what must come together.

use etcd_lock_memory::model::{Version, WatchRefusal};
use etcd_lock_session::Tuning;

use super::scenario::{
    Acquire, End, Etcd, Fault, FaultKind, Foreign, How, Mode, Net, Program, Scenario, Step, Value,
};
use crate::faults::{ClockFault, WatchFault};

/// A scenario in which a queue once broke a rule, and must break none any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mended {
    /// The defect in a few words.
    pub name: &'static str,
    /// How it showed.
    pub scenario: Scenario,
}

/// One scenario for each defect that was found and mended.
#[must_use]
pub fn mended() -> Vec<Mended> {
    vec![
        deleted_between_two_watches(),
        refused_after_the_login_ended(),
        withdrawal_in_a_long_partition(),
        cancelled_for_a_compaction(),
        front_task_times_out(),
        stall_while_entering(),
        deleted_before_a_late_answer(),
        renewed_after_the_loss(),
    ]
}

/// The server restarts, and while no watch is on somebody deletes the entry of a holder that doesn't await `lost()`. It claimed the lock on.
fn deleted_between_two_watches() -> Mended {
    let holder = program(Mode::Mutex(0), 3, vec![vec![hold(10_000)]]);
    let faults = vec![
        fault(1_000, 500, FaultKind::Restart),
        fault(1_100, 0, FaultKind::DeleteKey(0)),
    ];
    case("deleted-between-two-watches", vec![holder], faults)
}

/// A waiter's watch is refused since the login of its stream has ended, as etcd 3.6 says it. The wait failed.
fn refused_after_the_login_ended() -> Mended {
    let refused = WatchFault::Refused(WatchRefusal::LoginEnded);
    let faults = vec![fault(300, 1_000, FaultKind::Watches(1, refused))];
    let (holder, waiter) = holder_and_waiter();
    let mut case = case(
        "refused-after-the-login-ended",
        vec![holder, waiter],
        faults,
    );
    case.scenario.etcd.version = Version::V3_6;
    case
}

/// The member of a waiter's watch catches up, and the revision that the watch would go on from is compacted away. The wait failed.
fn cancelled_for_a_compaction() -> Mended {
    let faults = vec![
        fault(
            1_000,
            0,
            FaultKind::Foreign(Foreign {
                lock: 0,
                value: Value::Empty,
                negative: false,
            }),
        ),
        fault(1_100, 0, FaultKind::Compact),
        fault(1_200, 0, FaultKind::Watches(1, WatchFault::Restarted)),
    ];
    let (holder, waiter) = holder_and_waiter();
    case("cancelled-for-a-compaction", vec![holder, waiter], faults)
}

/// One holds the lock for three seconds, and another waits for it from half a second on.
fn holder_and_waiter() -> (Program, Program) {
    let holder = program(Mode::Mutex(0), 5, vec![vec![hold(3_000)]]);
    let steps = vec![Step::Sleep(500), hold(10)];
    (holder, program(Mode::Mutex(0), 5, vec![steps]))
}

/// A waiter gives up and can't reach the server for 40 s, while its session lives. The withdrawal was given up after half a minute.
fn withdrawal_in_a_long_partition() -> Mended {
    let holder = program(Mode::Mutex(0), 120, vec![vec![hold(70_000)]]);
    let gives_up = Step::Acquire(acquire(How::Timeout(500), 10));
    let steps = vec![
        Step::Sleep(1_000),
        gives_up,
        Step::Sleep(60_000),
        Step::CloseSession(0),
    ];
    let waiter = program(Mode::Mutex(0), 120, vec![steps]);
    let faults = vec![fault(1_200, 40_000, FaultKind::Partition(1))];
    case(
        "withdrawal-in-a-long-partition",
        vec![holder, waiter],
        faults,
    )
}

/// Two tasks of a session wait behind another process; the first one's time is up. The other one's entry went with it.
fn front_task_times_out() -> Mended {
    let holder = program(Mode::Mutex(0), 5, vec![vec![hold(3_000)]]);
    let front = vec![
        Step::Sleep(100),
        Step::Acquire(acquire(How::Timeout(500), 10)),
    ];
    let behind = vec![Step::Sleep(200), hold(10)];
    let waiters = program(Mode::Mutex(0), 5, vec![front, behind]);
    case("front-task-times-out", vec![holder, waiters], Vec::new())
}

/// The server stalls for eleven seconds, which the session outlives, as somebody enters a queue for as long as it takes. The wait failed with a timeout.
fn stall_while_entering() -> Mended {
    let steps = vec![hold(10), Step::Sleep(1_000), hold(10)];
    let waiter = program(Mode::Mutex(0), 30, vec![steps]);
    let faults = vec![fault(900, 11_500, FaultKind::Stall)];
    case("stall-while-entering", vec![waiter], faults)
}

/// The answer to entering takes longer than nine tenths of the time to live, while keep-alives are answered, and somebody has deleted the entry by then. The lock was granted.
fn deleted_before_a_late_answer() -> Mended {
    let steps = vec![Step::Sleep(500), hold(10)];
    let holder = program(Mode::Mutex(0), 2, vec![steps]);
    let faults = vec![
        fault(300, 0, FaultKind::DeleteNextKey(0)),
        fault(400, 3_000, FaultKind::SlowReply(0)),
    ];
    case("deleted-before-a-late-answer", vec![holder], faults)
}

/// The computer sleeps during a stall, and the holder is told that its session is lost, as its timer ends before that of the
/// task that keeps the lease alive. Then a keep-alive was answered, and the hold was back.
fn renewed_after_the_loss() -> Mended {
    let holds = Step::Acquire(Acquire {
        stops: true,
        ..acquire(How::Lock, 20_000)
    });
    let steps = vec![hold(10), Step::Sleep(800), holds];
    let holder = program(Mode::Mutex(0), 8, vec![steps]);
    let faults = vec![
        fault(4_200, 5_720, FaultKind::Stall),
        fault(8_100, 1_700, FaultKind::Clock(0, ClockFault::Suspended)),
    ];
    case("renewed-after-the-loss", vec![holder], faults)
}

fn case(name: &'static str, processes: Vec<Program>, faults: Vec<Fault>) -> Mended {
    let scenario = Scenario {
        seed: 0,
        locks: 1,
        processes,
        faults,
        net: Net::default(),
        etcd: Etcd::default(),
        chaos_ms: 50_000,
        ahead_ms: 5,
    };
    Mended { name, scenario }
}

pub(super) fn program(mode: Mode, ttl: u64, tasks: Vec<Vec<Step>>) -> Program {
    Program {
        mode,
        ttls: vec![ttl],
        clock_ppm: 1_000_000,
        tuning: Tuning::new(),
        group: None,
        tasks,
    }
}

pub(super) fn hold(hold_ms: u64) -> Step {
    Step::Acquire(acquire(How::Lock, hold_ms))
}

fn acquire(how: How, hold_ms: u64) -> Acquire {
    Acquire {
        lock: 0,
        session: 0,
        how,
        polls: None,
        hold_ms,
        writes: 0,
        value: Value::Empty,
        stops: false,
        end: End::Unlock,
    }
}

pub(super) const fn fault(at_ms: u64, for_ms: u64, kind: FaultKind) -> Fault {
    Fault {
        at_ms,
        for_ms,
        kind,
    }
}
