//! The known ways to lose a lock on etcd, each with a naive caller of etcd's own RPCs that falls for it in the same run.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::kv::RangeRequest;
use etcd_lock_core::{Client, ErrorKind, LeaseId, LockKey, UnlockRequest, lease, new};
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::checker::Rule;
use etcd_lock_testkit::real_etcd::Member;
use etcd_lock_testkit::real_etcd::proxy::Proxy;
use etcd_lock_testkit::recorder::Recorder;
use etcd_lock_testkit::test_context::PATIENCE;
use etcd_lock_testkit::{RealEtcd, store};
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use v3lockpb::lock_client::LockClient;

const TTL: Duration = Duration::from_secs(60);

/// etcd 3.4 says OK to a waiter whose lease ended in the queue.
#[tokio::test]
async fn false_ok_on_34_is_caught() {
    let etcd = RealEtcd::start().await;
    let naive = Naive::connect(&etcd.endpoints()[0]).await;
    let believed = naive.version().await.starts_with("3.4.");
    for (client, falls_for_it) in [
        (None, believed),
        (Some(plain(&etcd)), false),
        (Some(queue(&etcd)), false),
    ] {
        let inspector = plain(&etcd);
        let holder = lease::grant(&inspector, TTL).await.unwrap().id;
        let waiter = lease::grant(&inspector, TTL).await.unwrap().id;
        let held = new(&inspector)
            .with_name("a")
            .with_lease(holder)
            .lock()
            .await
            .unwrap();
        let (caller, waiting_for) = (naive.clone(), client.clone());
        let wait = tokio::spawn(async move {
            match waiting_for {
                None => caller.lock("a", waiter, PATIENCE).await.is_ok(),
                Some(client) => {
                    let ctx = new(&client).with_name("a").with_lease(waiter);
                    ctx.with_timeout(PATIENCE).lock().await.is_ok()
                }
            }
        });
        entries(&inspector, "a", 2).await;

        lease::revoke(&inspector, waiter).await.unwrap();
        let key = held.key.as_bytes().clone();
        etcd_lock_core::unlock(&inspector, key).await.unwrap();

        assert_eq!(wait.await.unwrap(), falls_for_it, "{client:?}");
        entries(&inspector, "a", 0).await;
        lease::revoke(&inspector, holder).await.unwrap();
    }
}

/// A caller waits on a member that is stopped, gives up, waits again on another member, and is granted the lock. The first
/// member wakes up and cleans up after the first wait: by deleting the key that is now held. It doesn't do so every time,
/// so the naive caller tries until it did.
#[tokio::test]
async fn same_lease_retry_cannot_kill_a_hold() {
    const ROUNDS: usize = 5;
    let mut etcd = RealEtcd::cluster(3).await;
    let endpoints = etcd.endpoints();
    let follower = follower(&etcd).await;
    let slow = endpoints[follower].clone();
    let quick = endpoints[(follower + 1) % 3].clone();
    let inspector = client_of(std::slice::from_ref(&quick));
    for round in 0..ROUNDS {
        let (first, second) = (Naive::connect(&slow).await, Naive::connect(&quick).await);
        let naive = retried(
            &inspector,
            &etcd.members()[follower],
            &format!("naive-{round}"),
            async |name, lease, bound| first.lock(name, lease, bound).await.is_ok(),
            async |name, lease, bound| second.lock(name, lease, bound).await.is_ok(),
        )
        .await;

        let ours = client_on(&[slow.clone(), quick.clone()]).await;
        let lock = async |name: &str, lease, bound| {
            let ctx = new(&ours).with_name(name.to_owned()).with_lease(lease);
            ctx.with_timeout(bound).lock().await.is_ok()
        };
        let name = format!("ours-{round}");
        let stands = retried(&inspector, &etcd.members()[follower], &name, lock, lock).await;
        assert!(stands, "a held lock vanished");
        if !naive {
            return;
        }
    }
    panic!("the control: the naive caller's lock never vanished in {ROUNDS} rounds");
}

