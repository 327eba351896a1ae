//! The database is full: etcd refuses writes that would make it larger.

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
    let released = held.unlock().await;
    if let Err(error) = &released {
        // The lease can be revoked, whatever the size.
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
        holding.close().await.unwrap();
    }
    let granted = timeout(PATIENCE, wait).await.unwrap().unwrap();
    if let Err(error) = &granted {
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
    }
    let is_served = released.is_ok() && granted.is_ok();
    assert!(is_served || some_member_refuses_deletions(&stage).await);
    if let Ok(guard) = granted {
        let granted = history.granted(guard);
        assert!(granted.guard.is_held() && waiting.is_alive());
        make_room(&stage).await;
        granted.unlock().await.unwrap();
    } else {
        make_room(&stage).await;
    }

    let began = Instant::now();
    let guard = timeout(PATIENCE, third.lock()).await.unwrap().unwrap();
    let granted = history.granted(guard);
    write_until_success(&granted.guard, began).await;
    let recovery = began.elapsed();
    granted.unlock().await.unwrap();
    history.check();
    stage.has_entries("a", 0).await;
    let callers = if is_served {
        "released and granted; writes and entries refused until there was room"
    } else {
        "all transactions refused, as etcd refuses those that delete; closing the session freed the lock"
    };
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

/// Whether a member refuses even a transaction that only deletes. Some etcds do, by the size of the member's own file.
async fn some_member_refuses_deletions(stage: &Stage) -> bool {
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
    for endpoint in stage.etcd.endpoints() {
        let mut client = KvClient::new(connect(&endpoint).await);
        if let Err(status) = client.txn(transaction.clone()).await {
            assert!(
                status.message().contains("database space exceeded"),
                "{status}"
            );
            return true;
        }
    }
    false
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
