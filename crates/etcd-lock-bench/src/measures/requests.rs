//! How many requests a cycle costs: one to enter the queue, one to leave it, and no third.

use std::time::Duration;

use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Bench, uncontended};
use crate::client::{TTL, fresh_name, over};
use crate::recorder::{Answers, Recorder};
use crate::report::{Must, Report, Row};
use crate::rounds::Rounds;

const TASKS: u64 = 64;
const CYCLES: u64 = 16;

/// Each round has a session of its own: the first heartbeat of a session is seconds after its cycles are done.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    for (what, work) in [
        ("lock and unlock", None),
        ("lock, 5 ms of work and unlock", Some(uncontended::WORK)),
    ] {
        let mut rounds = Rounds::default();
        for _ in 0..bench.rounds {
            let requests = requests(work).await as f64;
            rounds.push((requests / (TASKS * CYCLES) as f64, 2.0));
        }
        report.add(Row {
            measure: format!("requests for {what}, beside two"),
            unit: "requests",
            rounds,
            must: Must::AtMost(1.0),
        });
    }
}

async fn requests(work: Option<Duration>) -> u64 {
    let recorder = Recorder::counting(Answers::Later);
    let session = Session::open(&over(recorder.clone()), TTL).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let mutex = Mutex::new(&session, fresh_name()).unwrap();
        tasks.spawn(async move {
            for _ in 0..CYCLES {
                let guard = mutex.lock().await.unwrap();
                if let Some(work) = work {
                    guard.run(sleep(work)).await.unwrap();
                }
                guard.unlock().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let requests = recorder.requests();
    session.close().await.unwrap();
    requests
}
