//! Every async method is dropped at each of its await points: its work is undone, or done to its end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{keys, until_keys};
use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::{Client, ErrorKind, new};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{LockGuard, Mutex, Queue, Session, SessionOptions, lease, queue};
use etcd_lock_testkit::faults::{CallFault, FaultyTransport};
use futures_util::poll;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(10);

/// An etcd whose every answer takes a while, and a session on it.
#[derive(Clone)]
struct Stage {
    etcd: MemoryEtcd,
    client: Client,
    session: Session,
    mutex: Mutex,
}

impl Stage {
    async fn new() -> Self {
        let etcd = MemoryEtcd::new();
        let faulty = FaultyTransport::new(&etcd);
        faulty.on_calls(|_| Some(CallFault::Delayed(Duration::from_millis(1))));
        let client = Queue::new(faulty).into_client();
        let session = Session::open(&client, TTL).await.unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        Self {
            etcd,
            client,
            session,
            mutex,
        }
    }

    /// Somebody else holds the lock for a while.
    async fn held_by_another(&self, duration: Duration) {
        let session = Session::open(&self.client, TTL).await.unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        tokio::spawn(async move {
            sleep(duration).await;
            guard.unlock().await.unwrap();
            session.close().await.unwrap();
        });
    }

    /// Another task of the session waits for the lock, and releases it at once.
    fn wanted_by_another_task(&self) {
        let mutex = self.mutex.clone();
        tokio::spawn(async move { mutex.lock().await.unwrap().unlock().await });
    }

    /// The lock can be had, by the session and by others, and nothing stays behind.
    async fn check(self, what: &str, polls: usize) {
        let case = format!("{what}, dropped after {polls} polls");
        let mine = timeout(Duration::from_secs(120), self.mutex.lock()).await;
        match mine.unwrap_or_else(|_| panic!("the session's own lock hangs: {case}")) {
            Ok(guard) => guard.unlock().await.unwrap(),
            Err(error) => assert!(error.is_session_lost(), "{error:?}: {case}"),
        }
        let other = Session::open(&Client::new(self.etcd.clone()), TTL)
            .await
            .unwrap();
        let theirs = Mutex::new(&other, "a").unwrap();
        let theirs = timeout(Duration::from_secs(120), theirs.lock()).await;
        let guard = theirs.unwrap_or_else(|_| panic!("another's lock hangs: {case}"));
        guard.unwrap().unlock().await.unwrap();
        until_keys(&self.etcd, "a", 0).await;
        other.close().await.unwrap();
        let Self {
            etcd,
            client,
            session,
            mutex,
        } = self;
        drop(mutex);
        session.close().await.unwrap();
        // A lease whose grant nobody waited for, or whose keeper was dropped, ends by itself at the latest.
        sleep(2 * TTL).await;
        let leases = etcd_lock_core::lease::leases(&client).await.unwrap().leases;
        assert_eq!(leases, [], "{case}");
        assert!(keys(&etcd, "a").await.is_empty());
    }
}

/// Runs a scene again and again, cut after one poll more each time, until it comes to its end.
async fn cut_everywhere(what: &str, scene: impl AsyncFn(&Stage)) {
    for polls in 0..800 {
        let stage = Stage::new().await;
        let mut finished = false;
        {
            let mut scene = Box::pin(scene(&stage));
            for _ in 0..polls {
                finished = poll!(&mut scene).is_ready();
                if finished {
                    break;
                }
                sleep(Duration::from_micros(300)).await;
            }
        }
        stage.check(what, polls).await;
        if finished {
            assert!(polls > 1, "{what} has no await point");
            return;
        }
    }
    panic!("{what} never ended");
}

