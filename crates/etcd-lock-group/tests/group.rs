//! Transactions of several callers at the same time, over an in-memory etcd with faults.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_core::kv::{Compare, DeleteRequest, PutRequest, RangeRequest, TxnRequest};
use etcd_lock_core::{CallOptions, ErrorKind, LeaseId, Revision, Timeout, Transport};
use etcd_lock_group::GroupCommit;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_memory::model::{Model, ModelOptions};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_testkit::faults::{CallFault, FaultyTransport};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const LATENCY: Duration = Duration::from_millis(40);

#[tokio::test(start_paused = true)]
async fn a_transaction_alone_is_sent_as_it_is() {
    let (faults, group) = grouped();
    for round in 0..5 {
        group.txn(put(round), CallOptions::default()).await.unwrap();
    }
    assert_eq!(sizes(&faults), [1; 5]);
}

#[tokio::test(start_paused = true)]
async fn transactions_without_a_slot_share_a_request() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let begun = Instant::now();
    let replies = all(&group, (0..20).map(put)).await;
    assert!(replies.into_iter().all(|reply| reply.unwrap().succeeded));
    assert_eq!(sizes(&faults), [1, 19]);
    assert_eq!(begun.elapsed(), 2 * LATENCY);
}

#[tokio::test(start_paused = true)]
async fn transactions_that_come_together_share_a_request_in_a_free_slot() {
    let faults = FaultyTransport::new(&MemoryEtcd::new());
    let group = GroupCommit::with_slots(faults.clone(), 8);
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let begun = Instant::now();
    let replies = all(&group, (0..20).map(put)).await;
    assert!(replies.into_iter().all(|reply| reply.unwrap().succeeded));
    assert_eq!(sizes(&faults), [1, 19]);
    assert_eq!(begun.elapsed(), LATENCY);
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_the_reply_to_its_own_transaction() {
    let (faults, group) = grouped();
    for place in 0..20 {
        group.txn(put(place), CallOptions::default()).await.unwrap();
    }
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let read_and_write = |place: usize| {
        let key = format!("key/{place}");
        TxnRequest::new()
            .when(Compare::value(
                key.clone(),
                if place == 0 { "0" } else { "other" },
            ))
            .and_then(PutRequest::new(key.clone(), "then"))
            .or_else(RangeRequest::key(key))
            .or_else(PutRequest::new(format!("else/{place}"), ""))
    };
    let replies = all(&group, (0..20).map(read_and_write)).await;
    for (place, reply) in replies.into_iter().enumerate() {
        let reply = reply.unwrap();
        assert_eq!(reply.succeeded, place == 0, "{place}");
        if !reply.succeeded {
            assert_eq!(reply.kvs(0)[0].value, place.to_string());
        }
        assert!(reply.header.revision.get() > 1 && reply.header.cluster_id != 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_on_keys_that_are_under_way_is_sent_alone_at_once() {
    let faults = FaultyTransport::new(&MemoryEtcd::new());
    let group = GroupCommit::with_slots(faults.clone(), 1);
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let mut calls = JoinSet::new();
    let mut call = |txn: TxnRequest| {
        let group = group.clone();
        calls.spawn(async move { group.txn(txn, CallOptions::default()).await });
    };
    (0..10).map(put).for_each(&mut call);
    sleep(LATENCY + LATENCY / 4).await;
    // The nine that waited are under way now, in the only slot.
    call(put(9));
    call(TxnRequest::new().and_then(DeleteRequest::prefix("key/")));
    call(put(100).or_else(RangeRequest::prefix("key/").with_limit(2)));
    call(put(200));
    sleep(LATENCY / 4).await;
    assert_eq!(sizes(&faults), [1, 9, 1, 1, 1]);
    while let Some(reply) = calls.join_next().await {
        assert!(reply.unwrap().unwrap().succeeded);
    }
    assert_eq!(sizes(&faults), [1, 9, 1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn transactions_that_only_read_go_alone() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let read = |place| TxnRequest::new().and_then(RangeRequest::key(format!("key/{place}")));
    let begun = Instant::now();
    all(&group, (0..10).map(read)).await;
    assert_eq!(begun.elapsed(), LATENCY);
    assert_eq!(sizes(&faults), [1; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_culprits_alone() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let lease = LeaseId::new(0x77).unwrap();
    let txns = (0..20).map(|place| match place {
        11 => TxnRequest::new().and_then(PutRequest::new("key/11", "").with_lease(lease)),
        _ => put(place),
    });
    for (place, reply) in all(&group, txns).await.into_iter().enumerate() {
        match place {
            11 => {
                let error = reply.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::LeaseNotFound);
                assert!(!error.is_outcome_unknown());
            }
            _ => assert!(reply.unwrap().succeeded),
        }
    }
    assert_eq!(stored(&faults), 19);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_each_callers_and_nothing_is_sent_again() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let mut calls = JoinSet::new();
    for place in 0..20 {
        let group = group.clone();
        calls.spawn(async move { (place, group.txn(put(place), CallOptions::default()).await) });
    }
    sleep(LATENCY / 2).await;
    faults.on_calls(|_| Some(CallFault::ReplyLost));
    while let Some(call) = calls.join_next().await {
        let (place, reply) = call.unwrap();
        match place {
            0 => assert!(reply.unwrap().succeeded),
            _ => assert!(reply.unwrap_err().is_outcome_unknown()),
        }
    }
    assert_eq!(sizes(&faults), [1, 19]);
    assert_eq!(stored(&faults), 20);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_leaves_no_doubt_leaves_none_to_any_caller() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let mut calls = JoinSet::new();
    for place in 0..10 {
        let group = group.clone();
        calls.spawn(async move { (place, group.txn(put(place), CallOptions::default()).await) });
    }
    sleep(LATENCY / 2).await;
    faults.on_calls(|_| Some(CallFault::Refused));
    while let Some(call) = calls.join_next().await {
        let (place, reply) = call.unwrap();
        if place > 0 {
            let error = reply.unwrap_err();
            assert!(error.is_unavailable() && !error.is_outcome_unknown());
        }
    }
    assert_eq!(sizes(&faults), [1, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_dropped_before_it_is_sent_is_never_executed() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let mut others = JoinSet::new();
    for place in 0..10 {
        let group = group.clone();
        others.spawn(async move { group.txn(put(place), CallOptions::default()).await });
    }
    sleep(LATENCY / 2).await;
    let dropped = group.txn(put(77), CallOptions::default());
    assert!(timeout(LATENCY / 4, dropped).await.is_err());
    while let Some(reply) = others.join_next().await {
        assert!(reply.unwrap().unwrap().succeeded);
    }
    assert_eq!(stored(&faults), 10);
    // Its key is free again: a later transaction on it need not go alone.
    assert_eq!(all(&group, (70..80).map(put)).await.len(), 10);
    assert_eq!(sizes(&faults), [1, 9, 1, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_dropped_after_it_was_sent_cancels_no_other() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let mut calls = JoinSet::new();
    for place in 0..10 {
        let group = group.clone();
        let call = async move { group.txn(put(place), CallOptions::default()).await };
        let patience = if place == 9 {
            LATENCY * 3 / 2
        } else {
            LATENCY * 9
        };
        calls.spawn(async move { (place, timeout(patience, call).await) });
    }
    while let Some(call) = calls.join_next().await {
        let (place, reply) = call.unwrap();
        assert_eq!(reply.is_err(), place == 9);
        assert!(place == 9 || reply.unwrap().unwrap().succeeded);
    }
    assert_eq!(stored(&faults), 10);
}

#[tokio::test(start_paused = true)]
async fn each_caller_times_out_by_itself() {
    let (faults, group) = grouped();
    let latency = LATENCY * 3;
    faults.on_calls(move |_| Some(CallFault::Slow(latency)));
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for place in 0..10_u32 {
        let group = group.clone();
        let patience = match place {
            8 => latency / 2,
            9 => latency * 3 / 2,
            _ => latency * 9,
        };
        let options = CallOptions::new(Timeout::After(patience));
        calls.spawn(async move { (place, group.txn(put(place as usize), options).await) });
    }
    while let Some(call) = calls.join_next().await {
        let (place, reply) = call.unwrap();
        match place {
            // It was not sent, and its caller knows.
            8 => {
                let error = reply.unwrap_err();
                assert!(error.is_timeout() && !error.is_outcome_unknown());
                assert_eq!(begun.elapsed(), latency / 2);
            }
            9 => {
                let error = reply.unwrap_err();
                assert!(error.is_timeout() && error.is_outcome_unknown());
                assert_eq!(begun.elapsed(), latency * 3 / 2);
            }
            _ => assert!(reply.unwrap().succeeded),
        }
    }
    assert_eq!(sizes(&faults), [1, 8]);
    assert_eq!(faults.sent()[1].timeout, Timeout::After(latency * 8));
    assert_eq!(stored(&faults), 9);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_does_not_keep_its_slot() {
    let (faults, group) = grouped();
    let hang = Duration::from_secs(5);
    faults.on_calls(move |_| Some(CallFault::Slow(hang)));
    let mut hanging = JoinSet::new();
    for place in 0..2 {
        let group = group.clone();
        hanging.spawn(async move { group.txn(put(place), CallOptions::default()).await });
    }
    sleep(LATENCY).await;
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let begun = Instant::now();
    for reply in all(&group, (10..20).map(put)).await {
        assert!(reply.unwrap().succeeded);
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    while let Some(reply) = hanging.join_next().await {
        assert!(reply.unwrap().unwrap().succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_smaller_limit_of_the_server_is_learnt() {
    let options = ModelOptions::new().with_max_txn_ops(20);
    let faults = FaultyTransport::new(&MemoryEtcd::from(Model::new(options)));
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let group = GroupCommit::new(faults.clone());
    for round in 0..3 {
        let replies = all(&group, (round * 100..round * 100 + 60).map(put)).await;
        assert!(replies.into_iter().all(|reply| reply.unwrap().succeeded));
    }
    let refused: Vec<_> = sizes(&faults)
        .into_iter()
        .filter(|size| *size > 20)
        .collect();
    assert!(!refused.is_empty() && refused.len() <= 3, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn many_transactions_fit_into_requests_that_etcd_takes() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    // Each with four operations in one branch and six permissions to check.
    let large = |place: usize| {
        let key = |part: &str| format!("{place}/{part}");
        TxnRequest::new()
            .when(Compare::create_revision(key("x"), Revision::ZERO))
            .and_then(PutRequest::new(key("a"), "").with_prev_kv())
            .and_then(PutRequest::new(key("b"), vec![0; 4_000]))
            .and_then(DeleteRequest::prefix(key("c")))
            .and_then(RangeRequest::prefix(key("d")).with_limit(8))
            .or_else(DeleteRequest::key(key("e")))
    };
    for reply in all(&group, (0..500).map(large)).await {
        assert!(reply.unwrap().succeeded);
    }
    assert!(sizes(&faults).len() > 20, "all in {:?}", sizes(&faults));
    assert!(sizes(&faults).into_iter().max() >= Some(4));
}

#[test]
fn a_runtime_that_ends_leaves_its_callers_in_doubt_and_harms_no_other() {
    let (faults, group) = grouped();
    faults.on_calls(|_| Some(CallFault::Slow(LATENCY)));
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap()
    };
    let first = runtime();
    let call = |place: usize| {
        let group = group.clone();
        async move { group.txn(put(place), CallOptions::default()).await }
    };
    let calls: Vec<_> = (0..10).map(|place| first.spawn(call(place))).collect();
    first.block_on(async { sleep(LATENCY * 3 / 2).await });
    drop(first);
    drop(calls);

    let replies = runtime().block_on(all(&group, (10..20).map(put)));
    assert!(replies.into_iter().all(|reply| reply.unwrap().succeeded));
}

/// Makes all calls at once, and gives their replies in order.
async fn all(
    group: &GroupCommit,
    txns: impl Iterator<Item = TxnRequest>,
) -> Vec<etcd_lock_core::Result<etcd_lock_core::kv::TxnResponse>> {
    let calls: Vec<_> = txns
        .map(|txn| {
            let group = group.clone();
            tokio::spawn(async move { group.txn(txn, CallOptions::default()).await })
        })
        .collect();
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap());
    }
    replies
}

/// With one slot: all but the first transaction wait for it.
fn grouped() -> (FaultyTransport, GroupCommit) {
    let faults = FaultyTransport::new(&MemoryEtcd::new());
    (faults.clone(), GroupCommit::with_slots(faults, 1))
}

fn put(place: usize) -> TxnRequest {
    TxnRequest::new().and_then(PutRequest::new(format!("key/{place}"), place.to_string()))
}

/// How many transactions each request carried.
fn sizes(faults: &FaultyTransport) -> Vec<usize> {
    faults.sent().iter().map(|sent| sent.members).collect()
}

/// How many keys there are, each put once.
fn stored(faults: &FaultyTransport) -> usize {
    let all = pb::RangeRequest {
        key: b"\0".to_vec().into(),
        range_end: b"\0".to_vec().into(),
        ..pb::RangeRequest::default()
    };
    let kvs = faults.etcd().with(|model| model.range(&all).unwrap().kvs);
    assert!(kvs.iter().all(|kv| kv.version == 1));
    kvs.len()
}
