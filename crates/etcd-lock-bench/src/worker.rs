//! Programs that the bench starts, and what one of them is told by lines on standard input: [`GO`] to begin, [`COUNT`] to
//! answer with a number, such as how often it was granted the lock, and the end of the input to stop.

use std::io::{Lines, StdinLock, stdin};

use clap::Subcommand;
use etcd_lock_session::{Mutex, Session};

use crate::bare::Bare;
use crate::client::{TTL, connect};
use crate::cycles;
use crate::race::Race;
use crate::ring;
use crate::sessions;

/// The line that a worker prints once it can begin.
pub(crate) const READY: &str = "ready";
pub(crate) const GO: &str = "go";
pub(crate) const COUNT: &str = "count";

/// What the bench starts as a process of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Takes a lock by our mutex.
    #[command(hide = true)]
    Ours { endpoint: String, name: String },
    /// Takes locks of its own, and prints what it did.
    #[command(hide = true)]
    Distinct {
        endpoint: String,
        tasks: usize,
        seconds: u64,
    },
    /// The same by bare stubs.
    #[command(hide = true)]
    DistinctBare {
        endpoint: String,
        tasks: usize,
        seconds: u64,
    },
    /// The same by etcd's `Lock` and `Unlock`.
    #[command(hide = true)]
    DistinctV3lock {
        endpoint: String,
        tasks: usize,
        seconds: u64,
    },
    /// Keeps sessions alive.
    #[command(hide = true)]
    Sessions { endpoint: String },
    /// Keeps as many leases alive by bare stubs.
    #[command(hide = true)]
    SessionsBare { endpoint: String },
    /// Takes a lock by bare stubs that know their predecessor.
    #[command(hide = true)]
    Baseline {
        endpoint: String,
        name: String,
        /// Its own lease.
        lease: i64,
        /// The predecessor's lease.
        predecessor: i64,
        /// How many deletions of the predecessor's entry to wait for in the first turn.
        awaited: u64,
    },
}

impl Worker {
    pub(crate) async fn run(self) {
        match self {
            Self::Ours { endpoint, name } => ours(&endpoint, name).await,
            Self::Distinct {
                endpoint,
                tasks,
                seconds,
            } => cycles::ours(&endpoint, tasks, seconds).await,
            Self::DistinctBare {
                endpoint,
                tasks,
                seconds,
            } => cycles::bare(&endpoint, tasks, seconds).await,
            Self::DistinctV3lock {
                endpoint,
                tasks,
                seconds,
            } => cycles::v3lock(&endpoint, tasks, seconds).await,
            Self::Sessions { endpoint } => sessions::ours(&endpoint).await,
            Self::SessionsBare { endpoint } => sessions::bare(&endpoint).await,
            Self::Baseline {
                endpoint,
                name,
                lease,
                predecessor,
                awaited,
            } => {
                let bare = Bare::adopt(&endpoint, lease).await;
                let predecessor = ring::entry(&name, predecessor);
                let contender = ring::Contender::join(bare, &name, predecessor, awaited).await;
                baseline(contender);
            }
        }
    }
}

async fn ours(endpoint: &str, name: String) {
    let session = Session::open(&connect(endpoint), TTL).await.unwrap();
    let mutex = Mutex::new(&session, name).unwrap();
    let race = Race::default();
    let mut part = race.part();
    let contend = async move {
        while !part.is_over() {
            let guard = mutex.lock().await.unwrap();
            part.granted();
            guard.unlock().await.unwrap();
        }
    };
    let contending = follow_orders(|| tokio::spawn(contend), || race.grants());
    race.stop();
    contending.await.unwrap();
    session.close().await.unwrap();
}

fn baseline(mut contender: ring::Contender) {
    let race = Race::default();
    let mut part = race.part();
    let contend = async move {
        while !part.is_over() {
            let created = contender.lock().await;
            part.granted();
            contender.unlock(created).await;
        }
    };
    let contending = follow_orders(|| tokio::spawn(contend), || race.grants());
    // A contender whose predecessor stopped first would wait for ever.
    contending.abort();
}

/// Does what the parent says, and counts what it asks for. The main task has nothing else to do, so that it may block.
pub(crate) fn follow_orders<T>(begin: impl FnOnce() -> T, count: impl Fn() -> u64) -> T {
    let mut orders = stdin().lines();
    println!("{READY}");
    assert_eq!(next(&mut orders).as_deref(), Some(GO));
    let begun = begin();
    while let Some(order) = next(&mut orders) {
        assert_eq!(order, COUNT);
        println!("{}", count());
    }
    begun
}

fn next(orders: &mut Lines<StdinLock<'static>>) -> Option<String> {
    orders.next().map(Result::unwrap)
}