/// Whether a lock that was waited for twice with one lease, the first time on a member that is stopped meanwhile, is
/// still there after that member has woken up.
async fn retried(
    inspector: &Client,
    slow: &Member,
    name: &str,
    first: impl AsyncFn(&str, LeaseId, Duration) -> bool,
    second: impl AsyncFn(&str, LeaseId, Duration) -> bool,
) -> bool {
    let holder = lease::grant(inspector, TTL).await.unwrap().id;
    let lease = lease::grant(inspector, TTL).await.unwrap().id;
    let ctx = new(inspector).with_name(name.to_owned()).with_lease(holder);
    let held = ctx.lock().await.unwrap();
    // In all less than an election timeout, or the member would wake up into an election and have no leader to ask.
    let bound = Duration::from_millis(300);
    let stopped = async {
        entries(inspector, name, 2).await;
        slow.pause();
    };
    let (granted, ()) = tokio::join!(first(name, lease, bound), stopped);
    assert!(!granted);
    let released = async {
        // Once the second wait has begun: the first one's entry may or may not be there still.
        sleep(Duration::from_millis(100)).await;
        let key = held.key.as_bytes().clone();
        etcd_lock_core::unlock(inspector, key).await.unwrap();
    };
    let (granted, ()) = tokio::join!(second(name, lease, PATIENCE), released);
    assert!(granted);
    slow.resume();
    stands(inspector, name, lease).await
}

/// An unlock that arrives late is meant for an earlier hold.
#[tokio::test]
async fn late_unlock_spares_newer_hold() {
    let etcd = RealEtcd::start().await;
    let client = queue(&etcd);
    let naive = Naive::connect(&etcd.endpoints()[0]).await;
    let lease = lease::grant(&client, TTL).await.unwrap().id;
    let ctx = new(&client).with_name("a").with_lease(lease);
    for is_naive in [false, true] {
        let earlier = ctx.lock().await.unwrap();
        etcd_lock_core::unlock(&client, earlier.key.as_bytes().clone())
            .await
            .unwrap();
        let newer = ctx.lock().await.unwrap();
        assert_eq!(newer.key, earlier.key);

        if is_naive {
            naive.unlock(&earlier.key).await;
        } else {
            let late =
                UnlockRequest::new(earlier.key).with_create_revision(earlier.create_revision);
            client
                .transport()
                .unlock(late, store::options())
                .await
                .unwrap();
        }

        let stands = store::get(&client, newer.key.as_bytes().clone())
            .await
            .is_some();
        assert_eq!(stands, !is_naive);
    }
}

/// A member that dies under a wait can't clean up after its caller.
#[tokio::test]
async fn member_killed_under_wait_leaves_no_waiter() {
    let mut etcd = RealEtcd::cluster(3).await;
    let endpoints = etcd.endpoints();
    let inspector = client_of(&endpoints[1..]);
    let holder = lease::grant(&inspector, TTL).await.unwrap().id;
    let waiter = lease::grant(&inspector, TTL).await.unwrap().id;
    new(&inspector)
        .with_name("a")
        .with_lease(holder)
        .lock()
        .await
        .unwrap();
    for is_naive in [true, false] {
        let naive = Naive::connect(&endpoints[0]).await;
        let ours = client_on(&endpoints).await;
        let wait = tokio::spawn(async move {
            let bound = Duration::from_secs(6);
            if is_naive {
                naive.lock("a", waiter, bound).await.is_ok()
            } else {
                let ctx = new(&ours).with_name("a").with_lease(waiter);
                ctx.with_timeout(bound).lock().await.is_ok()
            }
        });
        entries(&inspector, "a", 2).await;

        etcd.members()[0].kill();
        assert!(!wait.await.unwrap());

        if is_naive {
            sleep(Duration::from_secs(1)).await;
            assert!(
                stands(&inspector, "a", waiter).await,
                "the control: it is left behind"
            );
            let key = etcd_lock_core::LockName::new("a").unwrap().key(waiter);
            store::delete(&inspector, key.as_bytes().clone()).await;
        }
        entries(&inspector, "a", 1).await;
        etcd.members()[0].restart().await;
    }
}

