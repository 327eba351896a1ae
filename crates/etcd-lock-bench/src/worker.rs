//! One contender in a process of its own, and what its parent tells it by lines on standard input: [`GO`] to begin, [`COUNT`]
//! to answer how often it was granted the lock, and the end of the input to stop.

use std::io::{Lines, StdinLock, stdin};

use clap::Subcommand;
use etcd_lock_session::{Mutex, Session};
use tokio::task::JoinHandle;

use crate::bare::Bare;
use crate::client::{TTL, connect};
use crate::cycles;
use crate::race::Race;
use crate::ring;

/// The line that a worker prints once it can begin.
pub(crate) const READY: &str = "ready";
pub(crate) const GO: &str = "go";
pub(crate) const COUNT: &str = "count";

/// A contender that the bench starts as a process of its own.
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
    follow_orders(&race, || {
        tokio::spawn(async move {
            while !part.is_over() {
                let guard = mutex.lock().await.unwrap();
                part.granted();
                guard.unlock().await.unwrap();
            }
        })
    })
    .await
    .unwrap();
    session.close().await.unwrap();
}

fn baseline(mut contender: ring::Contender) {
    let race = Race::default();
    let mut part = race.part();
    let contending = follow_orders(&race, || {
        tokio::spawn(async move {
            while !part.is_over() {
                let created = contender.lock().await;
                part.granted();
                contender.unlock(created).await;
            }
        })
    });
    // A contender whose predecessor stopped first would wait for ever.
    contending.abort();
}

/// Does what the parent says. The main task has nothing else to do, so that it may block.
fn follow_orders(race: &Race, contend: impl FnOnce() -> JoinHandle<()>) -> JoinHandle<()> {
    let mut orders = stdin().lines();
    println!("{READY}");
    assert_eq!(next(&mut orders).as_deref(), Some(GO));
    let contending = contend();
    while let Some(order) = next(&mut orders) {
        assert_eq!(order, COUNT);
        println!("{}", race.grants());
    }
    race.stop();
    contending
}

fn next(orders: &mut Lines<StdinLock<'static>>) -> Option<String> {
    orders.next().map(Result::unwrap)
}
