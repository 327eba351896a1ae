//! Locks on an etcd that has authentication on: etcd's own clean-up has no token then, and tokens end during a wait.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_core::{Client, ErrorKind, LeaseId, lease, new};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::{authpb, v3lockpb};
use etcd_lock_session::{Mutex, Queue, Session};
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::test_context::PATIENCE;
use pb::auth_client::AuthClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use v3lockpb::lock_client::LockClient;

const TTL: Duration = Duration::from_secs(60);

/// etcd's own clean-up after a caller that is gone shows no token, and is refused.
#[tokio::test]
async fn auth_cancel_leaves_no_waiter() {
    let etcd = guarded(&[]).await;
    let inspector = queue(&etcd, WORKER);
    let holder = lease::grant(&inspector, TTL).await.unwrap().id;
    let ctx = new(&inspector).with_name("a").with_lease(holder);
    ctx.lock().await.unwrap();

    let waiter = lease::grant(&inspector, TTL).await.unwrap().id;
    let naive = Naive::log_in(&etcd).await;
    naive.lock("a", waiter, SHORT).await.unwrap_err();
    // As long as the entries of ours get to vanish.
    sleep(Duration::from_secs(2)).await;
    entries(&inspector, 2).await;
    lease::revoke(&inspector, waiter).await.unwrap();
    entries(&inspector, 1).await;

    for client in [plain(&etcd, WORKER), queue(&etcd, WORKER)] {
        let waiter = lease::grant(&client, TTL).await.unwrap().id;
        let ctx = new(&client).with_name("a").with_lease(waiter);
        let late = ctx.clone().with_timeout(SHORT).lock().await.unwrap_err();
        assert!(late.is_timeout(), "{late:?}");
        entries(&inspector, 1).await;

        let dropped = timeout(SHORT, ctx.lock()).await;
        assert!(dropped.is_err());
        entries(&inspector, 1).await;
    }
}

/// A token ends when it wasn't used for its time to live, and a wait doesn't use it.
#[tokio::test]
async fn wait_longer_than_token_ttl() {
    let etcd = guarded(&["--auth-token-ttl", "1"]).await;
    let inspector = queue(&etcd, WORKER);
    let session = Session::open(&inspector, TTL).await.unwrap();
    let mutex = Mutex::new(&session, "a").unwrap();
    let held = mutex.lock().await.unwrap();
    let leases = [(); 3].map(|()| lease::grant(&inspector, TTL));
    let mut leases = futures_util::future::try_join_all(leases).await.unwrap();
    let naive = Naive::log_in(&etcd).await;
    let lease = leases.pop().unwrap().id;
    let naive_wait = tokio::spawn(async move { naive.lock("a", lease, PATIENCE).await });
    entries(&inspector, 2).await;
    let mut waits = Vec::new();
    for (client, lease) in [plain(&etcd, WORKER), queue(&etcd, WORKER)]
        .into_iter()
        .zip(leases)
    {
        let ctx = new(&client).with_name("a").with_lease(lease.id);
        let wait = async move {
            let held = ctx.with_timeout(PATIENCE).lock().await?;
            etcd_lock_core::unlock(&client, &held.key).await
        };
        waits.push(tokio::spawn(wait));
        entries(&inspector, 2 + waits.len()).await;
    }
    let own = Session::open(&queue(&etcd, WORKER), TTL).await.unwrap();
    let own_wait = tokio::spawn(async move {
        let guard = Mutex::new(&own, "a").unwrap().lock().await?;
        guard.unlock().await
    });
    entries(&inspector, 5).await;

    sleep(Duration::from_secs(4)).await;
    held.unlock().await.unwrap();

    let refused = naive_wait.await.unwrap().unwrap_err();
    assert!(
        refused.message().contains("invalid auth token"),
        "{refused:?}"
    );
    // An entry that it left in the queue would stop everybody behind it.
    lease::revoke(&inspector, lease).await.unwrap();
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    own_wait.await.unwrap().unwrap();
    entries(&inspector, 0).await;
}

/// After a pause longer than the life of the token each kind of request logs in again by itself.
#[tokio::test]
async fn a_login_that_ended_is_renewed() {
    let etcd = guarded(&["--auth-token-ttl", "1"]).await;
    for client in [plain(&etcd, WORKER), queue(&etcd, WORKER)] {
        for _ in 0..2 {
            let lease = lease::grant(&client, TTL).await.unwrap().id;
            let ctx = new(&client).with_name("a").with_lease(lease);
            let held = ctx.lock().await.unwrap();
            sleep(Duration::from_millis(2500)).await;
            etcd_lock_core::unlock(&client, &held.key).await.unwrap();
            sleep(Duration::from_millis(2500)).await;
        }
        entries(&client, 0).await;
    }
}

