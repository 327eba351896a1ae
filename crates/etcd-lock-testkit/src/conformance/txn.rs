//! Transactions: what they do, and that it is all or nothing.

use etcd_lock_core::kv::{
    Compare, DeleteRequest, OpResponse, PutRequest, RangeRequest, TxnRequest,
};
use etcd_lock_core::{Error, ErrorKind, LeaseId, Revision};

use crate::TestContext;
use crate::store::{self, keys, run, txn, txn_refused};

/// One branch is taken, and only that is done.
pub async fn only_one_branch_is_done(test: &TestContext) {
    let client = test.client().await;
    let create = TxnRequest::new()
        .when(Compare::create_revision("k", Revision::ZERO))
        .and_then(PutRequest::new("k", "first"))
        .or_else(RangeRequest::key("k"));

    let first = txn(&client, create.clone()).await;
    assert!(first.succeeded);
    assert_eq!(first.responses, [OpResponse::Put { prev_kv: None }]);

    let second = txn(&client, create).await;
    assert!(!second.succeeded);
    assert_eq!(second.kvs(0)[0].value, "first");
    assert_eq!(second.kvs(0)[0].create_revision, first.header.revision);
}

/// Operations are done in order, at one revision, and see what was done before them.
pub async fn operations_see_those_before_them(test: &TestContext) {
    let client = test.client().await;
    let before = store::put(&client, "t/0", "0").await;
    let request = TxnRequest::new()
        .and_then(PutRequest::new("t/1", "1"))
        .and_then(RangeRequest::prefix("t/"))
        .and_then(DeleteRequest::key("t/0"))
        .and_then(RangeRequest::prefix("t/"));

    let reply = txn(&client, request).await;

    assert_eq!(reply.header.revision, before.next());
    assert_eq!(keys(reply.kvs(1)), ["t/0", "t/1"]);
    assert_eq!(reply.kvs(1)[1].create_revision, before.next());
    assert_eq!(keys(reply.kvs(3)), ["t/1"]);
    let OpResponse::Range(nested) = &reply.responses[1] else {
        panic!("not a range: {reply:?}");
    };
    assert_eq!(nested.header.revision, before.next());
}

/// Reading, and deleting what isn't there, makes no revision.
pub async fn what_changes_nothing_makes_no_revision(test: &TestContext) {
    let client = test.client().await;
    let before = store::put(&client, "k", "v").await;
    assert_eq!(run(&client, RangeRequest::key("k")).await.1, before);
    let (reply, at) = run(&client, DeleteRequest::prefix("none/")).await;
    assert_eq!((deleted(&reply), at), (0, before));
    assert_eq!(
        txn(&client, TxnRequest::new()).await.header.revision,
        before
    );
}

/// The key as it was before is told where that is asked for.
pub async fn previous_values_are_told(test: &TestContext) {
    let client = test.client().await;
    let created = store::put(&client, "p/1", "old").await;
    store::put(&client, "p/2", "two").await;

    let (reply, _) = run(&client, PutRequest::new("p/1", "new").with_prev_kv()).await;
    let OpResponse::Put {
        prev_kv: Some(before),
    } = reply
    else {
        panic!("no previous value: {reply:?}");
    };
    assert_eq!(
        (&before.value[..], before.mod_revision),
        (&b"old"[..], created)
    );

    let (reply, _) = run(&client, DeleteRequest::prefix("p/").with_prev_kv()).await;
    assert_eq!(deleted(&reply), 2);
    let OpResponse::Delete { prev_kvs, .. } = reply else {
        unreachable!("it was a delete");
    };
    assert_eq!(keys(&prev_kvs), ["p/1", "p/2"]);
    assert_eq!(prev_kvs[0].value, "new");
}

/// A key may be written once a transaction.
pub async fn key_written_twice_is_refused(test: &TestContext) {
    let client = test.client().await;
    let twice = TxnRequest::new()
        .and_then(PutRequest::new("k", "1"))
        .and_then(PutRequest::new("k", "2"));
    is_invalid(
        &txn_refused(&client, twice).await,
        "duplicate key given in txn request",
    );
    let put_and_deleted = TxnRequest::new()
        .and_then(DeleteRequest::prefix("k"))
        .and_then(PutRequest::new("k", "2"));
    is_invalid(
        &txn_refused(&client, put_and_deleted).await,
        "duplicate key given in txn request",
    );
    assert_eq!(store::get(&client, "k").await, None);
}

/// More than 128 operations are too many.
pub async fn too_many_operations_are_refused(test: &TestContext) {
    let client = test.client().await;
    let of = |count: usize| {
        (0..count).fold(TxnRequest::new(), |request, index| {
            request.and_then(PutRequest::new(format!("many/{index}"), ""))
        })
    };
    is_invalid(
        &txn_refused(&client, of(129)).await,
        "too many operations in txn request",
    );
    assert_eq!(txn(&client, of(128)).await.responses.len(), 128);
}

/// An operation or condition without a key.
pub async fn empty_key_is_refused(test: &TestContext) {
    let client = test.client().await;
    for request in [
        TxnRequest::new().and_then(PutRequest::new("", "v")),
        TxnRequest::new().and_then(DeleteRequest::key("")),
        TxnRequest::new().and_then(RangeRequest::key("")),
        TxnRequest::new().or_else(PutRequest::new("", "v")),
        TxnRequest::new().when(Compare::value("", "v")),
    ] {
        is_invalid(&txn_refused(&client, request).await, "key is not provided");
    }
}

/// A key can't be attached to a lease that isn't there: then nothing of the transaction is done.
pub async fn unknown_lease_undoes_all_of_it(test: &TestContext) {
    let client = test.client().await;
    let before = store::put(&client, "before", "").await;
    let bad = PutRequest::new("bad", "").with_lease(LeaseId::new(0xdead).unwrap());
    let request = TxnRequest::new()
        .and_then(PutRequest::new("good", ""))
        .and_then(bad.clone());

    let error = txn_refused(&client, request).await;
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
    assert_eq!(
        error.server_text(),
        Some("etcdserver: requested lease not found"),
        "{error:?}"
    );
    assert_eq!(store::get(&client, "good").await, None);
    assert_eq!(store::put(&client, "after", "").await, before.next());

    // In the branch that isn't taken, nobody minds.
    assert!(txn(&client, TxnRequest::new().or_else(bad)).await.succeeded);
}

/// A request of more than 1.5 MiB is refused in words that say so, by whoever sees it first, and the client goes on.
pub async fn too_large_requests_are_refused(test: &TestContext) {
    let client = test.client().await;
    for size in [1_600_000, 3 << 20] {
        let large = TxnRequest::new().and_then(PutRequest::new("large", vec![b'x'; size]));
        let error = txn_refused(&client, large).await;
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
        assert!(error.to_string().contains("large"), "{error}");
        assert!(!error.is_outcome_unknown(), "{error:?}");
        assert_eq!(store::get(&client, "large").await, None);
    }
    let fits = PutRequest::new("large", vec![b'x'; 1_400_000]);
    run(&client, fits).await;
}

fn deleted(reply: &OpResponse) -> u64 {
    match reply {
        OpResponse::Delete { deleted, .. } => *deleted,
        other => panic!("not a delete: {other:?}"),
    }
}

fn is_invalid(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    let expected = format!("etcdserver: {text}");
    assert_eq!(error.server_text(), Some(expected.as_str()), "{error:?}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}
