//! Holds that are detached in one process and attached in another. Each process is a client of its own here.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{keys, until_keys};
use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::{Client, ErrorKind, Timeout, lease, unlock};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{
    DetachedHold, LockGuard, Mutex, Queue, Session, SessionOptions, queue, verify,
};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn detached_hold_outlives_its_session_for_the_time_to_live_and_not_for_longer() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    sleep(TTL - Duration::from_secs(1)).await;
    let client = client(&etcd);
    assert!(verify(&client, "a", hold.token()).await.unwrap());
    sleep(Duration::from_secs(2)).await;
    assert!(keys(&etcd, "a").await.is_empty());
    let error = attach(&client, &hold).await.unwrap_err();
    assert_eq!(error, ErrorKind::LeaseNotFound);
}

#[tokio::test(start_paused = true)]
async fn attached_hold_is_the_same_hold_and_lasts_as_long_as_its_guard() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    let text = hold.to_string();
    let guard = attach(&client(&etcd), &text.parse().unwrap())
        .await
        .unwrap();
    assert_eq!((guard.key(), guard.token()), (hold.key(), hold.token()));
    sleep(TTL * 10).await;
    assert!(guard.is_held());
    let write = guard.fenced_txn().and_then(PutRequest::new("k", "v"));
    assert!(write.commit().await.unwrap().succeeded);
    guard.unlock().await.unwrap();
    assert!(keys(&etcd, "a").await.is_empty());
    sleep(Duration::from_secs(1)).await;
    let leases = lease::leases(&client(&etcd)).await.unwrap().leases;
    assert!(!leases.contains(&hold.lease()), "it is revoked");
}

/// Nothing is free in between: a waiter waits through both processes.
#[tokio::test(start_paused = true)]
async fn waiter_is_granted_the_lock_after_the_attached_hold_and_not_before() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    let waiting = Session::open(&client(&etcd), TTL).await.unwrap();
    let mut waiting = Mutex::new(&waiting, "a").unwrap().enqueue().await.unwrap();
    let guard = attach(&client(&etcd), &hold).await.unwrap();
    sleep(TTL * 3).await;
    assert_eq!(waiting.changed().await.unwrap(), 1);
    drop(guard);
    let next = waiting.granted().await.unwrap();
    assert!(next.token() > hold.token());
}

#[tokio::test(start_paused = true)]
async fn hold_that_two_processes_attach_goes_on_in_one() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    // Both have read the entry before either writes into it.
    let [one, other] = [(); 2].map(|()| {
        let faulty = FaultyTransport::new(&etcd);
        let second = CallFault::Slow(Duration::from_secs(1));
        faulty.on_calls(move |call| (call == CallKind::Range).then_some(second));
        Queue::new(faulty).into_client()
    });
    let (one, other) = tokio::join!(attach(&one, &hold), attach(&other, &hold));
    let kinds = [&one, &other].map(|guard| guard.as_ref().err().copied());
    assert!(
        matches!(
            kinds,
            [None, Some(ErrorKind::Lost)] | [Some(ErrorKind::Lost), None]
        ),
        "{kinds:?}"
    );
    sleep(TTL * 3).await;
    let guard = one.or(other).unwrap();
    assert!(
        guard.is_held(),
        "the one that was refused leaves the lease alone"
    );
}

#[tokio::test(start_paused = true)]
async fn attached_hold_can_be_detached_again_and_its_old_text_is_worthless() {
    let etcd = MemoryEtcd::new();
    let first = detached(&client(&etcd)).await;
    let second = attach(&client(&etcd), &first)
        .await
        .unwrap()
        .detach()
        .unwrap();
    assert_eq!(second.token(), first.token());
    let error = attach(&client(&etcd), &first).await.unwrap_err();
    assert_eq!(error, ErrorKind::Lost);
    assert!(attach(&client(&etcd), &second).await.unwrap().is_held());
}

/// The key was deleted, and is there again: that is another hold.
#[tokio::test(start_paused = true)]
async fn hold_whose_entry_is_gone_or_made_anew_is_not_attached() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    let other = client(&etcd);
    unlock(&other, hold.key()).await.unwrap();
    let error = attach(&client(&etcd), &hold).await.unwrap_err();
    assert_eq!(error, ErrorKind::Lost);

    let name = hold.name();
    etcd_lock_core::lock_with(&other, name, hold.lease())
        .await
        .unwrap();
    let error = attach(&client(&etcd), &hold).await.unwrap_err();
    assert_eq!(error, ErrorKind::Lost);
    assert_eq!(keys(&etcd, "a").await.len(), 1, "it is left alone");
}

