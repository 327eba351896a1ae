//! Contenders that take one lock from each other, over and over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_core::Client;
use etcd_lock_grpc::{GrpcTransport, Options};
use etcd_lock_session::{Mutex, Queue, Session};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bare::Bare;
use crate::usage;

const TTL: Duration = Duration::from_secs(60);

/// What the contenders have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Share {
    /// Nothing: each has a client of its own.
    Nothing,
    /// One client, and each has a session of its own.
    Client,
}

/// How a race went.
pub(crate) struct Outcome {
    /// Grants a second.
    pub(crate) rate: f64,
    /// Processor time of etcd for one grant, in microseconds.
    pub(crate) processor: f64,
}

/// The etcd that the race is about.
#[derive(Clone)]
pub(crate) struct Ring {
    pub(crate) endpoint: String,
    pub(crate) pid: u32,
}

/// A count that grows with every grant, and a sign to stop.
#[derive(Clone, Default)]
struct Race {
    grants: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Race {
    fn granted(&self) {
        self.grants.fetch_add(1, Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Counts for a while, once all contenders are in the race.
    async fn count(&self, pid: u32, window: Duration) -> Outcome {
        sleep(Duration::from_millis(500)).await;
        let (begun, before, used) = (
            Instant::now(),
            self.grants.load(Relaxed),
            usage::processor(pid),
        );
        sleep(window).await;
        let grants = (self.grants.load(Relaxed) - before) as f64;
        let outcome = Outcome {
            rate: grants / begun.elapsed().as_secs_f64(),
            processor: (usage::processor(pid) - used).as_secs_f64() * 1e6 / grants,
        };
        self.over.store(true, Relaxed);
        outcome
    }
}

/// A client with connections of its own.
pub(crate) fn connect(endpoint: &str) -> Client {
    let transport = GrpcTransport::connect([endpoint], Options::new()).unwrap();
    Client::new(Queue::new(transport))
}

/// Hand-overs a second between our mutexes.
pub(crate) async fn ours(
    ring: &Ring,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let endpoint = ring.endpoint.as_str();
    let name = fresh_name();
    let shared = connect(endpoint);
    let mut sessions = Vec::new();
    for _ in 0..contenders {
        let client = match share {
            Share::Nothing => connect(endpoint),
            Share::Client => shared.clone(),
        };
        sessions.push(Session::open(&client, TTL).await.unwrap());
    }
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for session in sessions {
        let (race, mutex) = (race.clone(), Mutex::new(&session, name.clone()).unwrap());
        tasks.spawn(async move {
            while !race.is_over() {
                let guard = mutex.lock().await.unwrap();
                race.granted();
                guard.unlock().await.unwrap();
            }
            drop(mutex);
            session.close().await.unwrap();
        });
    }
    let outcome = race.count(ring.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs a second by etcd's own `Lock` RPC.
pub(crate) async fn v3lock(
    ring: &Ring,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let name = fresh_name();
    let shared = Bare::connect(&ring.endpoint).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let client = match share {
            Share::Nothing => Bare::connect(&ring.endpoint).await,
            Share::Client => shared.another().await,
        };
        let (race, name) = (race.clone(), name.clone());
        tasks.spawn(async move {
            while !race.is_over() {
                let key = client.lock(&name).await;
                race.granted();
                client.unlock(key).await;
            }
            client.close().await;
        });
    }
    let outcome = race.count(ring.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs a second between the tasks of one session.
pub(crate) async fn one_session(ring: &Ring, contenders: usize, window: Duration) -> Outcome {
    let session = Session::open(&connect(&ring.endpoint), TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (race, mutex) = (race.clone(), mutex.clone());
        tasks.spawn(async move {
            while !race.is_over() {
                let guard = mutex.lock().await.unwrap();
                race.granted();
                guard.unlock().await.unwrap();
            }
        });
    }
    let outcome = race.count(ring.pid, window).await;
    tasks.join_all().await;
    session.close().await.unwrap();
    outcome
}

/// Hand-overs a second of tokio's mutex, which knows nothing of etcd.
pub(crate) async fn tokio_mutex(ring: &Ring, contenders: usize, window: Duration) -> Outcome {
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (race, mutex) = (race.clone(), mutex.clone());
        tasks.spawn(async move {
            while !race.is_over() {
                let guard = mutex.lock().await;
                race.granted();
                drop(guard);
            }
        });
    }
    let outcome = race.count(ring.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// A lock that nothing else uses.
pub(crate) fn fresh_name() -> String {
    format!("bench-{:016x}", fastrand::u64(..))
}
