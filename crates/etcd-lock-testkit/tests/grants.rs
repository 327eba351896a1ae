//! The permissions that a user of etcd needs for a lock: read and write the keys that begin with its name and a slash.
//! The page on operations says so, too.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::path::PathBuf;
use std::time::Duration;

use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::{Client, Error, ErrorKind, lease, new, unlock};
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_session::{Mutex, Queue, Session, queue};
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::real_etcd::{Setup, default_program, program_35};
use etcd_lock_testkit::test_context::PATIENCE;

const TTL: Duration = Duration::from_secs(60);
const WORKER: (&str, &str) = ("worker", "w-secret");

#[tokio::test]
async fn grant_of_the_prefix_is_enough_for_all_uses_of_a_lock() {
    for program in programs() {
        let etcd = guarded(program).await;
        let client = queueing(&etcd, WORKER);
        uses_of_a_session(&client).await.unwrap();
        for client in [client, plain(&etcd, WORKER)] {
            uses_of_a_lease(&client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn less_than_the_prefix_is_refused() {
    for program in programs() {
        let etcd = guarded(program).await;
        for (name, permission, range) in [
            ("reader", "read", ["a/", "a0"]),
            ("writer", "write", ["a/", "a0"]),
            // All entries are in it, but the queue is read as a whole.
            ("part", "readwrite", ["a/0", "a/g"]),
        ] {
            grant(&etcd, name, permission, range).await;
            for client in [queueing(&etcd, (name, "x")), plain(&etcd, (name, "x"))] {
                let error = uses_of_a_lease(&client).await.unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::PermissionDenied,
                    "{name} {error:?}"
                );
            }
        }
        let other = Session::open(&queueing(&etcd, WORKER), TTL).await.unwrap();
        let error = Mutex::new(&other, "ab").unwrap().lock().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    }
}

/// The keys that it writes have grants of their own.
#[tokio::test]
async fn fenced_write_needs_a_grant_of_its_key() {
    for program in programs() {
        let etcd = guarded(program).await;
        let session = Session::open(&queueing(&etcd, WORKER), TTL).await.unwrap();
        let guard = Mutex::new(&session, "a").unwrap().lock().await.unwrap();
        let write = || {
            guard
                .fenced_txn()
                .and_then(PutRequest::new("data", "1"))
                .commit()
        };
        let error = write().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        let permission = ["role", "grant-permission", "locks", "readwrite", "data"];
        etcd.etcdctl(0, &permission).await;
        write().await.unwrap();
        guard.unlock().await.unwrap();
    }
}

/// A lock that is waited for, looked at, handed over and released.
async fn uses_of_a_session(client: &Client) -> Result<(), Error> {
    let (first, second) = (
        Session::open(client, TTL).await?,
        Session::open(client, TTL).await?,
    );
    let held = Mutex::new(&first, "a")?.lock().await?;
    let waits = Mutex::new(&second, "a")?;
    assert_eq!(waits.try_lock().await.unwrap_err().kind(), ErrorKind::Busy);
    let waiting = tokio::spawn(async move { waits.lock_timeout(PATIENCE).await });
    while queue(client, "a").await?.entries.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    held.fenced_txn().commit().await?;
    held.unlock().await?;
    waiting.await.unwrap()?.unlock().await?;
    first.close().await?;
    second.close().await
}

/// As eetcd's functions do it.
async fn uses_of_a_lease(client: &Client) -> Result<(), Error> {
    let lease = lease::grant(client, TTL).await?.id;
    let held = new(client).with_name("a").with_lease(lease).lock().await?;
    assert_eq!(lease::time_to_live(client, lease).await?.keys.len(), 1);
    unlock(client, &held.key).await?;
    lease::revoke(client, lease).await?;
    Ok(())
}

/// etcd 3.4 as it is installed, and 3.5.
fn programs() -> [PathBuf; 2] {
    [default_program(), program_35()]
}

/// An etcd where the worker may read and write what begins with `a/`.
async fn guarded(program: PathBuf) -> RealEtcd {
    let mut etcd = Setup::new().program(program).start().await;
    etcd.enable_auth(&[WORKER], "a/").await;
    etcd
}

/// Adds a user who may do this and nothing else.
async fn grant(etcd: &RealEtcd, name: &str, permission: &str, [from, to]: [&str; 2]) {
    etcd.etcdctl(0, &["user", "add", &format!("{name}:x")])
        .await;
    etcd.etcdctl(0, &["role", "add", name]).await;
    etcd.etcdctl(0, &["role", "grant-permission", name, permission, from, to])
        .await;
    etcd.etcdctl(0, &["user", "grant-role", name, name]).await;
}

fn queueing(etcd: &RealEtcd, login: (&str, &str)) -> Client {
    Queue::new(transport(etcd, login)).into_client()
}

/// With etcd's own `Lock` RPC.
fn plain(etcd: &RealEtcd, login: (&str, &str)) -> Client {
    Client::new(transport(etcd, login))
}

fn transport(etcd: &RealEtcd, (user, password): (&str, &str)) -> GrpcTransport {
    let options = ConnectOptions::new().with_login(user, password);
    GrpcTransport::connect(options.with_endpoints(etcd.endpoints())).unwrap()
}
