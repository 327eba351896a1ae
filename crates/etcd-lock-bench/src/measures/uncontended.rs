//! A lock that nobody else wants, beside the same two transactions by bare stubs.

use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::cycle::Cycle;
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn, median, warm_up};
use crate::usage::micros;

/// How long the work under the lock takes, where there is any.
pub(crate) const WORK: Duration = Duration::from_millis(5);

/// One cycle of theirs and one of ours, in turn: a cycle is too short for rounds of one side. The work itself does not count.
pub(crate) async fn measure(bench: &Bench, report: &mut Report, work: Option<Duration>) {
    let endpoint = &bench.etcd.endpoint;
    let session = Session::open(&connect(endpoint), TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let (lease, cycles) = Cycle::record(1).await;
    let bare = Bare::connect_with(endpoint, lease.get()).await;
    let round = async || {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for number in 0..if work.is_some() { 100 } else { 300 } {
            let our_cycle = async || our_cycle(&mutex, work).await;
            let bare_cycle = async || bare_cycle(&bare, &cycles[0], work).await;
            let (our, bare) = in_turn(number, our_cycle, bare_cycle).await;
            ours.push(micros(our));
            reference.push(micros(bare));
        }
        (median(ours), median(reference))
    };
    warm_up(&round).await;
    let mut rounds = Rounds::default();
    for _ in 0..bench.rounds {
        rounds.push(round().await);
    }
    let around = work.map_or(String::new(), |work| format!(" around {work:?} of work"));
    report.add(Row {
        measure: format!("uncontended lock and unlock{around}, beside the same two transactions"),
        unit: "µs",
        rounds,
        must: Must::AtMost(1.05),
    });
    drop(mutex);
    session.close().await.unwrap();
    bare.close().await;
}

async fn our_cycle(mutex: &Mutex, work: Option<Duration>) -> Duration {
    let begun = Instant::now();
    let guard = mutex.lock().await.unwrap();
    let worked = match work {
        Some(work) => guard.run(timed(work)).await.unwrap(),
        None => Duration::ZERO,
    };
    guard.unlock().await.unwrap();
    begun.elapsed() - worked
}

async fn bare_cycle(bare: &Bare, cycle: &Cycle, work: Option<Duration>) -> Duration {
    let enter = cycle.enter();
    let begun = Instant::now();
    let created = bare.txn(enter).await;
    let worked = match work {
        Some(work) => timed(work).await,
        None => Duration::ZERO,
    };
    bare.txn(cycle.leave(created)).await;
    begun.elapsed() - worked
}

/// Takes some time, and returns how much.
async fn timed(work: Duration) -> Duration {
    let begun = Instant::now();
    sleep(work).await;
    begun.elapsed()
}
