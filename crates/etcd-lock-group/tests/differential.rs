//! Transactions that share requests against the same transactions sent alone.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_core::kv::{
    Compare, DeleteRequest, OpResponse, PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use etcd_lock_core::{CallOptions, Result, Revision, Transport};
use etcd_lock_group::GroupCommit;
use etcd_lock_memory::MemoryEtcd;
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_testkit::faults::{CallFault, FaultyTransport};
use proptest::prelude::*;

/// Some keys of one caller; no other caller uses them.
fn key(caller: usize, key: u8) -> String {
    format!("{caller}/{}", char::from(b'a' + key))
}

/// A transaction of a caller on its own keys: comparisons, reads and writes in both branches.
fn txn() -> impl Strategy<Value = Vec<(u8, u8)>> + Clone {
    prop::collection::vec((0_u8..9, 0_u8..3), 1..6)
}

fn build(caller: usize, parts: &[(u8, u8)]) -> TxnRequest {
    let mut txn = TxnRequest::new();
    let (mut then, mut otherwise) = (Vec::new(), Vec::new());
    for (kind, at) in parts {
        let key = key(caller, *at);
        match kind {
            0 => txn = txn.when(Compare::create_revision(key, Revision::ZERO)),
            1 => txn = txn.when(Compare::value(key, "then")),
            2 if !then.contains(at) => {
                then.push(*at);
                txn = txn.and_then(PutRequest::new(key, "then").with_prev_kv());
            }
            3 if !otherwise.contains(at) => {
                otherwise.push(*at);
                txn = txn.or_else(PutRequest::new(key, "else"));
            }
            4 if !then.contains(at) => txn = txn.and_then(DeleteRequest::key(key).with_prev_kv()),
            5 if !otherwise.contains(at) => {
                txn = txn.or_else(DeleteRequest::key(key));
                otherwise.push(*at);
            }
            6 => txn = txn.and_then(RangeRequest::key(key)),
            7 => txn = txn.or_else(RangeRequest::prefix(format!("{caller}/")).with_limit(2)),
            _ => {
                txn = txn.and_then(
                    RangeRequest::prefix(format!("{caller}/"))
                        .keys_only()
                        .with_limit(8),
                )
            }
        }
    }
    txn
}

/// A reply without what tells the time: revisions differ where transactions are executed in another order.
fn shape(reply: Result<TxnResponse>) -> std::result::Result<(bool, Vec<String>), String> {
    let reply = reply.map_err(|error| format!("{:?} {:?}", error.kind(), error.server_text()))?;
    let kvs = |kvs: &[etcd_lock_core::kv::KeyValue]| {
        let shown = kvs
            .iter()
            .map(|kv| format!("{:?}={:?} v{}", kv.key, kv.value, kv.version));
        shown.collect::<Vec<_>>().join(" ")
    };
    let ops = reply.responses.iter().map(|op| match op {
        OpResponse::Delete { deleted, prev_kvs } => format!("deleted {deleted} {}", kvs(prev_kvs)),
        OpResponse::Put { prev_kv } => format!("put over {}", kvs(prev_kv.as_slice())),
        OpResponse::Range(range) => {
            format!("{} of {} {}", kvs(&range.kvs), range.count, range.more)
        }
        other => format!("{other:?}"),
    });
    Ok((reply.succeeded, ops.collect()))
}

fn contents(etcd: &MemoryEtcd) -> Vec<(bytes::Bytes, bytes::Bytes, i64)> {
    let all = pb::RangeRequest {
        key: b"\0".to_vec().into(),
        range_end: b"\0".to_vec().into(),
        ..pb::RangeRequest::default()
    };
    let kvs = etcd.with(|model| model.range(&all).unwrap().kvs);
    kvs.into_iter()
        .map(|kv| (kv.key, kv.value, kv.version))
        .collect()
}

proptest! {
    #[test]
    fn replies_and_keys_are_those_of_transactions_sent_alone(
        callers in prop::collection::vec(prop::collection::vec(txn(), 1..5), 1..24),
        slots in 1_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let alone = MemoryEtcd::new();
            let faults = FaultyTransport::new(&MemoryEtcd::new());
            faults.on_calls(|_| Some(CallFault::Slow(Duration::from_millis(5))));
            let group = GroupCommit::with_slots(faults.clone(), slots);
            let mut tasks = Vec::new();
            for (caller, txns) in callers.iter().enumerate() {
                let txns: Vec<_> = txns.iter().map(|parts| build(caller, parts)).collect();
                let (group, alone) = (group.clone(), alone.clone());
                tasks.push(tokio::spawn(async move {
                    for txn in txns {
                        let grouped = group.txn(txn.clone(), CallOptions::default()).await;
                        let expected = alone.txn(txn, CallOptions::default()).await;
                        assert_eq!(shape(grouped), shape(expected));
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(contents(faults.etcd()), contents(&alone));
        });
    }
}