/// The member that a session's requests went to dies: another one takes its keep-alives, and the lock stays held for longer
/// than the lease would live by itself.
#[tokio::test]
async fn session_survives_the_death_of_its_member() {
    let mut etcd = RealEtcd::cluster(3).await;
    let recorder = Recorder::start(&etcd.endpoints()[1..]);
    let recorded = recorder.client(1);
    let client = client_on(&etcd.endpoints()).await;
    let session = Session::open(&client, Duration::from_secs(6))
        .await
        .unwrap();
    recorded.note_session(&session);
    let guard = recorded.lock(&session, "a").await.unwrap();
    let used = Naive::connect(&etcd.endpoints()[0]).await.member().await;
    assert_eq!(member(&client).await, used);

    recorder.disturbed(None, "a member dies", Duration::from_secs(3));
    etcd.members()[0].kill();

    assert!(timeout(Duration::from_secs(9), guard.lost()).await.is_err());
    assert!(guard.is_held());
    assert_ne!(member(&client).await, used);
    let write = etcd_lock_core::kv::PutRequest::new("b", "c");
    let written = guard.guard().fenced_txn().and_then(write).commit().await;
    assert!(written.unwrap().succeeded);
    recorder.finds_nothing().await;
}

/// A waiter is cut off, and the release that it waits for is compacted away meanwhile. A watch that is resumed at the next
/// revision is cancelled then, and its naive caller never learns of the release from it.
#[tokio::test]
async fn release_compacted_away_while_the_waiter_is_cut_off_is_noticed() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::to(&etcd.endpoints()[0]).await;
    let (client, inspector) = (client_of(&[proxy.endpoint()]), queue(&etcd));
    let (first, second) = (
        Session::open(&inspector, TTL).await.unwrap(),
        Session::open(&client, TTL).await.unwrap(),
    );
    let recorder = Recorder::start(&etcd.endpoints());
    let (holder, waiter) = (recorder.client(1), recorder.client(2));
    holder.note_session(&first);
    waiter.note_session(&second);
    let held = holder.lock(&first, "a").await.unwrap();
    let wait = tokio::spawn(async move { waiter.lock(&second, "a").await });
    entries(&inspector, "a", 2).await;
    let seen = store::put(&inspector, "b", "seen").await;

    recorder.disturbed(Some(2), "cut off", PATIENCE);
    recorder.caught_up().await;
    proxy.link().refuse();
    held.unlock().await.unwrap();
    let revision = store::put(&inspector, "b", "later").await;
    etcd.etcdctl(0, &["compact", &revision.to_string()]).await;
    let naive = Naive::connect(&etcd.endpoints()[0]).await;
    assert!(naive.resumed_watch_is_compacted(seen.get() + 1).await);
    assert!(!wait.is_finished());
    proxy.link().pass();

    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap();
    assert!(granted.unwrap().is_held());
    recorder.finds_nothing().await;
}

/// The control of the recorder: a holder that goes on when its guard says that the lock is lost is found.
#[tokio::test]
async fn a_holder_that_goes_on_after_its_loss_is_found() {
    let etcd = RealEtcd::start().await;
    let recorder = Recorder::start(&etcd.endpoints());
    let (client, believer) = (queue(&etcd), recorder.client(1));
    let session = Session::open(&client, Duration::from_secs(6))
        .await
        .unwrap();
    believer.note_session(&session);
    let guard = believer.lock(&session, "a").await.unwrap();
    store::delete(&client, guard.guard().key().as_bytes().clone()).await;
    guard.lost().await;
    sleep(Duration::from_secs(4)).await;
    guard.claims_all_the_same();
    let (_, violations) = recorder.judge(&[]).await;
    let mut rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    assert_eq!(rules, [Rule::Exclusion, Rule::Loss], "{violations:#?}");
}

