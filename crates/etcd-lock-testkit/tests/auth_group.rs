//! Group commit on an etcd that has authentication on: etcd does not check permissions inside nested transactions.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::collections::BTreeSet;
use std::path::Path;

use etcd_lock_core::kv::{
    Compare, DeleteRequest, Op, PutRequest, RangeRequest, TxnRequest, TxnResponse,
};
use etcd_lock_core::{CallOptions, ErrorKind, Result, Revision, Transport};
use etcd_lock_group::GroupCommit;
use etcd_lock_grpc::{ConnectOptions, GrpcTransport};
use etcd_lock_testkit::RealEtcd;
use etcd_lock_testkit::real_etcd::{default_program, program_35};

/// May read and write below `a/`, write below `w/`, and nothing else.
const WORKER: (&str, &str) = ("worker", "w-secret");

#[tokio::test]
async fn a_group_needs_the_permissions_of_its_members_on_3_4() {
    permissions(&default_program()).await;
}

#[tokio::test]
async fn a_group_needs_the_permissions_of_its_members_on_3_5() {
    permissions(&program_35()).await;
}

/// On one etcd, since each takes seconds to start.
async fn permissions(program: &Path) {
    let etcd = guarded(program).await;
    members_without_permission_are_refused_and_no_others(&etcd).await;
    clients_without_login_are_refused(&etcd).await;
    bare_nested_transactions_are_not_checked(&etcd).await;
}

async fn members_without_permission_are_refused_and_no_others(etcd: &RealEtcd) {
    let transport = transport(etcd, ConnectOptions::new().with_login(WORKER.0, WORKER.1));
    for (what, forbidden) in forbidden() {
        let alone = transport.txn(forbidden.clone(), CallOptions::default());
        let alone = alone.await.unwrap_err();
        assert_eq!(alone.kind(), ErrorKind::PermissionDenied, "{what}");

        let before = (0..12).map(|place| put(what, place));
        let after = (12..24).map(|place| put(what, place));
        let txns = before.chain([forbidden]).chain(after).collect();
        for (place, reply) in at_once(&transport, txns).await.into_iter().enumerate() {
            match place {
                12 => {
                    let error = reply.expect_err(what);
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}");
                    assert!(!error.is_outcome_unknown(), "{what}");
                }
                _ => assert!(reply.unwrap().succeeded, "{what}"),
            }
        }
    }
    // etcd lets a transaction read what a put replaces without the permission to read.
    let txns = (0..6).map(|place| put("replaced", place));
    let replaced = TxnRequest::new().and_then(PutRequest::new("w/kept", "kept").with_prev_kv());
    for reply in at_once(&transport, txns.chain([replaced]).collect()).await {
        assert!(reply.unwrap().succeeded);
    }
    let keys = etcd.etcdctl(0, &["get", "--prefix", "b/", "--keys-only"]);
    assert_eq!(keys.await.trim(), "b/there");
    let kept = etcd.etcdctl(0, &["get", "--prefix", "w/", "--print-value-only"]);
    assert_eq!(kept.await.trim(), "kept");

    // What is allowed shares requests: members of one have one revision.
    let txns = (0..24).map(|place| put("shared", place)).collect();
    let replies = at_once(&transport, txns).await;
    let revisions = replies
        .into_iter()
        .map(|reply| reply.unwrap().header.revision);
    assert!(revisions.collect::<BTreeSet<_>>().len() <= 4);
}

async fn clients_without_login_are_refused(etcd: &RealEtcd) {
    let transport = transport(etcd, ConnectOptions::new());
    let txns = (0..24).map(|place| put("stranger", place)).collect();
    for reply in at_once(&transport, txns).await {
        let error = reply.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    }
    let keys = etcd.etcdctl(0, &["get", "--prefix", "a/stranger", "--keys-only"]);
    assert_eq!(keys.await.trim(), "");
}

/// The control: without the permissions in the other branch etcd executes what its user may not do.
async fn bare_nested_transactions_are_not_checked(etcd: &RealEtcd) {
    let transport = transport(etcd, ConnectOptions::new().with_login(WORKER.0, WORKER.1));
    let inside = TxnRequest::new().and_then(PutRequest::new("b/written", ""));
    let outer = TxnRequest::new().and_then(inside);
    let reply = transport.txn(outer, CallOptions::default()).await;
    assert!(reply.unwrap().succeeded);
}

/// Transactions that need a permission which the worker lacks, each for another reason.
fn forbidden() -> Vec<(&'static str, TxnRequest)> {
    let txn = TxnRequest::new;
    let put_allowed = || txn().and_then(PutRequest::new("a/allowed", ""));
    let is_absent = Compare::create_revision("b/there", Revision::ZERO);
    let mut beyond = RangeRequest::key("a/x").with_limit(2);
    beyond.range_end = "b/z".into();
    let mut delete_beyond = DeleteRequest::key("a/x");
    delete_beyond.range_end = "b/z".into();
    vec![
        ("put", txn().and_then(PutRequest::new("b/new", ""))),
        (
            "put in the other branch",
            put_allowed().or_else(PutRequest::new("b/new", "")),
        ),
        ("delete", txn().and_then(DeleteRequest::key("b/there"))),
        (
            "delete of a range",
            txn().and_then(DeleteRequest::prefix("b/")),
        ),
        (
            "delete of a range that begins where it is allowed",
            txn().and_then(delete_beyond),
        ),
        ("read", put_allowed().and_then(RangeRequest::key("b/there"))),
        (
            "read of a range",
            put_allowed().or_else(RangeRequest::prefix("b/").with_limit(2)),
        ),
        (
            "read of a range that begins where it is allowed",
            put_allowed().and_then(beyond),
        ),
        ("comparison", put_allowed().when(is_absent)),
        (
            "previous value of a deletion",
            txn().and_then(DeleteRequest::key("w/kept").with_prev_kv()),
        ),
    ]
}

/// Has all wait for one slot, so that all but the first share a request.
async fn at_once(transport: &GrpcTransport, txns: Vec<TxnRequest>) -> Vec<Result<TxnResponse>> {
    let group = GroupCommit::with_slots(transport.clone(), 1);
    let calls = txns.into_iter().map(|txn| {
        let group = group.clone();
        async move { group.txn(txn, CallOptions::default()).await }
    });
    futures_util::future::join_all(calls).await
}

fn put(what: &str, place: usize) -> TxnRequest {
    let key = format!("a/{what}/{place}");
    TxnRequest::new()
        .when(Compare::create_revision(key.clone(), Revision::ZERO))
        .and_then(Op::from(PutRequest::new(key.clone(), "")))
        .or_else(RangeRequest::key(key))
}

async fn guarded(program: &Path) -> RealEtcd {
    let mut etcd = RealEtcd::of_program(program).await;
    etcd.etcdctl(0, &["put", "b/there", ""]).await;
    etcd.etcdctl(0, &["put", "w/kept", "kept"]).await;
    etcd.enable_auth(&[WORKER], "a/").await;
    let grant = [
        "role",
        "grant-permission",
        "locks",
        "--prefix=true",
        "write",
        "w/",
    ];
    etcd.etcdctl(0, &grant).await;
    etcd
}

fn transport(etcd: &RealEtcd, options: ConnectOptions) -> GrpcTransport {
    GrpcTransport::connect(options.with_endpoints(etcd.endpoints())).unwrap()
}
