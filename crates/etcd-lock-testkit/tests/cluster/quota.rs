//! The database is full: etcd refuses what would make it larger, and takes what doesn't.

use std::time::Duration;

use etcd_lock_core::ErrorKind;
use etcd_lock_core::kv::PutRequest;
use etcd_lock_proto::etcdserverpb as pb;
use pb::kv_client::KvClient;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PATIENCE, connect, write_until_success};
use crate::{History, Report, Stage, Version};

scenarios! {
    quota_reached_release_and_grant_succeed_and_new_entries_are_refused_until_there_is_room
}

async fn quota_reached_release_and_grant_succeed_and_new_entries_are_refused_until_there_is_room(
    version: Version,
) {
    let report = Report::of("quota of the database reached", version);
    let flags = ["--quota-backend-bytes", "4000000"];
    let stage = Stage::with(version.setup().flags(&flags)).await;
    let (holder, waiter) = (stage.caller().await, stage.caller().await);
    let late = stage.caller().await;
    let (holding, first) = holder.mutex("a").await;
    let (waiting, second) = waiter.mutex("a").await;
    let (_session, third) = late.mutex("a").await;
    let history = History::default();
    let held = history.granted(first.lock().await.unwrap());
    let wait = tokio::spawn(async move { second.lock().await });
    stage.has_entries("a", 2).await;

    fill(&stage).await;
    let write = PutRequest::new("a-written", "x");
    let refused = held.guard.fenced_txn().and_then(write).commit().await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    let refused = third.lock().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted, "{refused:?}");
    // Longer than a lease of 10 s lives that isn't renewed.
    sleep(Duration::from_secs(11)).await;
    assert!(held.guard.is_held());
    let is_refused = refuses_deletions(&stage).await;
    let callers = match held.unlock().await {
        Ok(()) => {
            assert!(!is_refused && holding.is_alive());
            "released and granted; writes refused until there was room"
        }
        // This etcd takes no transaction at all, but it does revoke leases.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
            assert!(is_refused && holding.is_alive());
            holding.close().await.unwrap();
            "release refused as etcd refuses it; freed by closing the session, and granted"
        }
    };
    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap().unwrap();
    let granted = history.granted(granted);

    make_room(&stage).await;
    let recovery = write_until_success(&granted.guard, Instant::now()).await;
    granted.unlock().await.unwrap();
    history
        .granted(third.lock().await.unwrap())
        .unlock()
        .await
        .unwrap();
    history.check();
    assert!(waiting.is_alive());
    stage.has_entries("a", 0).await;
    report.recovered(callers, recovery);
}

/// Writes until etcd has no room.
async fn fill(stage: &Stage) {
    let value = "x".repeat(100_000);
    for number in 0.. {
        let put = ["put", &format!("fill-{number}"), &value];
        if let Err(error) = stage.etcd.try_etcdctl(0, &put).await {
            assert!(error.contains("database space exceeded"), "{error}");
            return;
        }
    }
}

/// Whether this etcd refuses even a transaction that only deletes. Some do, from a certain size of the database on.
async fn refuses_deletions(stage: &Stage) -> bool {
    let delete = pb::DeleteRangeRequest {
        key: "nothing".into(),
        ..pb::DeleteRangeRequest::default()
    };
    let delete = pb::request_op::Request::RequestDeleteRange(delete);
    let transaction = pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(delete),
        }],
        ..pb::TxnRequest::default()
    };
    let mut client = KvClient::new(connect(&stage.etcd.endpoints()[0]).await);
    match client.txn(transaction).await {
        Ok(_) => false,
        Err(status) => {
            assert!(
                status.message().contains("database space exceeded"),
                "{status}"
            );
            true
        }
    }
}

/// As an operator does: deletes, compacts, defragments, and disarms the alarm.
async fn make_room(stage: &Stage) {
    stage.etcd.etcdctl(0, &["del", "fill-", "--prefix"]).await;
    let revision = stage.revision().await;
    stage.etcd.etcdctl(0, &["compact", &revision]).await;
    for member in 0..3 {
        stage.etcd.etcdctl(member, &["defrag"]).await;
    }
    stage.etcd.etcdctl(0, &["alarm", "disarm"]).await;
}