async fn held(stage: &Stage) -> LockGuard {
    stage.mutex.lock().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn lock() {
    cut_everywhere("lock", async |stage| drop(held(stage).await)).await;
    cut_everywhere("lock that waits", async |stage| {
        stage.held_by_another(Duration::from_millis(7)).await;
        drop(held(stage).await);
    })
    .await;
    cut_everywhere("lock that waits for a task", async |stage| {
        let guard = held(stage).await;
        tokio::spawn(async move {
            sleep(Duration::from_millis(2)).await;
            guard.unlock().await
        });
        held(stage).await.unlock().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lock_timeout_and_try_lock() {
    cut_everywhere("lock_timeout", async |stage| {
        stage.held_by_another(Duration::from_millis(20)).await;
        let late = stage.mutex.lock_timeout(Duration::from_millis(8)).await;
        assert!(late.unwrap_err().is_timeout());
    })
    .await;
    cut_everywhere("try_lock", async |stage| {
        drop(stage.mutex.try_lock().await.unwrap());
    })
    .await;
    cut_everywhere("try_lock of a held lock", async |stage| {
        stage.held_by_another(Duration::from_millis(20)).await;
        stage.mutex.try_lock().await.unwrap_err();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn unlock() {
    cut_everywhere("unlock", async |stage| {
        held(stage).await.unlock().await.unwrap()
    })
    .await;
    cut_everywhere("unlock that hands on", async |stage| {
        let guard = held(stage).await;
        stage.wanted_by_another_task();
        sleep(Duration::from_millis(1)).await;
        guard.unlock().await.unwrap();
    })
    .await;
    cut_everywhere("unlock at the limit", async |stage| {
        let options = SessionOptions::new().with_handover_limit(1);
        let session = options.open(&stage.client).await.unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        let guard = mutex.lock().await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let mutex = mutex.clone();
            tasks.spawn(async move { mutex.lock().await.unwrap().unlock().await });
        }
        sleep(Duration::from_millis(1)).await;
        guard.unlock().await.unwrap();
        tasks.join_all().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_guards_other_methods() {
    cut_everywhere("fenced_txn", async |stage| {
        let guard = held(stage).await;
        let write = PutRequest::new("b", "c");
        guard.fenced_txn().and_then(write).commit().await.unwrap();
    })
    .await;
    cut_everywhere("run", async |stage| {
        let work = sleep(Duration::from_millis(3));
        held(stage).await.run(work).await.unwrap();
    })
    .await;
    cut_everywhere("lost", async |stage| {
        let guard = held(stage).await;
        let mortal = stage.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(3)).await;
            mortal.etcd.expire_lease(mortal.session.lease());
        });
        // The deletion of the key may be noticed before the end of the lease.
        let why = guard.lost().await;
        assert!(why.is_session_lost() || why.kind() == ErrorKind::Lost);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sessions() {
    cut_everywhere("open and close", async |stage| {
        let session = Session::open(&stage.client, TTL).await.unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        session.close().await.unwrap();
        drop(guard);
    })
    .await;
    cut_everywhere("adopt", async |stage| {
        let granted = etcd_lock_core::lease::grant(&stage.client, TTL)
            .await
            .unwrap()
            .id;
        let kept = lease::keep_alive(&stage.client, granted).await.unwrap();
        kept.close().await.unwrap();
        lease::keep_alive_once(&stage.client, granted)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn functions() {
    cut_everywhere("Context::lock and unlock", async |stage| {
        let granted = etcd_lock_core::lease::grant(&stage.client, TTL)
            .await
            .unwrap()
            .id;
        let ctx = new(&stage.client).with_name("a").with_lease(granted);
        let held = ctx.lock().await.unwrap();
        etcd_lock_core::unlock(&stage.client, held.key.as_bytes().clone())
            .await
            .unwrap();
    })
    .await;
    cut_everywhere("queue", async |stage| {
        drop(queue(&stage.client, "a").await.unwrap());
    })
    .await;
}

/// Ten thousand waits are dropped, each at a moment of its own: the queue is empty at once, give or take an answer.
#[tokio::test(start_paused = true)]
async fn ten_thousand_waits() {
    let stage = Stage::new().await;
    let holder = Session::open(&stage.client, TTL).await.unwrap();
    let guard = Mutex::new(&holder, "a").unwrap().lock().await.unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut waits = JoinSet::new();
    for _ in 0..10_000 {
        let lease = common::grant(&stage.etcd, 60).await;
        let ctx = new(&stage.client).with_name("a").with_lease(lease);
        let moment = Duration::from_micros(random.u64(0..8_000));
        waits.spawn(async move { timeout(moment, ctx.lock()).await.is_err() });
    }
    assert!(waits.join_all().await.iter().all(|dropped| *dropped));
    sleep(Duration::from_millis(5)).await;
    assert_eq!(
        keys(&stage.etcd, "a").await,
        [guard.key().as_bytes().clone()]
    );
    guard.unlock().await.unwrap();
    assert!(keys(&stage.etcd, "a").await.is_empty());
}
