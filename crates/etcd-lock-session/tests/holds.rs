//! For how long a hold may be believed, with watches and reads that fail in any way: a heartbeat and an attempt while reads
//! are answered, nine tenths of the time to live when they are not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use common::{INFINITE, client, grant, keys, request, unlock, until_keys};
use etcd_lock_core::kv::{PutRequest, TxnRequest};
use etcd_lock_core::{ErrorKind, LockKey, LockName, Result, Transport, lease};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{LockGuard, Mutex, Queue, Session, SessionOptions, System, Tuning};
use etcd_lock_testkit::faults::{
    CallFault, CallKind, FaultyTransport, ServerError, StreamFault, WatchFault,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

const TTL: Duration = Duration::from_secs(9);

/// A third of the time to live.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// Half a heartbeat.
const ATTEMPT: Duration = Duration::from_millis(1_500);

/// Nine tenths of the time to live.
const TRUST: Duration = Duration::from_millis(8_100);

/// How exactly the end of a claim is measured here.
const STEP: Duration = Duration::from_millis(10);

async fn session(faulty: &FaultyTransport) -> Session {
    Session::open(&client(Queue::new(faulty.clone())), TTL)
        .await
        .unwrap()
}

async fn lock(session: &Session) -> LockGuard {
    Mutex::new(session, "a").unwrap().lock().await.unwrap()
}

/// Somebody else deletes an entry.
async fn delete(etcd: &MemoryEtcd, key: &LockKey) {
    unlock(etcd, key.clone()).await;
}

/// For how long a guard claims the lock from now on, if nobody awaits `lost`.
async fn claimed_for(guard: &LockGuard) -> Duration {
    let begun = Instant::now();
    while guard.is_held() {
        sleep(STEP).await;
        assert!(begun.elapsed() < TTL * 10, "it is claimed for ever");
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_claim_ends_within_a_heartbeat_and_an_attempt_although_every_event_is_lost() {
    for age in [0, 50, 1_000, 2_900, 3_100, 20_000].map(Duration::from_millis) {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let session = session(&faulty).await;
        let guard = lock(&session).await;
        faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
        sleep(age).await;
        delete(faulty.etcd(), guard.key()).await;
        let claimed = claimed_for(&guard).await;
        assert!(claimed <= HEARTBEAT + ATTEMPT, "{claimed:?} after {age:?}");
        assert_eq!(guard.lost().await.kind(), ErrorKind::Lost);
        assert!(session.is_alive());
    }
}

/// The watch ends before the deletion and is on again after it, and nobody awaits `lost`.
#[tokio::test(start_paused = true)]
async fn a_deletion_in_a_gap_of_the_watch_is_found_soon_after_it() {
    for how in [StreamFault::Broken, StreamFault::Ended] {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let session = session(&faulty).await;
        let guard = lock(&session).await;
        sleep(Duration::from_secs(1)).await;
        faulty.on_streams(how);
        delete(faulty.etcd(), guard.key()).await;
        let claimed = claimed_for(&guard).await;
        assert!(
            claimed < Duration::from_millis(200),
            "{claimed:?} after {how:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_gap_that_fails_is_repeated() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    sleep(Duration::from_secs(1)).await;
    let reads = AtomicUsize::new(0);
    faulty.on_calls(move |call| {
        let fails = call == CallKind::TxnRead && reads.fetch_add(1, SeqCst) < 2;
        fails.then_some(CallFault::RequestLost)
    });
    faulty.on_streams(StreamFault::Broken);
    delete(faulty.etcd(), guard.key()).await;
    let lost = timeout(HEARTBEAT + ATTEMPT, guard.lost()).await;
    assert_eq!(lost.unwrap().kind(), ErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_claim_ends_within_nine_tenths_of_the_ttl_while_no_read_is_answered() {
    for fault in [
        CallFault::RequestLost,
        CallFault::Refused,
        CallFault::Delayed(TTL * 100),
    ] {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let session = session(&faulty).await;
        let guard = lock(&session).await;
        sleep(Duration::from_secs(1)).await;
        faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
        faulty.on_calls(move |call| (call == CallKind::TxnRead).then_some(fault));
        delete(faulty.etcd(), guard.key()).await;
        let begun = Instant::now();
        let claimed = claimed_for(&guard).await;
        assert!(claimed <= TRUST, "{claimed:?} with {fault:?}");
        assert!(claimed > HEARTBEAT + ATTEMPT, "{claimed:?} with {fault:?}");
        assert_eq!(guard.lost().await.kind(), ErrorKind::Lost);
        assert!(begun.elapsed() <= TRUST);
        assert!(session.is_alive(), "its lease is renewed all the time");
    }
}

/// More entries are ahead of its own than the reply to entering shows, so that a read of the queue leads to the grant.
#[tokio::test(start_paused = true)]
async fn a_claim_after_a_late_answer_to_a_snapshot_counts_from_the_request() {
    let late = Duration::from_secs(1);
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let mut ahead = Vec::new();
    for _ in 0..6 {
        let lease = grant(faulty.etcd(), 600).await;
        let key = LockName::new("a").unwrap().key(lease);
        let put = PutRequest::new(key.as_bytes().clone(), "").with_lease(lease);
        let put = TxnRequest::new().and_then(put);
        faulty.etcd().txn(put, INFINITE).await.unwrap();
        ahead.push(key);
    }
    let session = session(&faulty).await;
    let mutex = Mutex::new(&session, "a").unwrap();
    let mut waiting = Box::pin(mutex.lock());
    // Its own entry is watched by then, and was read for that.
    assert!(timeout(late, &mut waiting).await.is_err());
    // The entries that it doesn't know go first, then its predecessors, both before the queue is read.
    for gone in [0, 1, 2, 3] {
        delete(faulty.etcd(), &ahead[gone]).await;
        assert!(timeout(STEP, &mut waiting).await.is_err());
    }
    faulty.on_calls(move |call| (call == CallKind::TxnRead).then_some(CallFault::Slow(late)));
    let asked = Instant::now();
    for gone in [4, 5] {
        delete(faulty.etcd(), &ahead[gone]).await;
    }
    let guard = waiting.await.unwrap();
    assert_eq!(asked.elapsed(), late, "one read");
    faulty.on_calls(|call| (call == CallKind::TxnRead).then_some(CallFault::RequestLost));
    claimed_for(&guard).await;
    let claimed = asked.elapsed();
    assert!(claimed <= TRUST + STEP, "{claimed:?}");
}

/// The server counts the time to live from a moment between the request and its answer.
#[tokio::test(start_paused = true)]
async fn a_claim_after_a_late_answer_to_a_renewal_counts_from_the_request() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    let opened = Instant::now();
    // The renewal is sent after a third of the time to live, and answered two seconds later. The next one has no answer.
    sleep(HEARTBEAT - STEP).await;
    faulty.on_streams(StreamFault::Stalled(Duration::from_secs(2)));
    sleep(Duration::from_millis(2_500)).await;
    faulty.on_streams(StreamFault::Stalled(TTL * 100));
    claimed_for(&guard).await;
    let claimed = opened.elapsed();
    assert!(claimed <= HEARTBEAT + TRUST + STEP, "{claimed:?}");
    assert!(
        claimed > TRUST + STEP,
        "the renewal was answered: {claimed:?}"
    );
}

/// A refusal does not tell whether the entry is there.
#[tokio::test(start_paused = true)]
async fn a_hold_whose_reads_may_not_be_made_is_lost_in_nine_tenths_of_the_ttl() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    let denied = CallFault::Server(ServerError::PermissionDenied);
    faulty.on_calls(move |call| (call == CallKind::TxnRead).then_some(denied));
    let begun = Instant::now();
    assert_eq!(guard.lost().await.kind(), ErrorKind::Lost);
    assert!(begun.elapsed() > TRUST - STEP && begun.elapsed() <= TRUST);
}

/// etcd then refuses transactions that only read, too, by the size of a member's file. It answers plain reads.
#[tokio::test(start_paused = true)]
async fn a_hold_and_a_wait_on_an_etcd_without_room_go_on() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let (first, second) = (session(&faulty).await, session(&faulty).await);
    let guard = lock(&first).await;
    let mutex = Mutex::new(&second, "a").unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(timeout(STEP, &mut waiting).await.is_err());
    let full = CallFault::Server(ServerError::NoSpace);
    faulty.on_calls(move |call| (call == CallKind::TxnRead).then_some(full));
    assert!(timeout(TTL * 3, &mut waiting).await.is_err());
    assert!(guard.is_held());
    delete(faulty.etcd(), guard.key()).await;
    let next = timeout(HEARTBEAT, waiting).await.unwrap().unwrap();
    assert!(!guard.is_held());
    sleep(TTL * 3).await;
    assert!(next.is_held());
}

/// The first read shows a revision that the member that answers the second does not have yet.
#[tokio::test(start_paused = true)]
async fn reads_that_are_answered_by_members_of_different_revisions_are_repeated() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let (first, second) = (session(&faulty).await, session(&faulty).await);
    let guard = lock(&first).await;
    faulty.fall_behind();
    let mutex = Mutex::new(&second, "a").unwrap();
    let mut waiting = Box::pin(mutex.lock());
    assert!(timeout(STEP, &mut waiting).await.is_err());
    let reads = AtomicUsize::new(0);
    faulty.on_calls(move |call| match call {
        CallKind::TxnRead => Some(CallFault::Server(ServerError::NoSpace)),
        CallKind::Range if reads.fetch_add(1, SeqCst) % 2 == 1 => Some(CallFault::StaleRead),
        _ => None,
    });
    assert!(timeout(HEARTBEAT * 2, &mut waiting).await.is_err());
    faulty.calm();
    guard.unlock().await.unwrap();
    assert!(waiting.await.unwrap().is_held());
}

/// A caller without a session reads its entry once more when it was granted the lock by an event.
#[tokio::test(start_paused = true)]
async fn a_grant_is_not_given_up_for_an_answer_of_a_member_that_is_behind() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    faulty.fall_behind();
    let holder = request(faulty.etcd(), "a").await;
    let holder = faulty.etcd().lock(holder, INFINITE).await.unwrap();
    let queue = Queue::new(faulty.clone());
    let next = request(faulty.etcd(), "a").await;
    let key = next.key();
    let waiting = tokio::spawn(async move { queue.lock(next, INFINITE).await });
    until_keys(faulty.etcd(), "a", 2).await;
    sleep(Duration::from_secs(1)).await;
    let reads = AtomicUsize::new(0);
    faulty.on_calls(move |call| {
        let is_first = call == CallKind::Range && reads.fetch_add(1, SeqCst) == 0;
        is_first.then_some(CallFault::StaleRead)
    });
    delete(faulty.etcd(), &holder.key).await;
    assert_eq!(waiting.await.unwrap().unwrap().key, key);
    assert_eq!(keys(faulty.etcd(), "a").await, [key.as_bytes().clone()]);
}

/// The tasks of a session hand the lock over among themselves, and none of that renews it.
#[tokio::test(start_paused = true)]
async fn tasks_stop_handing_over_a_hold_whose_entry_was_deleted() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let grants = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let mutex = Mutex::new(&session, "a").unwrap();
        let grants = grants.clone();
        tokio::spawn(async move {
            loop {
                if let Ok(guard) = mutex.lock().await {
                    grants.fetch_add(1, SeqCst);
                    sleep(STEP).await;
                    guard.unlock().await.unwrap();
                }
            }
        });
    }
    sleep(Duration::from_secs(1)).await;
    faulty.on_watches(WatchFault::EventsLost(Bytes::new()));
    let next = request(faulty.etcd(), "a").await;
    let key = next.key().as_bytes().clone();
    let other = Queue::new(faulty.etcd().clone());
    let wait = tokio::spawn(async move { other.lock(next, INFINITE).await });
    until_keys(faulty.etcd(), "a", 2).await;
    // Whichever of the two is the session's own.
    let entries = keys(faulty.etcd(), "a").await;
    let own = entries.into_iter().find(|entry| *entry != key);
    delete(faulty.etcd(), &LockKey::new(own.unwrap()).unwrap()).await;
    wait.await.unwrap().unwrap();
    sleep(HEARTBEAT + ATTEMPT).await;
    let granted = grants.load(SeqCst);
    sleep(TTL).await;
    assert_eq!(grants.load(SeqCst), granted, "the other client holds it");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_was_lost_is_not_held_again_after_its_stream_broke() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    sleep(Duration::from_secs(1)).await;
    delete(faulty.etcd(), guard.key()).await;
    guard.lost().await;
    faulty.fall_behind();
    faulty.on_calls(|call| (call == CallKind::TxnRead).then_some(CallFault::StaleRead));
    for _ in 0..20 {
        faulty.on_streams(StreamFault::Broken);
        for _ in 0..100 {
            assert!(!guard.is_held());
            sleep(STEP).await;
        }
    }
}

