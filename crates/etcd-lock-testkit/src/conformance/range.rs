//! Reading keys, as etcd does it.

use bytes::Bytes;
use etcd_lock_core::ErrorKind;
use etcd_lock_core::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};

use crate::TestContext;
use crate::store::{self, keys, range, range_refused};

/// A key comes with its value and numbers; one that isn't there comes not at all.
pub async fn one_key_is_read_with_its_numbers(test: &TestContext) {
    let client = test.client().await;
    let created = store::put(&client, "k", "old").await;
    let modified = store::put(&client, "k", "new").await;
    store::put(&client, "k2", "other").await;

    let mut expected = KeyValue::new("k", "new");
    expected.create_revision = created;
    expected.mod_revision = modified;
    expected.version = 2;
    assert_eq!(store::get(&client, "k").await, Some(expected));
    assert_eq!(modified, created.next());

    let reply = range(&client, RangeRequest::key("k1")).await;
    assert_eq!((reply.kvs.len(), reply.count, reply.more), (0, 0, false));
}

/// A key that was deleted and put again starts over.
pub async fn key_that_comes_back_starts_over(test: &TestContext) {
    let client = test.client().await;
    let first = store::put(&client, "k", "1").await;
    store::delete(&client, "k").await;
    assert_eq!(store::get(&client, "k").await, None);
    let second = store::put(&client, "k", "2").await;

    let kv = store::get(&client, "k").await.unwrap();
    assert_eq!((kv.create_revision, kv.version), (second, 1));
    assert!(second > first.next());
}

/// A prefix reads what begins with it, in order, and nothing around it.
pub async fn prefix_is_read_in_order(test: &TestContext) {
    let client = test.client().await;
    for key in ["p/b", "p", "p0", "p/", "p/a", "p/a/x", "o/a"] {
        store::put(&client, key, "").await;
    }
    let reply = range(&client, RangeRequest::prefix("p/")).await;
    assert_eq!(keys(&reply.kvs), ["p/", "p/a", "p/a/x", "p/b"]);
    assert_eq!((reply.count, reply.more), (4, false));
}

/// A range ends before its end; one that ends before it begins is empty; a NUL as its end means no end.
pub async fn ends_of_ranges_are_etcds(test: &TestContext) {
    let client = test.client().await;
    for key in ["a", "b", "c"] {
        store::put(&client, key, "").await;
    }
    for (from, to, expected) in [
        ("a", "c", &["a", "b"][..]),
        ("b", "\0", &["b", "c"]),
        ("b", "b", &[]),
        ("c", "a", &[]),
    ] {
        let mut request = RangeRequest::key(from);
        request.range_end = Bytes::from_static(to.as_bytes());
        assert_eq!(
            keys(&range(&client, request).await.kvs),
            expected,
            "{from} to {to}"
        );
    }
}

/// A limit cuts the reply and says so; the count is of all.
pub async fn limit_cuts_and_counts_all(test: &TestContext) {
    let client = three_keys(test).await;
    let cut = range(&client, RangeRequest::prefix("s/").with_limit(2)).await;
    assert_eq!(
        (keys(&cut.kvs), cut.count, cut.more),
        (text(&["s/a", "s/b"]), 3, true)
    );
    let whole = range(&client, RangeRequest::prefix("s/").with_limit(3)).await;
    assert_eq!((whole.kvs.len(), whole.count, whole.more), (3, 3, false));
}

