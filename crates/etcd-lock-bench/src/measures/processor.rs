//! The processor time of our layers above the transport: cycles over an etcd in memory, less the same two transactions without
//! anything around them.
//!
//! Tasks that share requests pack and unpack them, and save sending over a network, which is not seen here. The bar for many
//! tasks is therefore on the time of the whole process beside a real etcd, in `distinct`.

use std::sync::Arc;

use etcd_lock_core::lease::LeaseGrantRequest;
use etcd_lock_core::{CallOptions, LeaseId, Transport, Ttl};
use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinSet;

use super::Bench;
use super::distinct::tasks;
use crate::client::{TTL, fresh_name, over};
use crate::cycle::Cycle;
use crate::recorder::{Answers, Recorder};
use crate::report::{Must, Report, Row};
use crate::rounds::{Rounds, in_turn, warm_up};
use crate::usage::{micros, own_processor};

/// How many cycles a side makes in one turn, all tasks together.
const CYCLES: usize = 25_600;

/// How much of it both calls may take.
const BOUND: f64 = 10.0;

pub(crate) async fn measure(bench: &Bench, report: &mut Report, count: usize) {
    let recorder = Recorder::counting(match count {
        1 => Answers::AtOnce,
        _ => Answers::Later,
    });
    let session = Session::open(&over(recorder.clone()), TTL).await.unwrap();
    let mutexes: Vec<_> = (0..count)
        .map(|_| Mutex::new(&session, fresh_name()).unwrap())
        .collect();
    let (lease, cycles) = Cycle::record(count).await;
    grant(&recorder, lease).await;
    let cycles: Vec<_> = cycles.into_iter().map(Arc::new).collect();

    let ours = async || ours(&mutexes).await;
    let bare = async || bare(&recorder, &cycles).await;
    warm_up(async || in_turn(0, ours, bare).await).await;
    let (mut both, mut added) = (Rounds::default(), Rounds::default());
    for round in 0..bench.rounds {
        let (our, bare) = in_turn(round, ours, bare).await;
        both.push((our, bare));
        added.push((our - bare, BOUND));
    }
    let tasks = tasks(count);
    report.add(Row {
        measure: format!("processor time of lock and unlock over memory, {tasks}, beside bare"),
        unit: "µs",
        rounds: both,
        must: Must::Tell,
    });
    report.add(Row {
        measure: format!("our own processor time for lock and unlock, {tasks}, beside 10 µs"),
        unit: "µs",
        rounds: added,
        must: match count {
            1 => Must::AtMost(1.0),
            _ => Must::Tell,
        },
    });
    drop(mutexes);
    session.close().await.unwrap();
}

/// Processor time for each cycle of ours.
async fn ours(mutexes: &[Mutex]) -> f64 {
    let count = CYCLES / mutexes.len();
    let tasks = mutexes.iter().cloned().map(|mutex| async move {
        for _ in 0..count {
            mutex.lock().await.unwrap().unlock().await.unwrap();
        }
    });
    time_per_cycle(tasks).await
}

/// Processor time for each cycle of two bare transactions.
async fn bare(recorder: &Recorder, cycles: &[Arc<Cycle>]) -> f64 {
    let count = CYCLES / cycles.len();
    let tasks = cycles.iter().cloned().map(|cycle| {
        let transport = recorder.clone();
        async move {
            for _ in 0..count {
                cycle.run(&transport).await;
            }
        }
    });
    time_per_cycle(tasks).await
}

/// Processor time of this whole process, for each cycle: nothing else runs in it.
async fn time_per_cycle<F>(tasks: impl Iterator<Item = F>) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let before = own_processor();
    tasks.collect::<JoinSet<()>>().join_all().await;
    micros(own_processor() - before) / CYCLES as f64
}

/// Grants the lease that recorded cycles name.
async fn grant(transport: &impl Transport, lease: LeaseId) {
    let request = LeaseGrantRequest::new(Ttl::try_from(TTL).unwrap()).with_id(lease);
    let granted = transport.lease_grant(request, CallOptions::default()).await;
    granted.unwrap();
}