/// A cluster that was restored from before the lock was taken doesn't know the lock, and one that lost its data knows
/// nothing. The holder learns of that, and is refused.
#[tokio::test]
async fn restored_or_emptied_cluster_tells_the_holder_that_the_lock_is_lost() {
    for is_restored in [true, false] {
        let mut etcd = RealEtcd::start().await;
        let client = queue(&etcd);
        store::put(&client, "b", "before").await;
        let snapshot = etcd.dir().join("snapshot");
        let file = snapshot.to_string_lossy();
        etcd.etcdctl(0, &["snapshot", "save", &file]).await;
        let session = Session::open(&client, Duration::from_secs(6))
            .await
            .unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        assert!(guard.is_held());

        if is_restored {
            etcd.members()[0].restore(&snapshot).await;
        } else {
            etcd.members()[0].restart_empty().await;
        }
        let known = store::get(&queue(&etcd), "b").await.is_some();
        assert_eq!(known, is_restored, "the control: what was before is there");

        let why = timeout(PATIENCE, guard.lost()).await.unwrap();
        assert!(why.is_session_lost(), "{why:?}");
        assert!(!guard.is_held());
        let write = etcd_lock_core::kv::PutRequest::new("b", "c");
        let refused = guard
            .fenced_txn()
            .and_then(write)
            .commit()
            .await
            .unwrap_err();
        assert!(refused.is_session_lost(), "{refused:?}");
    }
}

/// A caller of etcd's RPCs who takes them at their word.
#[derive(Clone)]
struct Naive(Channel);

impl Naive {
    async fn connect(endpoint: &str) -> Self {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        Self(endpoint.connect().await.unwrap())
    }

    async fn lock(&self, name: &str, lease: LeaseId, bound: Duration) -> Result<Bytes, Status> {
        let name = Bytes::copy_from_slice(name.as_bytes());
        let request = Request::new(v3lockpb::LockRequest {
            name,
            lease: lease.get(),
        });
        let call = async { LockClient::new(self.0.clone()).lock(request).await };
        let late = |_| Err(Status::deadline_exceeded("the caller's own clock"));
        let reply = timeout(bound, call).await.unwrap_or_else(late)?;
        Ok(reply.into_inner().key)
    }

    async fn unlock(&self, key: &LockKey) {
        let key = key.as_bytes().clone();
        let request = v3lockpb::UnlockRequest { key };
        LockClient::new(self.0.clone())
            .unlock(request)
            .await
            .unwrap();
    }

    async fn version(&self) -> String {
        self.status().await.version
    }

    /// The member that it is connected to.
    async fn member(&self) -> u64 {
        self.status().await.header.unwrap().member_id
    }

    async fn status(&self) -> pb::StatusResponse {
        let mut maintenance = MaintenanceClient::new(self.0.clone());
        let status = maintenance.status(pb::StatusRequest {}).await;
        status.unwrap().into_inner()
    }

    /// Whether a watch that resumes at a revision is told that this was compacted.
    async fn resumed_watch_is_compacted(&self, revision: i64) -> bool {
        let create = pb::WatchCreateRequest {
            key: "a/".into(),
            range_end: "a0".into(),
            start_revision: revision,
            ..pb::WatchCreateRequest::default()
        };
        let request = pb::watch_request::RequestUnion::CreateRequest(create);
        let request = pb::WatchRequest {
            request_union: Some(request),
        };
        // The stream of requests must stay open for as long as the watch.
        let requests = stream::once(ready(request)).chain(stream::pending());
        let watch = WatchClient::new(self.0.clone()).watch(requests).await;
        let mut events = watch.unwrap().into_inner();
        loop {
            let response = events.message().await.unwrap().unwrap();
            assert!(response.events.is_empty(), "{response:?}");
            if response.canceled {
                return response.compact_revision > 0;
            }
        }
    }
}

fn transport(endpoints: &[String]) -> GrpcTransport {
    GrpcTransport::connect(endpoints).unwrap()
}

fn client_of(endpoints: &[String]) -> Client {
    Queue::new(transport(endpoints)).into_client()
}

