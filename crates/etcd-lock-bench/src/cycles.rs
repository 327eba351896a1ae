//! Cycles on locks that nobody else wants, in a process of their own, so that what they cost can be told from what the bench
//! costs. The peers' programs print the same line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::cycle::Cycle;
use crate::usage::own_processor;

const WARM_UP: Duration = Duration::from_millis(500);

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

/// By etcd's own RPCs on one connection, with one lease.
pub(crate) async fn v3lock(endpoint: &str, tasks: usize, seconds: u64) {
    let bare = Bare::connect(endpoint).await;
    let phase = Phase::default();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (bare, name) = (bare.clone(), fresh_name());
        let mut times = Times::of(&phase);
        set.spawn(async move {
            while !times.are_complete() {
                let key = bare.lock(&name).await.unwrap();
                bare.unlock(key).await;
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
