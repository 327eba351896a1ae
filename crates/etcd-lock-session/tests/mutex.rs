//! Locks between tasks: of one session, and of several.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{INFINITE, client, keys, until_keys};
use etcd_lock_core::{Client, ErrorKind, FencingToken, Transport};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session, SessionOptions};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};
use tokio::task::JoinSet;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn two_tasks_one_session_exclude_each_other() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (session, inside) = (session.clone(), inside.clone());
        tasks.spawn(async move {
            let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two tasks hold the lock");
            tokio::time::sleep(Duration::from_millis(1)).await;
            inside.fetch_sub(1, SeqCst);
            guard.unlock().await.unwrap();
        });
    }
    tasks.join_all().await;
    assert!(keys(&etcd, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn tokens_grow_across_local_handover() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    faulty.on_calls(|_| Some(CallFault::Delayed(Duration::from_millis(1))));
    let client = client(Queue::new(faulty));
    let tokens = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let options = SessionOptions::new().with_handover_limit(3);
        let session = options.open(&client).await.unwrap();
        for _ in 0..4 {
            let (mutex, tokens) = (Mutex::new(&session, "a").unwrap(), tokens.clone());
            tasks.spawn(async move {
                for _ in 0..10 {
                    let guard = mutex.lock().await.unwrap();
                    tokens.lock().unwrap().push(guard.token());
                    tokio::task::yield_now().await;
                    guard.unlock().await.unwrap();
                }
            });
        }
    }
    tasks.join_all().await;
    let tokens = tokens.lock().unwrap();
    assert_eq!(tokens.len(), 160);
    assert!(
        tokens.is_sorted_by(|earlier, later| earlier < later),
        "{tokens:?}"
    );
    let handed_on = tokens
        .iter()
        .map(|token: &FencingToken| token.handover())
        .max();
    // A session that comes just after the first has looked whether it is alone waits for two limits.
    assert!(matches!(handed_on, Some(3..=6)), "{handed_on:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_nobody_else_wants_stays_in_the_process() {
    let etcd = MemoryEtcd::new();
    let options = SessionOptions::new().with_handover_limit(3);
    let session = options.open(&Client::new(etcd.clone())).await.unwrap();
    let tokens = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (mutex, tokens) = (Mutex::new(&session, "a").unwrap(), tokens.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let guard = mutex.lock().await.unwrap();
                tokens.lock().unwrap().push(guard.token());
                tokio::task::yield_now().await;
                guard.unlock().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let tokens = std::mem::take(&mut *tokens.lock().unwrap());
    assert!(
        tokens.iter().any(|token| token.handover() > 3),
        "{tokens:?}"
    );
    assert!(tokens.is_sorted_by(|earlier, later| earlier < later));
    assert!(keys(&etcd, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_lock_updates_are_lost() {
    let lost = |locked: bool| async move {
        let etcd = MemoryEtcd::new();
        let value = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..5 {
            let session = Session::open(&Client::new(etcd.clone()), TTL)
                .await
                .unwrap();
            let (mutex, value) = (Mutex::new(&session, "a").unwrap(), value.clone());
            tasks.spawn(async move {
                for _ in 0..10 {
                    let guard = if locked {
                        Some(mutex.lock().await.unwrap())
                    } else {
                        None
                    };
                    let read = value.load(SeqCst);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    value.store(read + 1, SeqCst);
                    if let Some(guard) = guard {
                        guard.unlock().await.unwrap();
                    }
                }
            });
        }
        tasks.join_all().await;
        50 - value.load(SeqCst)
    };
    assert_eq!(lost(true).await, 0);
    assert!(lost(false).await > 0, "the control must fail");
}

#[tokio::test(start_paused = true)]
async fn a_lock_left_for_a_task_that_gave_up_is_released() {
    for polls in 1..12 {
        let etcd = MemoryEtcd::new();
        let session = Session::open(&Client::new(etcd.clone()), TTL)
            .await
            .unwrap();
        let mutex = Mutex::new(&session, "a").unwrap();
        let guard = mutex.lock().await.unwrap();
        let mut waiting = Box::pin(mutex.lock());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let mut unlock = Box::pin(guard.unlock());
        for _ in 0..polls {
            if futures_util::poll!(&mut unlock).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(waiting);
        drop(unlock);
        until_keys(&etcd, "a", 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_guard_releases() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    drop(mutex.lock().await.unwrap());
    until_keys(&etcd, "a", 0).await;
    let guard = mutex.lock().await.unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    until_keys(&etcd, "a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_is_seen_to_its_end() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let session = Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let guard = mutex.lock().await.unwrap();
    let first = guard.token();
    faulty.on_calls(|call| {
        if call == CallKind::TxnDelete {
            Some(CallFault::RequestLost)
        } else {
            None
        }
    });
    guard.unlock().await.unwrap_err();
    faulty.calm();
    let second = mutex.lock().await.unwrap();
    assert!(
        second.token() > first,
        "a grant that was given back was found again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_mutex_waits_for_a_release_under_way() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let session = Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    let first = guard.token();
    faulty.on_calls(|call| {
        if call == CallKind::TxnDelete {
            Some(CallFault::RequestLost)
        } else {
            None
        }
    });
    guard.unlock().await.unwrap_err();
    faulty.calm();
    let second = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    assert!(second.token() > first, "the grant was given twice");
}

#[tokio::test(start_paused = true)]
async fn lock_timeout_and_try_lock_give_up() {
    let etcd = MemoryEtcd::new();
    let ours = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let theirs = Session::open(&Client::new(etcd.clone()), TTL)
        .await
        .unwrap();
    let guard = Mutex::new(&ours, "a").unwrap().lock().await.unwrap();
    for session in [&ours, &theirs] {
        let mutex = Mutex::new(session, "a").unwrap();
        assert_eq!(mutex.try_lock().await.unwrap_err().kind(), ErrorKind::Busy);
        let error = mutex
            .lock_timeout(Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LockTimeout);
    }
    until_keys(&etcd, "a", 1).await;
    guard.unlock().await.unwrap();
    Mutex::new(&theirs, "a")
        .unwrap()
        .try_lock()
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
}

/// The entry in etcd's queue is the session's.
#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_task_does_not_cost_the_next_one_its_place() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Queue::new(etcd.clone()).into_client(), TTL)
        .await
        .unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let holder = common::request(&etcd, "a").await;
    let holder = etcd.lock(holder, INFINITE).await.unwrap();
    let first = mutex.clone();
    let first = tokio::spawn(async move { first.lock_timeout(Duration::from_secs(5)).await });
    until_keys(&etcd, "a", 2).await;
    let second = tokio::spawn(async move { mutex.lock().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (stranger, asked) = (Queue::new(etcd.clone()), common::request(&etcd, "a").await);
    let stranger = tokio::spawn(async move { stranger.lock(asked, INFINITE).await });
    until_keys(&etcd, "a", 3).await;
    assert!(first.await.unwrap().unwrap_err().is_timeout());
    tokio::time::sleep(Duration::from_secs(1)).await;
    common::unlock(&etcd, holder.key).await;
    let guard = second.await.unwrap().unwrap();
    assert!(!stranger.is_finished());
    guard.unlock().await.unwrap();
    stranger.await.unwrap().unwrap();
}

/// Also by time, where the count allows more.
#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_session_let_a_stranger_in_after_a_second() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&Queue::new(etcd.clone()).into_client(), TTL)
        .await
        .unwrap();
    for _ in 0..4 {
        let mutex = Mutex::new(&session, "a").unwrap();
        tokio::spawn(async move {
            loop {
                let guard = mutex.lock().await.unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                guard.unlock().await.unwrap();
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (stranger, asked) = (Queue::new(etcd.clone()), common::request(&etcd, "a").await);
    let begun = tokio::time::Instant::now();
    stranger.lock(asked, INFINITE).await.unwrap();
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

/// The server answers later than one request may take.
#[tokio::test(start_paused = true)]
async fn a_stall_while_entering_is_waited_out() {
    for fault in [
        CallFault::Delayed(Duration::from_secs(11)),
        CallFault::Slow(Duration::from_secs(11)),
        CallFault::ExecutedLate(Duration::from_secs(11)),
    ] {
        let etcd = MemoryEtcd::new();
        let faulty = FaultyTransport::new(&etcd);
        let ttl = Duration::from_secs(60);
        let session = Session::open(&Queue::new(faulty.clone()).into_client(), ttl).await;
        let mutex = Mutex::new(&session.unwrap(), "a").unwrap();
        let stalls = AtomicUsize::new(0);
        faulty.on_calls(move |call| {
            let is_first = call == CallKind::TxnPut && stalls.fetch_add(1, SeqCst) == 0;
            is_first.then_some(fault)
        });
        let guard = mutex.lock().await.unwrap();
        assert!(guard.is_held(), "after {fault:?}");
        guard.unlock().await.unwrap();
        // An entry that came late is removed, too.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(keys(&etcd, "a").await.is_empty(), "after {fault:?}");
    }
}

/// Wakes a task, and counts how often.
struct Counted {
    task: Waker,
    count: Arc<AtomicUsize>,
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, SeqCst);
        self.task.wake_by_ref();
    }
}

/// The result of a future, and how often it was woken until then.
async fn wakes<T>(future: impl Future<Output = T>) -> (T, usize) {
    let (mut future, count) = (pin!(future), Arc::new(AtomicUsize::new(0)));
    let output = poll_fn(|cx| {
        let counted = Waker::from(Arc::new(Counted {
            task: cx.waker().clone(),
            count: count.clone(),
        }));
        future.as_mut().poll(&mut Context::from_waker(&counted))
    });
    let output = output.await;
    (output, count.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_woken_once_for_each_answer() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    faulty.on_calls(|_| Some(CallFault::Delayed(Duration::from_millis(1))));
    let session = Session::open(&client(Queue::new(faulty)), TTL).await;
    let mutex = Mutex::new(&session.unwrap(), "a").unwrap();

    let (guard, for_lock) = wakes(mutex.lock()).await;
    let (unlocked, for_unlock) = wakes(guard.unwrap().unlock()).await;
    unlocked.unwrap();
    assert_eq!((for_lock, for_unlock), (1, 1));
}
