//! Cycles on locks that nobody else wants, in a process of their own, so that what they cost can be told from what the bench
//! costs. The peers' programs print the same line.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::cycle::Cycle;
use crate::race::Etcd;
use crate::usage::{micros, own_processor, processor};

const WARM_UP: Duration = Duration::from_millis(500);

/// What a program did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// Cycles a second.
    pub(crate) rate: f64,
    /// How long the median cycle took, in microseconds.
    pub(crate) median: f64,
    /// How long all but one in a hundred took, in microseconds.
    pub(crate) p99: f64,
    /// Processor time of the program for one cycle, in microseconds.
    pub(crate) own_time: f64,
    /// Processor time of etcd for one cycle, in microseconds, the program's start included.
    pub(crate) etcds_time: f64,
}

/// Runs a program that prints what it did in so many seconds.
pub(crate) async fn of(program: &Path, arguments: &[&str], etcd: &Etcd) -> Done {
    let before = processor(etcd.pid);
    let output = Command::new(program).args(arguments).output().await;
    let output = output.unwrap();
    assert!(output.status.success(), "{program:?}: {output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    let numbers = line
        .split_whitespace()
        .map(|number| number.parse().unwrap());
    let [cycles, took, median, p99, used]: [f64; 5] =
        numbers.collect::<Vec<_>>().try_into().unwrap();
    Done {
        rate: cycles / (took / 1e6),
        median,
        p99,
        own_time: used / cycles,
        etcds_time: micros(processor(etcd.pid) - before) / cycles,
    }
}

/// Ours: all tasks share a session.
pub(crate) async fn ours(endpoint: &str, tasks: usize, seconds: u64) {
    let session = Session::open(&connect(endpoint), TTL).await.unwrap();
    let phase = Phase::default();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let mutex = Mutex::new(&session, fresh_name()).unwrap();
        let mut times = Times::of(&phase);
        set.spawn(async move {
            while !times.are_complete() {
                let guard = mutex.lock().await.unwrap();
                guard.unlock().await.unwrap();
            }
            times.taken
        });
    }
    report(&phase, set, seconds).await;
    session.close().await.unwrap();
}

/// The same two transactions by bare stubs on one connection.
pub(crate) async fn bare(endpoint: &str, tasks: usize, seconds: u64) {
    let (lease, cycles) = Cycle::record(tasks).await;
    let bare = Bare::connect_with(endpoint, lease.get()).await;
    let phase = Phase::default();
    let mut set = JoinSet::new();
    for cycle in cycles {
        let bare = bare.clone();
        let mut times = Times::of(&phase);
        set.spawn(async move {
            while !times.are_complete() {
                let created = bare.txn(cycle.enter()).await;
                bare.txn(cycle.leave(created)).await;
            }
            times.taken
        });
    }
    report(&phase, set, seconds).await;
    bare.close().await;
}

/// 0 while tasks warm up, 1 while their cycles count, 2 once it is over.
type Phase = Arc<AtomicU8>;

/// How long the cycles of a task take, of those that count.
struct Times {
    phase: Phase,
    begun: Option<Instant>,
    taken: Vec<Duration>,
}

impl Times {
    fn of(phase: &Phase) -> Self {
        Self {
            phase: phase.clone(),
            begun: None,
            taken: Vec::new(),
        }
    }

    /// Ends a cycle and begins the next one, unless it is over.
    fn are_complete(&mut self) -> bool {
        let now = Instant::now();
        let phase = self.phase.load(Relaxed);
        if let Some(begun) = self.begun.replace(now)
            && phase == 1
        {
            self.taken.push(now - begun);
        }
        phase == 2
    }
}

async fn report(phase: &Phase, tasks: JoinSet<Vec<Duration>>, seconds: u64) {
    sleep(WARM_UP).await;
    let (before, begun) = (own_processor(), Instant::now());
    phase.store(1, Relaxed);
    sleep(Duration::from_secs(seconds)).await;
    phase.store(2, Relaxed);
    let (took, used) = (begun.elapsed(), own_processor() - before);
    let mut times = tasks.join_all().await.concat();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    let (took, used) = (took.as_micros(), used.as_micros());
    println!("{} {took} {} {} {used}", times.len(), at(0.5), at(0.99));
}