/// Keys are sorted by each of the five targets, both ways, before the limit cuts.
pub async fn sorts_by_every_target(test: &TestContext) {
    let client = three_keys(test).await;
    for (target, ascending) in [
        (SortTarget::Key, ["s/a", "s/b", "s/c"]),
        (SortTarget::CreateRevision, ["s/b", "s/a", "s/c"]),
        (SortTarget::ModRevision, ["s/a", "s/c", "s/b"]),
        (SortTarget::Version, ["s/a", "s/b", "s/c"]),
        (SortTarget::Value, ["s/c", "s/a", "s/b"]),
    ] {
        let sorted = RangeRequest::prefix("s/").sorted_by(target, SortOrder::Ascending);
        assert_eq!(
            keys(&range(&client, sorted).await.kvs),
            ascending,
            "{target:?}"
        );
        let last = RangeRequest::prefix("s/").sorted_by(target, SortOrder::Descending);
        let last = range(&client, last.with_limit(1)).await;
        assert_eq!(keys(&last.kvs), ascending[2..], "{target:?}");
    }
}

/// Values, or keys altogether, can be left out.
pub async fn values_and_keys_can_be_left_out(test: &TestContext) {
    let client = three_keys(test).await;
    let reply = range(&client, RangeRequest::prefix("s/").keys_only()).await;
    assert_eq!(keys(&reply.kvs), ["s/a", "s/b", "s/c"]);
    assert!(
        reply
            .kvs
            .iter()
            .all(|kv| kv.value.is_empty() && kv.version > 0)
    );
    let reply = range(&client, RangeRequest::prefix("s/").count_only()).await;
    assert_eq!((reply.kvs.len(), reply.count), (0, 3));
}

/// A member may be let answer by itself; on one that is up to date that is the same answer.
pub async fn serializable_reads_answer(test: &TestContext) {
    let client = three_keys(test).await;
    test.eventually("three keys in a serializable read", async || {
        let reply = range(&client, RangeRequest::prefix("s/").serializable()).await;
        reply.kvs.len() == 3
    })
    .await;
}

/// The past can be read, the future can't.
pub async fn past_revisions_can_be_read(test: &TestContext) {
    let client = test.client().await;
    let first = store::put(&client, "k", "1").await;
    store::put(&client, "k", "2").await;
    let deleted = store::delete(&client, "k").await;

    let then = range(&client, RangeRequest::key("k").at_revision(first)).await;
    assert_eq!(then.kvs[0].value, "1");
    assert_eq!(then.header.revision, deleted);
    let before = range(&client, RangeRequest::key("k").at_revision(deleted)).await;
    assert_eq!(before.kvs, []);

    let future = RangeRequest::key("k").at_revision(deleted.next());
    let error = range_refused(&client, future).await;
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(error.server_text(), Some(text), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

/// Newer keys can be left out, as a waiter does who looks for those before it; they still count.
pub async fn newer_keys_can_be_left_out(test: &TestContext) {
    let client = test.client().await;
    store::put(&client, "q/1", "").await;
    let second = store::put(&client, "q/2", "").await;
    for key in ["q/3", "q/4"] {
        store::put(&client, key, "").await;
    }
    let older = RangeRequest::prefix("q/").with_max_create_revision(second);
    let reply = range(&client, older.clone()).await;
    assert_eq!((keys(&reply.kvs), reply.count), (text(&["q/1", "q/2"]), 4));

    let newest = older.sorted_by(SortTarget::CreateRevision, SortOrder::Descending);
    let reply = range(&client, newest.with_limit(1)).await;
    assert_eq!(keys(&reply.kvs), ["q/2"]);
}

/// Reading is asked for with a key.
pub async fn empty_key_is_refused(test: &TestContext) {
    let client = test.client().await;
    let error = range_refused(&client, RangeRequest::key("")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert_eq!(
        error.server_text(),
        Some("etcdserver: key is not provided"),
        "{error:?}"
    );
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

/// Keys whose order differs for each sort target, but for the version's.
async fn three_keys(test: &TestContext) -> etcd_lock_core::Client {
    let client = test.client().await;
    for (key, value) in [
        ("s/b", "3"),
        ("s/a", "2"),
        ("s/c", "1"),
        ("s/c", "1"),
        ("s/c", "1"),
        ("s/b", "3"),
    ] {
        store::put(&client, key, value).await;
    }
    client
}

fn text(keys: &[&str]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}