/// A watch that ended with its runtime is no cover for a wait on the next runtime.
#[test]
fn a_watch_that_ended_with_its_runtime_covers_nothing_on_the_next() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let first = runtime();
    let holder = first.block_on(async {
        let holder = request(&etcd, "a").await;
        let holder = etcd.lock(holder, INFINITE).await.unwrap();
        let (queue, waiter) = (queue.clone(), request(&etcd, "a").await);
        tokio::spawn(async move { queue.lock(waiter, INFINITE).await });
        until_keys(&etcd, "a", 2).await;
        sleep(Duration::from_secs(1)).await;
        holder
    });
    // The wait is dropped with it, and its entry can't be withdrawn any more.
    drop(first);
    runtime().block_on(async {
        let next = request(&etcd, "a").await;
        let waiting = queue.lock(next, INFINITE);
        let release = async {
            unlock(&etcd, holder.key).await;
        };
        let (granted, ()) = tokio::join!(timeout(TTL, waiting), release);
        granted.unwrap().unwrap();
        until_keys(&etcd, "a", 1).await;
    });
}

/// A thread that sleeps is woken for the task that looks after the entries, which then runs before there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_hold_of_each_client_is_confirmed_on_several_threads() {
    let etcd = MemoryEtcd::new();
    let holds = first_holds(&etcd, 500).await;
    let confirmed = join_all(holds.into_iter().map(until_confirmed));
    timeout(Duration::from_secs(60), confirmed).await.unwrap();
}

