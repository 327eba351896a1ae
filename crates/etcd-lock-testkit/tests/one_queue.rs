//! Clients of all kinds wait in one queue.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::process::Stdio;
use std::time::Duration;

use etcd_lock_core::{Client, lease, new};
use etcd_lock_grpc::GrpcTransport;
use etcd_lock_session::{Mutex, Queue, Session, queue};
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::test_context::PATIENCE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(60);

/// `etcdctl lock` is Go's `concurrency.Mutex`. Everybody holds the lock for a moment, so that who was granted it out of
/// turn would come into the list too early.
#[tokio::test]
async fn interop_etcdctl_go_queue_order() {
    let etcd = RealEtcd::start().await;
    let transport = GrpcTransport::connect(etcd.endpoints()).unwrap();
    let plain = Client::new(transport.clone());
    let client = Queue::new(transport).into_client();
    let session = Session::open(&client, TTL).await.unwrap();
    let first = Mutex::new(&session, "job").unwrap().lock().await.unwrap();
    let (granted, mut order) = unbounded_channel();
    for round in 0..3 {
        etcdctl(&etcd, granted.clone(), round);
        queued(&client, 3 * round + 2).await;
        v3lock(&plain, granted.clone(), round).await;
        queued(&client, 3 * round + 3).await;
        ours(&client, granted.clone(), round).await;
        queued(&client, 3 * round + 4).await;
    }
    drop(granted);

    first.unlock().await.unwrap();

    for round in 0..3 {
        for kind in ["etcdctl", "v3lock", "ours"] {
            let next = timeout(PATIENCE, order.recv()).await.unwrap();
            assert_eq!(next, Some((kind, round)));
        }
    }
}

type Granted = UnboundedSender<(&'static str, usize)>;

fn etcdctl(etcd: &RealEtcd, granted: Granted, round: usize) {
    let mut child: Child = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            &etcd.endpoints()[0],
            "lock",
            "job",
            "--",
            "sh",
            "-c",
            "echo in; read line",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::spawn(async move {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("in"));
        granted.send(("etcdctl", round)).unwrap();
        moment().await;
        child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        child.wait().await.unwrap();
    });
}

async fn v3lock(client: &Client, granted: Granted, round: usize) {
    let client = client.clone();
    let lease = lease::grant(&client, TTL).await.unwrap().id;
    tokio::spawn(async move {
        let ctx = new(&client).with_name("job").with_lease(lease);
        let held = ctx.with_timeout(PATIENCE).lock().await.unwrap();
        granted.send(("v3lock", round)).unwrap();
        moment().await;
        etcd_lock_core::unlock(&client, held.key.as_bytes().clone())
            .await
            .unwrap();
    });
}

async fn ours(client: &Client, granted: Granted, round: usize) {
    let session = Session::open(client, TTL).await.unwrap();
    tokio::spawn(async move {
        let guard = Mutex::new(&session, "job").unwrap().lock().await.unwrap();
        granted.send(("ours", round)).unwrap();
        moment().await;
        guard.unlock().await.unwrap();
    });
}

async fn queued(client: &Client, places: usize) {
    let reached = async {
        while queue(client, "job").await.unwrap().entries.len() != places {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

async fn moment() {
    sleep(Duration::from_millis(20)).await;
}