/// At once, whatever the timeout.
#[tokio::test]
async fn who_may_not_is_told() {
    let etcd = guarded(&[]).await;
    let began = Instant::now();
    for (user, name, kind) in [
        (("worker", "wrong"), "a", ErrorKind::Unauthenticated),
        (("nobody", "at all"), "a", ErrorKind::Unauthenticated),
        (WORKER, "forbidden", ErrorKind::PermissionDenied),
    ] {
        for client in [plain(&etcd, user), queue(&etcd, user)] {
            let lease = LeaseId::new(7).unwrap();
            let ctx = new(&client).with_name(name).with_lease(lease);
            let error = ctx.lock().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{user:?} {error:?}");
            assert!(error.server_text().is_some(), "{error:?}");
            assert!(!format!("{error:?}").contains(user.1), "{error:?}");
        }
    }
    let strangers = [
        Client::new(GrpcTransport::connect(etcd.endpoints()).unwrap()),
        Queue::new(GrpcTransport::connect(etcd.endpoints()).unwrap()).into_client(),
    ];
    for client in strangers {
        let lease = LeaseId::new(7).unwrap();
        let ctx = new(&client).with_name("a").with_lease(lease);
        let error = ctx.lock().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    }
    assert!(began.elapsed() < PATIENCE);
}

/// As etcdctl does it.
#[tokio::test]
async fn a_login_where_none_is_needed_does_no_harm() {
    let etcd = RealEtcd::start().await;
    for client in [plain(&etcd, WORKER), queue(&etcd, WORKER)] {
        let lease = lease::grant(&client, TTL).await.unwrap().id;
        let held = new(&client).with_name("a").with_lease(lease).lock().await;
        let key = held.unwrap().key;
        etcd_lock_core::unlock(&client, &key).await.unwrap();
    }
}

/// May do with the lock "a" what a lock needs, and nothing else.
const WORKER: (&str, &str) = ("worker", "w-secret");
const ROOT: (&str, &str) = ("root", "r-secret");
const SHORT: Duration = Duration::from_millis(500);

/// An etcd with authentication on.
async fn guarded(flags: &[&str]) -> RealEtcd {
    let etcd = RealEtcd::with_flags(flags).await;
    let endpoint = Endpoint::from_shared(etcd.endpoints()[0].clone()).unwrap();
    let mut auth = AuthClient::new(endpoint.connect().await.unwrap());
    for ((name, password), role) in [(ROOT, "root"), (WORKER, "locks")] {
        let user = pb::AuthUserAddRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            options: None,
        };
        auth.user_add(user).await.unwrap();
        let new_role = pb::AuthRoleAddRequest {
            name: role.to_owned(),
        };
        // The role named root is there from the start in later versions.
        if let Err(status) = auth.role_add(new_role).await {
            assert!(status.message().contains("already exists"), "{status}");
        }
        let grant = pb::AuthUserGrantRoleRequest {
            user: name.to_owned(),
            role: role.to_owned(),
        };
        auth.user_grant_role(grant).await.unwrap();
    }
    let permission = authpb::Permission {
        perm_type: authpb::permission::Type::Readwrite.into(),
        key: Bytes::from("a/"),
        range_end: Bytes::from("a0"),
    };
    let grant = pb::AuthRoleGrantPermissionRequest {
        name: "locks".to_owned(),
        perm: Some(permission),
    };
    auth.role_grant_permission(grant).await.unwrap();
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    etcd
}

fn transport(etcd: &RealEtcd, (user, password): (&str, &str)) -> GrpcTransport {
    let options = ConnectOptions::new().with_login(user, password);
    GrpcTransport::connect(options.with_endpoints(etcd.endpoints())).unwrap()
}

fn plain(etcd: &RealEtcd, login: (&str, &str)) -> Client {
    Client::new(transport(etcd, login))
}

fn queue(etcd: &RealEtcd, login: (&str, &str)) -> Client {
    Queue::new(transport(etcd, login)).into_client()
}

/// Waits until the queue of "a" has so many entries.
async fn entries(client: &Client, count: usize) {
    let reached = async {
        loop {
            let view = etcd_lock_session::queue(client, "a").await.unwrap();
            if view.entries.len() == count {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("the queue never had {count} entries"));
}

/// A caller of etcd's RPC that logs in once, and takes it at its word.
struct Naive {
    channel: Channel,
    token: String,
}

impl Naive {
    async fn log_in(etcd: &RealEtcd) -> Self {
        let endpoint = Endpoint::from_shared(etcd.endpoints()[0].clone()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let request = pb::AuthenticateRequest {
            name: WORKER.0.to_owned(),
            password: WORKER.1.to_owned(),
        };
        let reply = AuthClient::new(channel.clone()).authenticate(request).await;
        let token = reply.unwrap().into_inner().token;
        Self { channel, token }
    }

    async fn lock(&self, name: &str, lease: LeaseId, bound: Duration) -> Result<Bytes, Status> {
        let mut request = Request::new(v3lockpb::LockRequest {
            name: Bytes::copy_from_slice(name.as_bytes()),
            lease: lease.get(),
        });
        let token = self.token.parse().unwrap();
        request.metadata_mut().insert("token", token);
        let call = async { LockClient::new(self.channel.clone()).lock(request).await };
        let late = |_| {
            Err(Status::new(
                Code::DeadlineExceeded,
                "the caller's own clock",
            ))
        };
        let reply = timeout(bound, call).await.unwrap_or_else(late)?;
        Ok(reply.into_inner().key)
    }
}
