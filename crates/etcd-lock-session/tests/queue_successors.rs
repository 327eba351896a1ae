//! Long queues of separate clients: who releases the lock tells who comes next.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use common::{INFINITE, client, keys, request, unlock, until_keys};
use etcd_lock_core::{LockKey, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Owner, Queue, SessionOptions};
use etcd_lock_testkit::faults::{CallKind, FaultyTransport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const MANY: usize = 40;

/// What happens to one lock, which contenders with a client each release as soon as they hold it.
struct Contest {
    etcd: MemoryEtcd,
    /// How often one of them has read the queue, or its entry.
    reads: Arc<AtomicUsize>,
    granted: mpsc::UnboundedSender<Bytes>,
    grants: mpsc::UnboundedReceiver<Bytes>,
}

impl Contest {
    fn new() -> Self {
        let (granted, grants) = mpsc::unbounded_channel();
        Self {
            etcd: MemoryEtcd::new(),
            reads: Arc::default(),
            granted,
            grants,
        }
    }

    /// Contenders that have had the lock before, so that the watches of their keys are known to be up to date.
    async fn contenders(&self, options: SessionOptions) -> Vec<Mutex> {
        let mut contenders = Vec::new();
        for _ in 0..MANY {
            let faulty = FaultyTransport::new(&self.etcd);
            let reads = self.reads.clone();
            faulty.on_calls(move |call| {
                reads.fetch_add(usize::from(call == CallKind::TxnRead), SeqCst);
                None
            });
            let options = options.clone().with_ttl(Duration::from_secs(600));
            let session = options.open(&client(Queue::new(faulty))).await.unwrap();
            let mutex = Mutex::new(&session, "a").unwrap();
            let guard = mutex.lock().await.unwrap();
            sleep(Duration::from_millis(100)).await;
            guard.unlock().await.unwrap();
            contenders.push(mutex);
        }
        contenders
    }

    /// Somebody takes the lock and does nothing.
    async fn hold(&self) {
        let asked = request(&self.etcd, "a").await;
        self.etcd.lock(asked, INFINITE).await.unwrap();
    }

    /// Puts a contender into the queue.
    async fn enter(&self, mutex: &Mutex) -> JoinHandle<()> {
        let (mutex, granted) = (mutex.clone(), self.granted.clone());
        self.stand(async move {
            let guard = mutex.lock().await.unwrap();
            granted.send(guard.key().as_bytes().clone()).unwrap();
            guard.unlock().await.unwrap();
        })
        .await
    }

    /// Puts somebody into the queue who waits by etcd's `Lock`.
    async fn enter_by_rpc(&self) -> JoinHandle<()> {
        let (etcd, granted) = (self.etcd.clone(), self.granted.clone());
        let asked = request(&etcd, "a").await;
        self.stand(async move {
            let lock = etcd.lock(asked, INFINITE).await.unwrap();
            granted.send(lock.key.as_bytes().clone()).unwrap();
            unlock(&etcd, lock.key).await;
        })
        .await
    }

    async fn stand(&self, wait: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let before = keys(&self.etcd, "a").await.len();
        let wait = tokio::spawn(wait);
        until_keys(&self.etcd, "a", before + 1).await;
        sleep(Duration::from_millis(100)).await;
        wait
    }

    /// Ends the first hold, and sees all others have the lock in their order. How often somebody read for that.
    async fn run(&mut self) -> usize {
        let order = keys(&self.etcd, "a").await;
        let before = self.reads.load(SeqCst);
        unlock(&self.etcd, LockKey::new(order[0].clone()).unwrap()).await;
        for key in &order[1..] {
            assert_eq!(self.grants.recv().await.as_ref(), Some(key));
        }
        until_keys(&self.etcd, "a", 0).await;
        self.reads.load(SeqCst) - before
    }
}

#[tokio::test(start_paused = true)]
async fn one_read_serves_many_hand_overs() {
    let mut contest = Contest::new();
    let contenders = contest.contenders(SessionOptions::new()).await;
    contest.hold().await;
    for mutex in &contenders {
        contest.enter(mutex).await;
    }
    let reads = contest.run().await;
    assert!(reads < MANY / 4, "{reads} reads");
}

/// What somebody has written into an entry is left as it is, so that each of them has to read for itself.
#[tokio::test(start_paused = true)]
async fn entries_with_a_value_are_not_written_to() {
    let mut contest = Contest::new();
    let options = SessionOptions::new().with_owner(Owner::current());
    let contenders = contest.contenders(options).await;
    contest.hold().await;
    for mutex in &contenders {
        contest.enter(mutex).await;
    }
    let reads = contest.run().await;
    assert!(reads > MANY * 3 / 4, "{reads} reads");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_or_knows_nothing_of_it_breaks_nothing() {
    let mut contest = Contest::new();
    let contenders = contest.contenders(SessionOptions::new()).await;
    contest.hold().await;
    let mut waits = Vec::new();
    for (number, mutex) in contenders.iter().enumerate() {
        if number % 10 == 7 {
            contest.enter_by_rpc().await;
        }
        waits.push(contest.enter(mutex).await);
    }
    let entries = keys(&contest.etcd, "a").await.len();
    for gone in [3, 11, 12, 30] {
        waits[gone].abort();
    }
    until_keys(&contest.etcd, "a", entries - 4).await;
    contest.run().await;
}

/// Who is told that it is its turn as it gives up passes it on by going.
#[tokio::test(start_paused = true)]
async fn a_turn_that_nobody_wants_goes_to_the_next() {
    let mut contest = Contest::new();
    let contenders = contest.contenders(SessionOptions::new()).await;
    contest.hold().await;
    let mut waits = Vec::new();
    for mutex in &contenders {
        waits.push(contest.enter(mutex).await);
    }
    let order = keys(&contest.etcd, "a").await;
    unlock(&contest.etcd, LockKey::new(order[0].clone()).unwrap()).await;
    while let Some(next) = waits.iter().find(|wait| !wait.is_finished()) {
        let _ = contest.grants.recv().await;
        next.abort();
        sleep(Duration::from_millis(1)).await;
    }
    until_keys(&contest.etcd, "a", 0).await;
}
