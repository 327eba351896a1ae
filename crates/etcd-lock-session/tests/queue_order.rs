//! The order in which waiters get the lock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{INFINITE, keys, lock, request, seconds, unlock, until_keys};
use etcd_lock_core::kv::{PutRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use etcd_lock_core::lease::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use etcd_lock_core::watch::{WatchRequest, WatchResponse};
use etcd_lock_core::{
    BoxStream, CallOptions, Client, ErrorKind, FencingToken, LeaseId, LockKey, LockRequest,
    LockResponse, Result, Transport, UnlockRequest, UnlockResponse, new, try_lock,
};
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_session::{Mutex, Queue, Session, verify};
use etcd_lock_testkit::faults::{CallFault, CallKind, FaultyTransport};

#[tokio::test(start_paused = true)]
async fn an_uncontended_lock_is_one_request() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let queue = Queue::new(faulty.clone());
    let held = lock(&queue, "a").await;
    assert_eq!(faulty.txns(), 1);
    unlock(&queue, held.key).await;
    assert_eq!(faulty.txns(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_granted_in_order_of_arrival() {
    for separate in [false, true] {
        let etcd = MemoryEtcd::new();
        let shared = Queue::new(etcd.clone());
        let (sender, mut granted) = tokio::sync::mpsc::unbounded_channel();
        for arrival in 0..12 {
            let queue = if separate {
                Queue::new(etcd.clone())
            } else {
                shared.clone()
            };
            let (request, sender) = (request(&etcd, "a").await, sender.clone());
            tokio::spawn(async move {
                let held = queue.lock(request, INFINITE).await.unwrap();
                sender.send(arrival).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                unlock(&queue, held.key).await;
            });
            until_keys(&etcd, "a", arrival + 1).await;
        }
        for arrival in 0..12 {
            assert_eq!(granted.recv().await, Some(arrival));
        }
        until_keys(&etcd, "a", 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_waiters_of_a_process_share_one_watch_stream() {
    let etcd = MemoryEtcd::new();
    let faulty = FaultyTransport::new(&etcd);
    let queue = Queue::new(faulty.clone());
    let first = lock(&queue, "a").await;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (queue, request) = (queue.clone(), request(&etcd, "a").await);
        waiters.spawn(async move {
            let held = queue.lock(request, INFINITE).await.unwrap();
            unlock(&queue, held.key).await;
        });
    }
    until_keys(&etcd, "a", 51).await;
    // Their entries are watched once they have existed for a while.
    tokio::time::sleep(Duration::from_secs(1)).await;
    unlock(&queue, first.key).await;
    waiters.join_all().await;
    assert_eq!(faulty.watch_streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_names_documented() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let below = lock(&queue, "a/b").await;
    let foreign = (0..20).fold(TxnRequest::new(), |txn, i| {
        txn.and_then(PutRequest::new(format!("a/notes-{i}"), ""))
    });
    etcd.txn(foreign, INFINITE).await.unwrap();
    let above = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap();
    let second = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(second.kind(), ErrorKind::LockTimeout);
    unlock(&queue, above.key).await;
    unlock(&queue, below.key).await;
}

#[tokio::test(start_paused = true)]
async fn the_plain_rpc_and_the_queue_wait_in_one_line() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let by_rpc = lock(&etcd, "a").await;
    let busy = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::LockTimeout);
    unlock(&etcd, by_rpc.key).await;
    let by_queue = lock(&queue, "a").await;
    let busy = etcd
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::LockTimeout);
    unlock(&queue, by_queue.key).await;
}

#[tokio::test(start_paused = true)]
async fn try_lock_does_not_wait() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let held = queue
        .try_lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap();
    let error = queue
        .try_lock(request(&etcd, "a").await, INFINITE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(keys(&etcd, "a").await, [held.key.as_bytes().clone()]);
}

#[tokio::test(start_paused = true)]
async fn try_lock_of_a_context_is_the_queues_on_each_client_of_one() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    for client in [
        queue.clone().into_client(),
        Client::new(queue.clone()),
        Client::new(Arc::new(queue.clone())),
        Client::new(Decorated(queue)),
    ] {
        let (mine, yours) = (request(&etcd, "a").await, request(&etcd, "a").await);
        let ctx = |request: LockRequest| {
            let ctx = new(&client).with_name(&request.name);
            ctx.with_lease(request.lease)
        };
        let held = try_lock(ctx(mine.clone())).await.unwrap();
        assert_eq!(try_lock(ctx(mine)).await.unwrap().key, held.key);
        let error = try_lock(ctx(yours)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        etcd_lock_core::unlock(&client, &held.key).await.unwrap();
        until_keys(&etcd, "a", 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn try_lock_of_a_client_without_a_queue_is_unsupported_and_enters_nothing() {
    let etcd = MemoryEtcd::new();
    let request = request(&etcd, "a").await;
    let ctx = new(Client::new(etcd.clone())).with_name("a");
    let error = ctx.with_lease(request.lease).try_lock().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(keys(&etcd, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn token_is_verified_only_while_its_hold_lasts() {
    let etcd = MemoryEtcd::new();
    let client = Queue::new(etcd.clone()).into_client();
    let is_held = async |token| verify(&client, "a", token).await.unwrap();
    let ttl = Duration::from_secs(10);
    let one = Session::open(&client, ttl).await.unwrap();
    let other = Session::open(&client, ttl).await.unwrap();
    let guard = Mutex::new(&one, "a").unwrap().lock().await.unwrap();
    let token = guard.token();
    // Neither a lock below the name is in the way nor a waiter.
    let _below = lock(&etcd, "a/b").await;
    let waiting = Mutex::new(&other, "a").unwrap().enqueue().await.unwrap();
    assert!(is_held(token).await);
    let revision = token.create_revision().get();
    for other in [revision - 1, revision + 1] {
        let other = FencingToken::new(other.try_into().unwrap(), 0);
        assert!(!is_held(other).await, "{other}");
    }
    guard.unlock().await.unwrap();
    let next = waiting.granted().await.unwrap();
    assert!(!is_held(token).await && is_held(next.token()).await);
}

/// An entry that waits was granted to nobody.
#[tokio::test(start_paused = true)]
async fn token_of_an_entry_behind_another_is_not_verified() {
    let etcd = MemoryEtcd::new();
    let client = Queue::new(etcd.clone()).into_client();
    let _held = lock(&etcd, "a").await;
    let session = Session::open(&client, Duration::from_secs(10))
        .await
        .unwrap();
    let _waiting = Mutex::new(&session, "a").unwrap().enqueue().await.unwrap();
    let view = etcd_lock_session::queue(&client, "a").await.unwrap();
    let forged = FencingToken::new(view.entries[1].create_revision, 0);
    assert!(!verify(&client, "a", forged).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn late_unlock_spares_newer_hold() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let request = request(&etcd, "a").await;
    let old = queue.lock(request.clone(), INFINITE).await.unwrap();
    unlock(&queue, old.key.clone()).await;
    let new = queue.lock(request, INFINITE).await.unwrap();
    assert!(new.create_revision > old.create_revision);
    let late = UnlockRequest::new(old.key).with_create_revision(old.create_revision);
    queue.unlock(late, INFINITE).await.unwrap();
    assert_eq!(
        keys(&etcd, "a").await.len(),
        1,
        "the newer hold was deleted"
    );
    unlock(&queue, new.key).await;
    unlock(&queue, LockKey::new("a/1").unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn locking_twice_with_one_lease_is_a_single_acquisition() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let request = request(&etcd, "a").await;
    let first = queue.lock(request.clone(), INFINITE).await.unwrap();
    let second = queue.lock(request, INFINITE).await.unwrap();
    assert_eq!(
        (first.key, first.create_revision),
        (second.key, second.create_revision)
    );
    assert_eq!(keys(&etcd, "a").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn foreign_key_under_prefix_reported() {
    let etcd = MemoryEtcd::new();
    let foreign = TxnRequest::new().and_then(PutRequest::new("a/notes", ""));
    etcd.txn(foreign, INFINITE).await.unwrap();
    let plain = etcd.lock(request(&etcd, "a").await, seconds(1)).await;
    assert_eq!(
        plain.unwrap_err().kind(),
        ErrorKind::LockTimeout,
        "the control"
    );

    let queue = Queue::new(etcd.clone());
    let held = queue
        .lock(request(&etcd, "a").await, seconds(1))
        .await
        .unwrap();
    let view = etcd_lock_session::queue(&Client::new(etcd.clone()), "a")
        .await
        .unwrap();
    assert_eq!(view.unrelated_keys, ["a/notes"]);
    assert_eq!(view.entries.len(), 1);
    assert_eq!(view.entries[0].key, held.key);
    assert_eq!(view.entries[0].owner, None);
}

/// A value that an application, a bug or a stranger writes into an entry grants nothing.
#[tokio::test(start_paused = true)]
async fn a_value_in_an_entry_grants_nothing() {
    let forged: [&[u8]; 4] = [
        b"next\0",
        b"next\0a/1",
        b"etcd-lock/1 0000000000000001 ",
        b"etcd-lock/1 0000000000000001 next\0",
    ];
    for value in forged {
        let etcd = MemoryEtcd::new();
        let client = Queue::new(etcd.clone());
        let held = etcd.lock(request(&etcd, "a").await, INFINITE);
        let held = held.await.unwrap();
        let given_up = request(&etcd, "a").await.with_value(value);
        let other = Queue::new(etcd.clone());
        let given_up = tokio::spawn(async move { other.lock(given_up, INFINITE).await });
        until_keys(&etcd, "a", 2).await;
        let asked = request(&etcd, "a").await;
        let own = asked.key().as_bytes().clone();
        let wait = tokio::spawn(async move { client.lock(asked, INFINITE).await });
        until_keys(&etcd, "a", 3).await;
        // A stranger writes it into the entry of the holder and of the last waiter, too.
        for key in [held.key.as_bytes(), &own] {
            let put = TxnRequest::new().and_then(PutRequest::new(key.clone(), value));
            etcd.txn(put, INFINITE).await.unwrap();
        }
        given_up.abort();
        until_keys(&etcd, "a", 2).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!wait.is_finished(), "granted by {value:?}");
        unlock(&etcd, held.key).await;
        let granted = wait.await.unwrap().unwrap();
        assert_eq!(granted.key.as_bytes(), &own);
    }
}

/// etcd's `Lock` takes a negative lease that its caller has chosen.
#[tokio::test(start_paused = true)]
async fn an_entry_of_a_negative_lease_is_waited_for() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let put = TxnRequest::new().and_then(PutRequest::new("a/-5", ""));
    etcd.txn(put, INFINITE).await.unwrap();
    let busy = queue.try_lock(request(&etcd, "a").await, INFINITE).await;
    assert_eq!(busy.unwrap_err().kind(), ErrorKind::Busy);
    let asked = request(&etcd, "a").await;
    let timed_out = queue.lock(asked.clone(), seconds(20)).await;
    assert!(timed_out.unwrap_err().is_timeout());
    let (granted, ()) = tokio::join!(queue.lock(asked, INFINITE), async {
        until_keys(&etcd, "a", 2).await;
        unlock(&etcd, LockKey::new("a/-5").unwrap()).await;
    });
    granted.unwrap();
}

/// Where etcd's users have permissions, the entry of another client may not even be written.
#[tokio::test(start_paused = true)]
async fn a_release_writes_into_no_entry_of_another_client() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let etcd = faulty.etcd();
    let queue = Queue::new(faulty.clone());
    let held = queue.lock(request(etcd, "a").await, INFINITE).await;
    let held = held.unwrap();
    for entries in 2..40 {
        let (other, asked) = (Queue::new(etcd.clone()), request(etcd, "a").await);
        tokio::spawn(async move { other.lock(asked, INFINITE).await });
        until_keys(etcd, "a", entries).await;
    }
    let changed = async || {
        let read = RangeRequest::prefix("a/");
        let kvs = etcd.range(read, INFINITE).await.unwrap().kvs;
        kvs.into_iter().filter(|kv| kv.version != 1).count()
    };
    let before = faulty.txns();
    unlock(&queue, held.key).await;
    assert_eq!(faulty.txns(), before + 1);
    assert_eq!(changed().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unlock_of_a_key_that_is_no_entry_is_refused() {
    let etcd = MemoryEtcd::new();
    let queue = Queue::new(etcd.clone());
    let client = queue.clone().into_client();
    for key in [
        "config/db",
        "config/main",
        "a",
        "a/",
        "a/0",
        "a/01",
        "a/1F",
        "a/12345678901234567",
    ] {
        let put = TxnRequest::new().and_then(PutRequest::new(key, "kept"));
        etcd.txn(put, INFINITE).await.unwrap();
        let asked = UnlockRequest::new(LockKey::new(key).unwrap());
        let error = queue.unlock(asked, INFINITE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{key}: {error:?}");
        let error = etcd_lock_core::unlock(&client, key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{key}: {error:?}");
        let read = etcd.range(RangeRequest::key(key), INFINITE).await.unwrap();
        assert_eq!(read.kvs.len(), 1, "{key}");
    }
}

/// A transport of a user's, which passes everything on.
#[derive(Debug)]
struct Decorated(Queue);

#[async_trait::async_trait]
impl Transport for Decorated {
    async fn lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.0.lock(request, options).await
    }

    async fn try_lock(&self, request: LockRequest, options: CallOptions) -> Result<LockResponse> {
        self.0.try_lock(request, options).await
    }

    async fn unlock(&self, request: UnlockRequest, options: CallOptions) -> Result<UnlockResponse> {
        self.0.unlock(request, options).await
    }

    async fn range(&self, request: RangeRequest, options: CallOptions) -> Result<RangeResponse> {
        self.0.range(request, options).await
    }

    async fn txn(&self, request: TxnRequest, options: CallOptions) -> Result<TxnResponse> {
        self.0.txn(request, options).await
    }

    async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
        options: CallOptions,
    ) -> Result<LeaseGrantResponse> {
        self.0.lease_grant(request, options).await
    }

    async fn lease_revoke(
        &self,
        lease: LeaseId,
        options: CallOptions,
    ) -> Result<LeaseRevokeResponse> {
        self.0.lease_revoke(lease, options).await
    }

    async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        options: CallOptions,
    ) -> Result<LeaseTimeToLiveResponse> {
        self.0.lease_time_to_live(request, options).await
    }

    async fn lease_leases(&self, options: CallOptions) -> Result<LeaseLeasesResponse> {
        self.0.lease_leases(options).await
    }

    fn lease_keep_alive(
        &self,
        leases: BoxStream<LeaseId>,
    ) -> BoxStream<Result<LeaseKeepAliveResponse>> {
        self.0.lease_keep_alive(leases)
    }

    fn watch(&self, requests: BoxStream<WatchRequest>) -> BoxStream<Result<WatchResponse>> {
        self.0.watch(requests)
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_over_a_decorated_queue_share_one_watch_stream_and_hand_over() {
    let faulty = FaultyTransport::new(&MemoryEtcd::new());
    let client = Client::new(Decorated(Queue::new(faulty.clone())));
    let other = faulty.etcd().lock(request(&faulty, "a").await, INFINITE);
    let other = other.await.unwrap();
    let mut waits = Vec::new();
    for entries in 2..7 {
        let session = Session::open(&client, Duration::from_secs(60)).await;
        let mutex = Mutex::new(&session.unwrap(), "a").unwrap();
        waits.push(tokio::spawn(async move { mutex.lock().await.unwrap() }));
        until_keys(faulty.etcd(), "a", entries).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(faulty.watch_streams(), 1);
    faulty.on_calls(|call| match call {
        CallKind::TxnDelete => Some(CallFault::Delayed(Duration::from_secs(5))),
        _ => None,
    });
    unlock(faulty.etcd(), other.key).await;
    let begun = tokio::time::Instant::now();
    for wait in waits {
        drop(wait.await.unwrap());
    }
    // Without waiting for the deletion of each.
    assert!(begun.elapsed() < Duration::from_secs(5));
    until_keys(faulty.etcd(), "a", 0).await;
    assert_eq!(faulty.watch_streams(), 1);
}