/// A text that names an entry which waits is no right to the lock.
#[tokio::test(start_paused = true)]
async fn entry_behind_another_is_not_attached() {
    let etcd = MemoryEtcd::new();
    let _held = detached(&client(&etcd)).await;
    let other = client(&etcd);
    let session = Session::open(&other, TTL).await.unwrap();
    let _waiting = Mutex::new(&session, "a").unwrap().enqueue().await.unwrap();
    let view = queue(&other, "a").await.unwrap();
    let value = etcd_lock_core::kv::RangeRequest::key(&view.entries[1].key);
    let reply = other.transport().range(value, common::INFINITE).await;
    let value = reply.unwrap().kvs.remove(0).value;
    let nonce = std::str::from_utf8(&value[12..28]).unwrap().to_owned();
    let (created, key) = (view.entries[1].create_revision, &view.entries[1].key);
    let forged = format!("{created}.0:{nonce}:{key}").parse().unwrap();
    let error = attach(&client(&etcd), &forged).await.unwrap_err();
    assert_eq!(error, ErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn guard_of_a_closed_session_or_of_a_deleted_key_is_not_detached() {
    let etcd = MemoryEtcd::new();
    let client = client(&etcd);
    let session = Session::open(&client, TTL).await.unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    etcd.expire_lease(session.lease());
    guard.lost().await;
    guard.detach().unwrap_err();

    let session = Session::open(&client, TTL).await.unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    session.close().await.unwrap();
    assert_eq!(guard.detach().unwrap_err().kind(), ErrorKind::Closed);
    until_keys(&etcd, "a", 0).await;
}

/// A guard that could not be detached leaves the lease to its session.
#[tokio::test(start_paused = true)]
async fn lease_ends_with_its_session_where_a_detaching_failed() {
    let etcd = MemoryEtcd::new();
    let client = client(&etcd);
    let session = Session::open(&client, TTL).await.unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    unlock(&Client::new(etcd.clone()), guard.key())
        .await
        .unwrap();
    guard.lost().await;
    assert_eq!(guard.detach().unwrap_err().kind(), ErrorKind::Lost);
    let id = session.lease();
    session.close().await.unwrap();
    assert!(!lease::leases(&client).await.unwrap().leases.contains(&id));
}

/// The write that takes the hold is executed and not answered: its repeat finds the own nonce.
#[tokio::test(start_paused = true)]
async fn attaching_that_fails_says_whether_the_hold_may_have_been_taken() {
    let etcd = MemoryEtcd::new();
    for (fault, is_unknown) in [(CallFault::ReplyLost, true), (CallFault::Refused, false)] {
        let hold = detached(&client(&etcd)).await;
        let faulty = FaultyTransport::new(&etcd);
        faulty.on_calls(move |call| (call == CallKind::TxnPut).then_some(fault));
        let unlucky = Queue::new(faulty).into_client();
        let error = SessionOptions::new().attach(&unlucky, &hold).await;
        assert_eq!(error.unwrap_err().is_outcome_unknown(), is_unknown);
        let again = attach(&client(&etcd), &hold).await;
        assert_eq!(again.is_err(), is_unknown);
        drop(again);
        sleep(TTL * 2).await;
        assert!(keys(&etcd, "a").await.is_empty(), "it ends with its lease");
    }
}

/// A future that is dropped before the hold is taken leaves it as it was.
#[tokio::test(start_paused = true)]
async fn attaching_that_is_dropped_while_it_reads_leaves_the_hold() {
    let etcd = MemoryEtcd::new();
    let hold = detached(&client(&etcd)).await;
    let faulty = FaultyTransport::new(&etcd);
    faulty.on_calls(|call| (call == CallKind::Range).then_some(CallFault::Slow(TTL)));
    let slow = Queue::new(faulty).into_client();
    let attaching = SessionOptions::new()
        .with_timeout(Timeout::Infinity)
        .attach(&slow, &hold);
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, attaching).await.unwrap_err();
    assert!(attach(&client(&etcd), &hold).await.unwrap().is_held());
}

/// The client of the first process looks on, and learns of the end.
#[tokio::test(start_paused = true)]
async fn session_of_the_first_process_waits_behind_the_hold_that_it_gave_away() {
    let etcd = MemoryEtcd::new();
    let first = client(&etcd);
    let session = Session::open(&first, TTL).await.unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let waiting = {
        let mutex = mutex.clone();
        let guard = mutex.lock().await.unwrap();
        let waiting = tokio::spawn(async move { mutex.lock().await });
        sleep(Duration::from_millis(1)).await;
        let hold = guard.detach().unwrap();
        let other = attach(&client(&etcd), &hold).await.unwrap();
        assert_eq!(mutex_busy(&session).await, ErrorKind::Busy);
        sleep(TTL).await;
        assert!(other.is_held() && !waiting.is_finished());
        other.unlock().await.unwrap();
        waiting
    };
    // The lease went with the hold.
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_session_lost(), "{error:?}");
}

async fn mutex_busy(session: &Session) -> ErrorKind {
    let mutex = Mutex::new(session, "a").unwrap();
    mutex.try_lock().await.unwrap_err().kind()
}

fn client(etcd: &MemoryEtcd) -> Client {
    Queue::new(etcd.clone()).into_client()
}

/// A hold that was detached by a client, whose session is closed.
async fn detached(client: &Client) -> DetachedHold {
    let session = Session::open(client, TTL).await.unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    let hold = guard.detach().unwrap();
    session.close().await.unwrap();
    hold
}

async fn attach(client: &Client, hold: &DetachedHold) -> Result<LockGuard, ErrorKind> {
    let attached = SessionOptions::new().attach(client, hold).await;
    attached.map_err(|error| error.kind())
}
