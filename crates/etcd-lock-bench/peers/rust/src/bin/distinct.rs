//! Cycles on locks that nobody else wants, by Rust's `etcd-client`: `distinct ENDPOINTS TASKS SECONDS`.
//!
//! All tasks share a client and a lease, and each has a lock of its own. After half a second of warm-up it prints what it did
//! in so many seconds: cycles, how long that was, the time of the median cycle and of the 99th percentile, and the processor
//! time of this process, all in microseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use etcd_client::{Client, LockOptions};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::sleep;

const WARM_UP: Duration = Duration::from_millis(500);

/// In seconds. Longer than the program runs, so that nothing has to be renewed.
const TTL: i64 = 600;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [endpoints, tasks, seconds] = &arguments[..] else {
        return Err("ENDPOINTS TASKS SECONDS".into());
    };
    let endpoints: Vec<_> = endpoints.split(',').collect();
    let mut client = Client::connect(endpoints, None).await?;
    let lease = client.lease_grant(TTL, None).await?.id();
    let phase = Phase::default();
    let mut set = JoinSet::new();
    for task in 0..tasks.parse()? {
        let name = format!("bench-{lease:x}-{task}");
        set.spawn(run(client.clone(), name, lease, phase.clone()));
    }
    sleep(WARM_UP).await;
    let (before, begun) = (processor()?, Instant::now());
    phase.store(1, Relaxed);
    sleep(Duration::from_secs(seconds.parse()?)).await;
    phase.store(2, Relaxed);
    let (took, used) = (begun.elapsed(), processor()? - before);
    let mut times = Vec::new();
    while let Some(taken) = set.join_next().await {
        times.extend(taken??);
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    let (took, used) = (took.as_micros(), used.as_micros());
    println!("{} {took} {} {} {used}", times.len(), at(0.5), at(0.99));
    client.lease_revoke(lease).await?;
    Ok(())
}

/// 0 while tasks warm up, 1 while their cycles count, 2 once it is over.
type Phase = Arc<AtomicU8>;

/// Returns how long each cycle took that counts.
async fn run(mut client: Client, name: String, lease: i64, phase: Phase) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let begun = Instant::now();
        let options = LockOptions::new().with_lease(lease);
        let held = client.lock(name.as_str(), Some(options)).await?;
        client.unlock(held.key()).await?;
        match phase.load(Relaxed) {
            1 => times.push(begun.elapsed()),
            2 => return Ok(times),
            _ => {}
        }
    }
}

/// Processor time that this process has used so far.
fn processor() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}
