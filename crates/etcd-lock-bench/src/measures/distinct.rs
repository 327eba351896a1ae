//! The common case: everybody has a lock of their own.

use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinSet;

use super::{Bench, WINDOW};
use crate::bare::Bare;
use crate::client::{TTL, connect, fresh_name};
use crate::cycle::Cycle;
use crate::race::{Etcd, Outcome, Race};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn};

pub(crate) async fn measure(bench: &Bench, report: &mut Report, locks: usize) {
    let (mut rates, mut costs) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds {
        let ours = async || ours(&bench.etcd, locks).await;
        let (our, bare) = in_turn(round, ours, async || bare(&bench.etcd, locks).await).await;
        rates.push((our.rate, bare.rate));
        costs.push((our.own_time, bare.own_time));
    }
    let locks = match locks {
        1 => "1 lock".to_owned(),
        locks => format!("{locks} distinct locks"),
    };
    report.add(Row {
        measure: format!("cycles on {locks}, beside the same transactions on one connection"),
        unit: "1/s",
        rounds: rates,
        must: Must::AtLeast(0.9),
    });
    report.add(Row {
        measure: format!("processor time of a cycle on {locks}, connection included, beside bare"),
        unit: "µs",
        rounds: costs,
        must: Must::Tell,
    });
}

/// Cycles on as many locks as there are tasks, by one session.
async fn ours(etcd: &Etcd, locks: usize) -> Outcome {
    let session = Session::open(&connect(&etcd.endpoint), TTL).await.unwrap();
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..locks {
        let (mut part, mutex) = (race.part(), Mutex::new(&session, fresh_name()).unwrap());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
        });
    }
    let outcome = race.count(locks, etcd.pid, WINDOW / 2).await;
    tasks.join_all().await;
    session.close().await.unwrap();
    outcome
}

/// The same two transactions by bare stubs on one connection.
async fn bare(etcd: &Etcd, locks: usize) -> Outcome {
    let (lease, cycles) = Cycle::record(locks).await;
    let bare = Bare::connect_with(&etcd.endpoint, lease.get()).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for cycle in cycles {
        let (mut part, bare) = (race.part(), bare.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let created = bare.txn(cycle.enter()).await;
                part.granted();
                bare.txn(cycle.leave(created)).await;
            }
        });
    }
    let outcome = race.count(locks, etcd.pid, WINDOW / 2).await;
    tasks.join_all().await;
    bare.close().await;
    outcome
}
