//! The known ways to lose a lock on etcd, each with a naive caller of etcd's own RPCs that falls for it in the same run.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::{Client, LeaseId, LockKey, UnlockRequest, lease, new};
use etcd_lock_grpc::{GrpcTransport, Options};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::checker::Rule;
use etcd_lock_testkit::lab::PATIENCE;
use etcd_lock_testkit::real_etcd::Member;
use etcd_lock_testkit::recorder::Recorder;
use etcd_lock_testkit::{RealEtcd, store};
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use tokio::time::{sleep, timeout};
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
    let follower = follower(&mut etcd).await;
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

        let ours = client_of(&[slow.clone(), quick.clone()]);
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
        let (naive, ours) = (Naive::connect(&endpoints[0]).await, client_of(&endpoints));
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

/// The member that a session's keep-alives went to dies: another takes them, and the lock stays held for longer than the
/// lease would live by itself.
#[tokio::test]
async fn session_survives_the_death_of_its_member() {
    let mut etcd = RealEtcd::cluster(3).await;
    let recorder = Recorder::start(&etcd.endpoints()[1..]);
    let (client, recorded) = (queue(&etcd), recorder.client(1));
    let session = Session::open(&client, Duration::from_secs(6))
        .await
        .unwrap();
    recorded.note_session(&session);
    let guard = recorded.lock(&session, "a").await.unwrap();

    recorder.disturbed(None, "a member dies", Duration::from_secs(3));
    etcd.members()[0].kill();

    assert!(timeout(Duration::from_secs(9), guard.lost()).await.is_err());
    assert!(guard.is_held());
    let write = etcd_lock_core::kv::PutRequest::new("b", "c");
    let written = guard.guard().fenced_txn().and_then(write).commit().await;
    assert!(written.unwrap().succeeded);
    recorder.finds_nothing().await;
}

/// What a waiter has missed is compacted away, and the server that it watched on is another one.
#[tokio::test]
async fn compaction_during_wait() {
    let mut etcd = RealEtcd::start().await;
    let recorder = Recorder::start(&etcd.endpoints());
    let (client, inspector) = (queue(&etcd), queue(&etcd));
    let (first, second) = (
        Session::open(&inspector, TTL).await.unwrap(),
        Session::open(&client, TTL).await.unwrap(),
    );
    let (holder, waiter) = (recorder.client(1), recorder.client(2));
    holder.note_session(&first);
    waiter.note_session(&second);
    let held = holder.lock(&first, "a").await.unwrap();
    let waiting = second.clone();
    let wait = tokio::spawn(async move { waiter.lock(&waiting, "a").await });
    entries(&inspector, "a", 2).await;

    recorder.disturbed(None, "the server restarts", Duration::from_secs(5));
    etcd.members()[0].restart().await;
    recorder.caught_up().await;
    held.unlock().await.unwrap();
    let revision = store::put(&inspector, "b", "c").await.get();
    let naive = Naive::connect(&etcd.endpoints()[0]).await;
    let compaction = pb::CompactionRequest {
        revision,
        physical: true,
    };
    KvClient::new(naive.0).compact(compaction).await.unwrap();

    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap();
    assert!(granted.unwrap().is_held());
    recorder.finds_nothing().await;
}

/// The control of the recorder: a caller that takes an operator's word for the deletion of its entry and goes on is found.
#[tokio::test]
async fn a_claim_that_goes_on_after_a_deletion_is_found() {
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
    let rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [Rule::Exclusion, Rule::Loss], "{violations:#?}");
}

/// A cluster that lost its data, or was restored from before the lock was taken, doesn't know the lock. Its holder learns
/// of that, and is refused.
#[tokio::test]
async fn restored_cluster_loses_locks() {
    let mut etcd = RealEtcd::start().await;
    let client = queue(&etcd);
    let session = Session::open(&client, Duration::from_secs(6))
        .await
        .unwrap();
    let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
    assert!(guard.is_held());

    etcd.members()[0].restart_empty().await;

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
        let mut maintenance = MaintenanceClient::new(self.0.clone());
        let status = maintenance.status(pb::StatusRequest {}).await;
        status.unwrap().into_inner().version
    }
}

fn transport(endpoints: &[String]) -> GrpcTransport {
    GrpcTransport::connect(endpoints, Options::new()).unwrap()
}

fn client_of(endpoints: &[String]) -> Client {
    Client::new(Queue::new(transport(endpoints)))
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
    view.unwrap().places.len()
}

/// Whether a lease's entry is there, and still there after what a member that was stopped has to make up for.
async fn stands(client: &Client, name: &str, lease: LeaseId) -> bool {
    sleep(Duration::from_millis(1500)).await;
    let name = etcd_lock_core::LockName::new(name.to_owned()).unwrap();
    let key = name.key(lease);
    store::get(client, key.as_bytes().clone()).await.is_some()
}

/// A member that isn't the leader: without the leader the others would have to elect one.
async fn follower(etcd: &mut RealEtcd) -> usize {
    for (index, endpoint) in etcd.endpoints().iter().enumerate() {
        let channel = Naive::connect(endpoint).await.0;
        let status = MaintenanceClient::new(channel)
            .status(pb::StatusRequest {})
            .await;
        let status = status.unwrap().into_inner();
        if status.header.unwrap().member_id != status.leader {
            return index;
        }
    }
    panic!("all members lead");
}
