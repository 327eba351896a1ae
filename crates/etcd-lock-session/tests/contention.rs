//! A lock that somebody else has, and an etcd that does not answer, are told apart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{lock, request, seconds};
use etcd_lock_core::{Error, ErrorKind, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};

/// Longer than any of the waits here.
const TTL: Duration = Duration::from_secs(120);

#[tokio::test(start_paused = true)]
async fn wait_that_ends_while_etcd_answers_is_contention() {
    let stage = Stage::new().await;
    let _held = lock(&stage.etcd, "a").await;
    for bound in [1, 20] {
        for error in stage.waits(bound).await {
            assert_eq!(error.kind(), ErrorKind::LockTimeout, "{error:?}");
            assert!(error.is_busy() && error.is_timeout(), "{error:?}");
            assert!(!error.is_outcome_unknown(), "{error:?}");
        }
    }
}

/// Another task of the session has the lock: no request would be needed to get it.
#[tokio::test(start_paused = true)]
async fn wait_behind_a_task_of_the_same_session_is_contention() {
    let stage = Stage::new().await;
    let _guard = stage.mutex.lock().await.unwrap();
    let error = stage.mutex.lock_timeout(Duration::from_secs(1)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::LockTimeout);
}

#[tokio::test(start_paused = true)]
async fn wait_without_any_answer_is_a_timeout_of_unknown_outcome() {
    let stage = Stage::new().await;
    stage.faulty.on_calls(|_| Some(CallFault::Slow(TTL)));
    for error in stage.waits(1).await {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.is_outcome_unknown() && !error.is_busy(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_for_an_etcd_that_cannot_be_reached_says_so() {
    let stage = Stage::new().await;
    stage.faulty.on_calls(|_| Some(CallFault::Refused));
    for error in stage.waits(1).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(!error.is_busy(), "{error:?}");
    }
}

/// The entry was made while etcd answered. What it has become since, nobody knows.
#[tokio::test(start_paused = true)]
async fn wait_whose_entry_is_not_confirmed_any_more_is_a_timeout() {
    let stage = Stage::new().await;
    let _held = lock(&stage.etcd, "a").await;
    let outage = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stage.faulty.on_calls(|call| match call {
            CallKind::KeepAlive => None,
            _ => Some(CallFault::Refused),
        });
    };
    let (errors, ()) = tokio::join!(stage.waits(20), outage);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(!error.is_busy(), "{error:?}");
    }
}

/// One that does not wait learns nothing of the lock either.
#[tokio::test(start_paused = true)]
async fn try_lock_without_an_answer_is_not_busy() {
    let stage = Stage::new().await;
    let asked = request(&stage.etcd, "a").await;
    stage.faulty.on_calls(|_| Some(CallFault::Slow(TTL)));
    let error = stage.queue.try_lock(asked, seconds(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.is_outcome_unknown(), "{error:?}");
}

/// A client whose connection can be disturbed.
struct Stage {
    etcd: MemoryEtcd,
    faulty: FaultyTransport,
    queue: Queue,
    mutex: Mutex,
}

impl Stage {
    async fn new() -> Self {
        let etcd = MemoryEtcd::new();
        let faulty = FaultyTransport::new(&etcd);
        let queue = Queue::new(faulty.clone());
        let client = queue.clone().into_client();
        let session = Session::open(&client, TTL).await.unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        Self {
            etcd,
            faulty,
            queue,
            mutex,
        }
    }

    /// How a wait of a session ends, and one with a lease alone.
    async fn waits(&self, secs: u64) -> [Error; 2] {
        let asked = request(&self.etcd, "a").await;
        let bound = Duration::from_secs(secs);
        let (guarded, bare) = tokio::join!(
            self.mutex.lock_timeout(bound),
            self.queue.lock(asked, seconds(secs)),
        );
        // Nothing of them is left for the next.
        tokio::time::sleep(Duration::from_secs(1)).await;
        [guarded.unwrap_err(), bare.unwrap_err()]
    }
}
