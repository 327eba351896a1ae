//! Contenders that take one lock from each other, over and over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use etcd_lock_core::Client;
use etcd_lock_grpc::{GrpcTransport, Options};
use etcd_lock_session::{Mutex, Queue, Session};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bare::Bare;
use crate::ring::Ring;
use crate::usage;

const TTL: Duration = Duration::from_secs(60);

/// How long it may take until everybody was granted the lock once.
const WARM_UP: Duration = Duration::from_secs(60);

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

/// The etcd that a race is about.
#[derive(Clone)]
pub(crate) struct Etcd {
    pub(crate) endpoint: String,
    pub(crate) pid: u32,
}

/// A count that grows with every grant, and a sign to stop.
#[derive(Clone, Default)]
struct Race {
    grants: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    /// How many contenders were granted the lock at least once.
    warm: Arc<AtomicUsize>,
}

/// One contender's part in a race.
struct Part {
    race: Race,
    is_warm: bool,
}

impl Part {
    fn granted(&mut self) {
        self.race.grants.fetch_add(1, Relaxed);
        if !self.is_warm {
            self.is_warm = true;
            self.race.warm.fetch_add(1, Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        self.race.over.load(Relaxed)
    }
}

impl Race {
    fn part(&self) -> Part {
        Part {
            race: self.clone(),
            is_warm: false,
        }
    }

    /// Counts for a while, once all contenders have been granted the lock: then they all are in its queue.
    async fn count(&self, contenders: usize, pid: u32, window: Duration) -> Outcome {
        let warm = async {
            while self.warm.load(Relaxed) < contenders {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(WARM_UP, warm)
            .await
            .expect("not all contenders were granted the lock");
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
    Queue::new(transport).into_client()
}

/// Hand-overs a second between our mutexes.
pub(crate) async fn ours(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let endpoint = etcd.endpoint.as_str();
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
        let (mut part, mutex) = (race.part(), Mutex::new(&session, name.clone()).unwrap());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
            drop(mutex);
            session.close().await.unwrap();
        });
    }
    let outcome = race.count(contenders, etcd.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs a second by etcd's own `Lock` RPC.
pub(crate) async fn v3lock(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let name = fresh_name();
    let shared = Bare::connect(&etcd.endpoint).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let client = match share {
            Share::Nothing => Bare::connect(&etcd.endpoint).await,
            Share::Client => shared.another().await,
        };
        let (mut part, name) = (race.part(), name.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let key = client.lock(&name).await;
                part.granted();
                client.unlock(key).await;
            }
            client.close().await;
        });
    }
    let outcome = race.count(contenders, etcd.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// Hand-overs a second between bare stubs that know who is before them.
pub(crate) async fn bare_ring(
    etcd: &Etcd,
    contenders: usize,
    share: Share,
    window: Duration,
) -> Outcome {
    let ring = Ring::connect(&etcd.endpoint, contenders, share, &fresh_name()).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for mut contender in ring.into_contenders() {
        let mut part = race.part();
        tasks.spawn(async move {
            // The next waits for this one's deletion until all have seen that the race is over.
            while !part.is_over() {
                let created = contender.lock().await;
                part.granted();
                contender.unlock(created).await;
            }
            contender.close().await;
        });
    }
    let outcome = race.count(contenders, etcd.pid, window).await;
    tasks.abort_all();
    outcome
}

/// Cycles a second on as many locks as there are tasks, by one session.
pub(crate) async fn distinct(etcd: &Etcd, locks: usize, window: Duration) -> Outcome {
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
    let outcome = race.count(locks, etcd.pid, window).await;
    tasks.join_all().await;
    session.close().await.unwrap();
    outcome
}

/// The same two transactions by bare stubs on one connection.
pub(crate) async fn distinct_bare(etcd: &Etcd, locks: usize, window: Duration) -> Outcome {
    let bare = Bare::connect(&etcd.endpoint).await;
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..locks {
        let (mut part, bare, name) = (race.part(), bare.clone(), fresh_name());
        tasks.spawn(async move {
            while !part.is_over() {
                bare.cycle(&name).await;
                part.granted();
            }
        });
    }
    let outcome = race.count(locks, etcd.pid, window).await;
    tasks.join_all().await;
    bare.close().await;
    outcome
}

/// Hand-overs a second between the tasks of one session.
pub(crate) async fn one_session(etcd: &Etcd, contenders: usize, window: Duration) -> Outcome {
    let session = Session::open(&connect(&etcd.endpoint), TTL).await.unwrap();
    let mutex = Mutex::new(&session, fresh_name()).unwrap();
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (mut part, mutex) = (race.part(), mutex.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
        });
    }
    let outcome = race.count(contenders, etcd.pid, window).await;
    tasks.join_all().await;
    session.close().await.unwrap();
    outcome
}

/// Hand-overs a second of tokio's mutex, which knows nothing of etcd.
pub(crate) async fn tokio_mutex(etcd: &Etcd, contenders: usize, window: Duration) -> Outcome {
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    let race = Race::default();
    let mut tasks = JoinSet::new();
    for _ in 0..contenders {
        let (mut part, mutex) = (race.part(), mutex.clone());
        tasks.spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await;
                part.granted();
                drop(guard);
            }
        });
    }
    let outcome = race.count(contenders, etcd.pid, window).await;
    tasks.join_all().await;
    outcome
}

/// A lock that nothing else uses.
pub(crate) fn fresh_name() -> String {
    format!("bench-{:016x}", fastrand::u64(..))
}