/// A client that may use all of these, and whose requests were seen to be answered by the first: it chooses by chance.
async fn client_on(endpoints: &[String]) -> Client {
    let wanted = Naive::connect(&endpoints[0]).await.member().await;
    for _ in 0..60 {
        let client = client_of(endpoints);
        if member(&client).await == wanted {
            return client;
        }
    }
    panic!("no client began with {}", endpoints[0]);
}

/// The member that answers a client.
async fn member(client: &Client) -> u64 {
    let read = RangeRequest::key("a");
    store::range(client, read).await.header.member_id
}

fn queue(etcd: &RealEtcd) -> Client {
    client_of(&etcd.endpoints())
}

fn plain(etcd: &RealEtcd) -> Client {
    Client::new(transport(&etcd.endpoints()))
}

/// Waits until a queue has so many entries.
async fn entries(client: &Client, name: &str, count: usize) {
    let reached = async {
        while places(client, name).await != count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("the queue of {name} never had {count} entries"));
}

async fn places(client: &Client, name: &str) -> usize {
    let view = etcd_lock_session::queue(client, name.to_owned()).await;
    view.unwrap().entries.len()
}

/// Whether a lease's entry is there, and still there after what a member that was stopped has to make up for.
async fn stands(client: &Client, name: &str, lease: LeaseId) -> bool {
    sleep(Duration::from_millis(1500)).await;
    let name = etcd_lock_core::LockName::new(name.to_owned()).unwrap();
    let key = name.key(lease);
    store::get(client, key.as_bytes().clone()).await.is_some()
}

/// A member that isn't the leader: without the leader the others would have to elect one.
async fn follower(etcd: &RealEtcd) -> usize {
    let leader = etcd.leader().await.expect("there is no leader");
    (leader + 1) % 3
}

/// A holder is cut off for half a second, an operator deletes its key meanwhile, and another client is granted the lock. The
/// holder's watch comes back after the deletion and reports nothing of it: only a read does.
#[tokio::test]
async fn hold_whose_key_was_deleted_while_it_was_cut_off_ends_within_a_heartbeat() {
    let etcd = RealEtcd::start().await;
    let proxy = Proxy::to(&etcd.endpoints()[0]).await;
    let (client, inspector) = (client_of(&[proxy.endpoint()]), queue(&etcd));
    let ttl = Duration::from_secs(9);
    let (heartbeat, attempt) = (ttl / 3, ttl / 6);
    let first = Session::open(&client, ttl).await.unwrap();
    let second = Session::open(&inspector, TTL).await.unwrap();
    let held = Mutex::new(&first, "a").unwrap().lock().await.unwrap();
    // From when its entry is older than 100 ms a hold is watched.
    sleep(Duration::from_millis(300)).await;
    let waiter = Mutex::new(&second, "a").unwrap();
    let wait = tokio::spawn(async move { waiter.lock().await });
    entries(&inspector, "a", 2).await;

    let cut = Instant::now();
    proxy.link().refuse();
    store::delete(&inspector, held.key().as_bytes().clone()).await;
    let deleted = Instant::now();
    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    assert!(granted.is_held());
    let believed = held.is_held();
    sleep(Duration::from_millis(500).saturating_sub(cut.elapsed())).await;
    proxy.link().pass();
    let passed = Instant::now();

    while held.is_held() {
        assert!(deleted.elapsed() <= heartbeat + attempt, "it is believed");
        sleep(Duration::from_millis(1)).await;
    }
    let (since_deletion, since_cut) = (deleted.elapsed(), passed.elapsed());
    println!("believed for {since_deletion:?} after the deletion, {since_cut:?} after the cut");
    assert!(believed, "the control: cut off, it can't know");
    let why = timeout(PATIENCE, held.lost()).await.unwrap();
    assert_eq!(why.kind(), ErrorKind::Lost, "{why:?}");
    assert!(first.is_alive() && granted.is_held());
    assert!(granted.token() > held.token());
    let write = etcd_lock_core::kv::PutRequest::new("b", "stale");
    let refused = held.fenced_txn().and_then(write).commit().await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Lost);
}