/// Each of a client of its own.
async fn first_holds(etcd: &MemoryEtcd, count: usize) -> Vec<LockGuard> {
    let mut holds = Vec::new();
    for number in 0..count {
        let client = client(Queue::new(etcd.clone()));
        let session = Session::open(&client, TTL).await.unwrap();
        let mutex = Mutex::new(&session, format!("{number}")).unwrap();
        // Until the threads sleep.
        sleep(Duration::from_millis(1)).await;
        holds.push(mutex.lock().await.unwrap());
    }
    holds
}

async fn until_confirmed(guard: LockGuard) {
    let mut last = guard.remaining();
    while guard.remaining() <= last {
        last = guard.remaining();
        sleep(STEP).await;
    }
}

/// The task that looks after the entries sleeps for the heartbeat of the other session when this one enters.
#[tokio::test(start_paused = true)]
async fn an_orphan_of_a_session_beside_one_with_a_longer_heartbeat_is_found_by_its_own() {
    let late = Duration::from_millis(1_500);
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let client = client(Queue::new(faulty.clone()));
    let long = Session::open(&client, Duration::from_secs(60)).await;
    let long = long.unwrap();
    let short = Session::open(&client, TTL / 3).await.unwrap();
    let _other = Mutex::new(&long, "b").unwrap().lock().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    faulty
        .on_calls(move |call| (call == CallKind::TxnPut).then_some(CallFault::ExecutedLate(late)));
    let unknown = Mutex::new(&short, "a").unwrap().try_lock().await;
    assert!(unknown.unwrap_err().is_outcome_unknown());
    faulty.calm();

    sleep(late).await;
    until_keys(faulty.etcd(), "a", 1).await;
    let appeared = Instant::now();
    while !keys(faulty.etcd(), "a").await.is_empty() {
        let age = appeared.elapsed();
        assert!(age <= (HEARTBEAT + ATTEMPT) / 3, "{age:?}");
        sleep(STEP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn remaining_falls_with_time_and_grows_with_each_heartbeat() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    assert_eq!(guard.remaining(), TRUST);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(guard.remaining(), TRUST - Duration::from_secs(2));
    sleep(Duration::from_secs(60)).await;
    assert!(guard.remaining() > TRUST - HEARTBEAT - STEP);
    // Renewals go on, and reads don't.
    faulty.on_calls(|call| (call == CallKind::TxnRead).then_some(CallFault::RequestLost));
    sleep(HEARTBEAT * 2).await;
    let left = guard.remaining();
    assert!(left <= TRUST - HEARTBEAT, "{left:?}");
    faulty.calm();
    sleep(HEARTBEAT).await;
    assert!(guard.remaining() > left);
    delete(faulty.etcd(), guard.key()).await;
    guard.lost().await;
    assert_eq!(guard.remaining(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn fading_ends_a_margin_before_the_hold_does() {
    for what in ["renewals and reads", "reads"] {
        let faulty = FaultyTransport::new(&MemoryEtcd::new());
        let session = session(&faulty).await;
        let guard = lock(&session).await;
        let margin = Duration::from_secs(2);
        let healthy = timeout(TTL * 5, guard.fading(margin)).await;
        assert!(healthy.is_err(), "a healthy hold does not fade");
        faulty.on_calls(move |call| {
            let is_hit = call == CallKind::TxnRead || what != "reads";
            is_hit.then_some(CallFault::RequestLost)
        });
        if what != "reads" {
            faulty.on_streams(StreamFault::Broken);
        }
        guard.fading(margin).await;
        assert_eq!(guard.remaining(), margin, "without {what}");
        assert!(guard.is_held());
        let begun = Instant::now();
        guard.lost().await;
        assert_eq!(begun.elapsed(), margin, "without {what}");
    }
}

/// There is no margin then.
#[tokio::test(start_paused = true)]
async fn fading_ends_at_once_when_a_deletion_is_reported() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    delete(faulty.etcd(), guard.key()).await;
    guard.fading(Duration::ZERO).await;
    assert!(begun.elapsed() < STEP);
    assert!(!guard.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_tells_its_position_until_it_is_granted() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(etcd.clone()));
    let open = async || Session::open(&client, TTL).await.unwrap();
    let (first, second) = (open().await, open().await);
    let held = lock(&first).await;
    let foreign = request(&etcd, "a").await;
    let foreign_key = foreign.key();
    let other = Queue::new(etcd.clone());
    let between = tokio::spawn(async move { other.lock(foreign, INFINITE).await.unwrap() });
    until_keys(&etcd, "a", 2).await;
    let mutex = Mutex::new(&second, "a").unwrap();
    let mut waiter = mutex.enqueue().await.unwrap();
    let mut behind = mutex.enqueue().await.unwrap();
    assert_eq!(waiter.changed().await.unwrap(), 2);
    assert_eq!(waiter.position(), Some(2));
    assert_eq!(behind.changed().await.unwrap(), 3);
    held.unlock().await.unwrap();
    assert_eq!(waiter.changed().await.unwrap(), 1);
    assert_eq!(behind.changed().await.unwrap(), 2);
    between.await.unwrap();
    unlock(&etcd, foreign_key).await;
    assert_eq!(waiter.changed().await.unwrap(), 0);
    assert_eq!(waiter.changed().await.unwrap(), 0, "each time");
    assert_eq!(behind.changed().await.unwrap(), 1);
    let guard = waiter.granted().await.unwrap();
    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    assert_eq!(behind.changed().await.unwrap(), 0);
    let guard = behind.granted().await.unwrap();
    assert!(guard.is_held());
    guard.unlock().await.unwrap();
    until_keys(&etcd, "a", 0).await;
}

/// Of other clients only the entry right before it is watched.
#[tokio::test(start_paused = true)]
async fn the_position_behind_other_clients_is_never_too_low() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let mut others = Vec::new();
    for entries in 1..4 {
        let (other, asked) = (Queue::new(etcd.clone()), request(&etcd, "a").await);
        others.push(asked.key());
        tokio::spawn(async move { other.lock(asked, INFINITE).await });
        until_keys(&etcd, "a", entries).await;
    }
    let session = session(&faulty).await;
    let mutex = Mutex::new(&session, "a").unwrap();
    let mut waiter = mutex.enqueue().await.unwrap();
    assert_eq!(waiter.changed().await.unwrap(), 3);
    for key in &others[..2] {
        delete(&etcd, key).await;
    }
    sleep(TTL).await;
    assert!(waiter.position() >= Some(1));
    delete(&etcd, &others[2]).await;
    let granted = timeout(HEARTBEAT, waiter.granted()).await;
    assert!(granted.unwrap().unwrap().is_held());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_is_withdrawn() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let (first, second) = (session(&faulty).await, session(&faulty).await);
    let held = lock(&first).await;
    let waiter = Mutex::new(&second, "a").unwrap().enqueue().await.unwrap();
    assert_eq!(keys(&etcd, "a").await.len(), 2);
    drop(waiter);
    until_keys(&etcd, "a", 1).await;
    assert!(held.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_entry_is_deleted_says_so() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let (first, second) = (session(&faulty).await, session(&faulty).await);
    let _held = lock(&first).await;
    let mut waiter = Mutex::new(&second, "a").unwrap().enqueue().await.unwrap();
    assert_eq!(waiter.changed().await.unwrap(), 1);
    let own = keys(&etcd, "a").await.pop().unwrap();
    delete(&etcd, &LockKey::new(own).unwrap()).await;
    let error = waiter.changed().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(!error.is_session_lost());
    assert_eq!(
        waiter.granted().await.unwrap_err().kind(),
        ErrorKind::Lost,
        "again"
    );
}

/// An operating system that can be suspended, and whose random numbers are known.
#[derive(Debug, Default)]
struct Laptop {
    suspended: AtomicU64,
    drawn: AtomicU64,
}

impl System for Laptop {
    fn suspended(&self) -> Duration {
        Duration::from_secs(self.suspended.load(SeqCst))
    }

    fn random(&self) -> Result<u64> {
        Ok((self.drawn.fetch_add(1, SeqCst) + 1) << 32)
    }
}

fn on_laptop(transport: impl Transport) -> (Arc<Laptop>, etcd_lock_core::Client) {
    let laptop = Arc::new(Laptop::default());
    let queue = Queue::tuned(Arc::new(transport), Tuning::new(), laptop.clone());
    (laptop, queue.into_client())
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_the_time_that_the_system_was_suspended() {
    let etcd = MemoryEtcd::new();
    let (laptop, client) = on_laptop(etcd.clone());
    let session = Session::open(&client, TTL).await.unwrap();
    let guard = lock(&session).await;
    let mut lost = Box::pin(guard.lost());
    assert!(futures_util::poll!(&mut lost).is_pending());
    laptop.suspended.store(8, SeqCst);
    assert!(guard.is_held(), "that was too short");
    assert!(guard.remaining() <= TRUST - Duration::from_secs(8));
    laptop.suspended.store(60, SeqCst);
    assert!(!guard.is_held() && !session.is_alive());
    let why = timeout(Duration::from_secs(1), lost).await.unwrap();
    assert!(why.is_session_lost(), "{why:?}");
    let error = Mutex::new(&session, "a").unwrap().lock().await.unwrap_err();
    assert!(error.is_session_lost(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn session_that_was_said_to_be_lost_and_is_renewed_then_stays_lost() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let (laptop, client) = on_laptop(faulty.clone());
    let session = Session::open(&client, TTL).await.unwrap();
    let guard = lock(&session).await;
    // The keep-alive is due in the middle of the stall.
    sleep(HEARTBEAT - Duration::from_millis(500)).await;
    faulty.on_streams(StreamFault::Stalled(Duration::from_secs(1)));
    sleep(Duration::from_millis(700)).await;
    // The task that keeps the lease alive waits for an answer now, and doesn't notice before its timer ends.
    laptop.suspended.store(5, SeqCst);
    assert!(session.lost().await.is_session_lost());
    sleep(Duration::from_millis(500)).await;
    assert!(!session.is_alive() && !guard.is_held());
    until_keys(faulty.etcd(), "a", 0).await;
}

/// Copies of a virtual machine share the seeds of a program's own random numbers.
#[tokio::test(start_paused = true)]
async fn lease_numbers_are_drawn_from_the_operating_system() {
    let (_, client) = on_laptop(MemoryEtcd::new());
    let session = Session::open(&client, TTL).await.unwrap();
    assert_eq!(session.lease().get(), 1 << 31);
}

/// The cluster is restored from a backup that was made before the lock was granted.
#[tokio::test(start_paused = true)]
async fn every_session_is_lost_when_the_cluster_was_restored() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(etcd.clone()));
    let session = Session::open(&client, TTL).await.unwrap();
    let idle = Session::open(&client, TTL).await.unwrap();
    let put = TxnRequest::new().and_then(PutRequest::new("b", "before"));
    etcd.txn(put, INFINITE).await.unwrap();
    let backup = etcd.with(|model| model.clone());
    let guard = lock(&session).await;
    etcd.with(|model| model.restore(&backup));
    let why = timeout(HEARTBEAT + ATTEMPT, guard.lost()).await.unwrap();
    assert!(why.is_session_lost(), "{why:?}");
    assert!(!guard.is_held());
    assert!(idle.lost().await.is_session_lost());
    let next = Session::open(&client, TTL).await.unwrap();
    assert!(lock(&next).await.is_held());
}

/// An entry that was released after the backup is back after the restore. It ends with its lease, which nobody renews once the
/// client has seen that the revision went back.
#[tokio::test(start_paused = true)]
async fn an_entry_that_a_restored_backup_brings_back_does_not_stay() {
    let etcd = MemoryEtcd::new();
    let client = client(Queue::new(etcd.clone()));
    let session = Session::open(&client, TTL).await.unwrap();
    let guard = lock(&session).await;
    let backup = etcd.with(|model| model.clone());
    guard.unlock().await.unwrap();
    let later = Mutex::new(&session, "later").unwrap();
    for _ in 0..3 {
        later.lock().await.unwrap().unlock().await.unwrap();
    }
    etcd.with(|model| model.restore(&backup));
    assert_eq!(keys(&etcd, "a").await.len(), 1, "it is back");
    let other = Session::open(&client, TTL).await.unwrap();
    let next = Mutex::new(&other, "a").unwrap();
    // The first attempt shows that the cluster went back, which ends every session of the client.
    let error = timeout(TTL * 2, next.lock()).await.unwrap().unwrap_err();
    assert!(error.is_session_lost(), "{error:?}");
    until_keys(&etcd, "a", 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_leaves_its_session_of_use() {
    let etcd = MemoryEtcd::new();
    let session = Session::open(&client(Queue::new(etcd.clone())), TTL)
        .await
        .unwrap();
    let guard = lock(&session).await;
    delete(&etcd, guard.key()).await;
    let why = guard.lost().await;
    assert_eq!(why.kind(), ErrorKind::Lost);
    assert!(!why.is_session_lost(), "{why:?}");
    let write = guard.fenced_txn().and_then(PutRequest::new("b", "c"));
    let refused = write.commit().await.unwrap_err();
    assert!(!refused.is_session_lost(), "{refused:?}");
    drop(guard);
    assert!(lock(&session).await.is_held());
}

/// A lost session says so, whichever way one hears of it.
#[tokio::test(start_paused = true)]
async fn a_lost_session_is_told_from_a_deleted_key() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let session = session(&faulty).await;
    let guard = lock(&session).await;
    faulty.on_calls(|_| Some(CallFault::RequestLost));
    faulty.on_streams(StreamFault::Broken);
    assert!(guard.lost().await.is_session_lost());
    assert!(session.lost().await.is_session_lost());
    faulty.calm();
    sleep(TTL * 2).await;
    let write = guard.fenced_txn().and_then(PutRequest::new("b", "c"));
    assert!(write.commit().await.unwrap_err().is_session_lost());
}

/// An adopted lease may have next to no time left: it is renewed before anything is believed of it.
#[tokio::test(start_paused = true)]
async fn an_adopted_lease_is_believed_from_its_renewal_on() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let client = client(Queue::new(faulty.clone()));
    let granted = lease::grant(&client, Duration::from_secs(2)).await.unwrap();
    sleep(Duration::from_millis(1_950)).await;
    let adopting = SessionOptions::new();
    let session = adopting.adopt(&client, granted.id).await.unwrap();
    faulty.on_calls(|_| Some(CallFault::RequestLost));
    faulty.on_streams(StreamFault::Broken);
    sleep(Duration::from_millis(1_790)).await;
    assert!(session.is_alive(), "nine tenths of what the renewal gave");
    sleep(Duration::from_millis(20)).await;
    assert!(!session.is_alive());
    let granted = lease::grant(&client, TTL).await;
    assert!(granted.is_err(), "nothing is answered");
}

#[tokio::test(start_paused = true)]
async fn an_adopted_lease_that_cannot_be_renewed_is_refused() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let client = client(Queue::new(faulty.clone()));
    let granted = lease::grant(&client, Duration::from_secs(2)).await.unwrap();
    faulty.on_calls(|call| match call {
        CallKind::KeepAlive => Some(CallFault::Slow(Duration::from_secs(5))),
        _ => None,
    });
    let adopting = SessionOptions::new().with_timeout(Duration::from_secs(1));
    let error = adopting.adopt(&client, granted.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let grace = SessionOptions::new().with_grace(Duration::from_secs(1));
    let error = grace.adopt(&client, granted.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

/// With the greatest grace, four tenths of the time to live are left for everything.
#[tokio::test(start_paused = true)]
async fn a_session_with_a_long_grace_outlives_answers_that_take_three_tenths_of_the_ttl() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let ttl = Duration::from_secs(10);
    let options = SessionOptions::new()
        .with_ttl(ttl)
        .with_grace(Duration::from_millis(4_900));
    let session = options.open(&client(Queue::new(faulty.clone()))).await;
    let session = session.unwrap();
    let guard = lock(&session).await;
    for round in 0..50_u32 {
        faulty.on_streams(StreamFault::Stalled(ttl * 3 / 10));
        sleep(ttl / 2 + STEP * round * 7).await;
        assert!(session.is_alive() && guard.is_held(), "round {round}");
    }
}
