//! Rows of the `KV` service, but for transactions.

use etcd_lock_proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};
use tonic::Code;

use super::etcd::{Answer, Etcd, deletion, prefix, put, range, refusal};

const TOO_LARGE: &str = "etcdserver: request is too large";

pub(crate) async fn an_empty_key_is_refused(etcd: &Etcd) {
    let refused = refusal(Code::InvalidArgument, "etcdserver: key is not provided");
    assert_eq!(etcd.range(range(b"")).await, refused);
    assert_eq!(
        etcd.put(put("", "")).await.map(|_| ()),
        refused.clone().map(|_| ())
    );
    assert_eq!(
        etcd.delete(deletion("")).await.map(|_| ()),
        refused.clone().map(|_| ())
    );
    let compare = pb::TxnRequest {
        compare: vec![pb::Compare::default()],
        ..pb::TxnRequest::default()
    };
    assert_eq!(etcd.txn(compare).await.map(|_| ()), refused.map(|_| ()));
}

pub(crate) async fn the_end_of_a_range_says_what_it_is_of(etcd: &Etcd) {
    for key in ["a", "name/1", "name/2", "name0", "z"] {
        etcd.set(key, "").await;
    }
    let keys = async |key: &'static str, range_end: &'static str| {
        let request = pb::RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            ..pb::RangeRequest::default()
        };
        names(etcd.range(request).await)
    };
    assert_eq!(keys("name/", "name0").await, ["name/1", "name/2"]);
    assert_eq!(keys("a", "").await, ["a"]);
    assert_eq!(keys("name0", "\0").await, ["name0", "z"]);
    assert_eq!(keys("\0", "\0").await.len(), 5);
    for (key, end) in [("b", "a"), ("a", "a"), ("z", "name/1")] {
        assert_eq!(keys(key, end).await, [""; 0], "{key} to {end}");
    }
}

/// Filters and sort come before the limit, and the count before them all.
pub(crate) async fn a_limit_cuts_last_and_the_count_is_of_all(etcd: &Etcd) {
    let revisions = [
        etcd.set("c/1", "").await,
        etcd.set("c/2", "").await,
        etcd.set("c/3", "").await,
        etcd.set("c/4", "").await,
    ];
    let newest_of_the_first_three = pb::RangeRequest {
        limit: 1,
        max_create_revision: revisions[2],
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Create.into(),
        ..prefix("c/")
    };
    let reply = etcd.range(newest_of_the_first_three).await.unwrap();
    assert_eq!((reply.count, reply.more), (4, true));
    assert_eq!(reply.kvs[0].key, "c/3");

    let none = pb::RangeRequest {
        max_create_revision: revisions[0] - 1,
        ..prefix("c/")
    };
    let reply = etcd.range(none).await.unwrap();
    assert_eq!((reply.kvs.len(), reply.count, reply.more), (0, 4, false));
}

/// A number that is no order sorts nothing, on these versions.
pub(crate) async fn a_target_without_an_order_sorts_upwards(etcd: &Etcd) {
    for (key, value) in [("s/1", "c"), ("s/2", "a"), ("s/3", "b")] {
        etcd.set(key, value).await;
    }
    let sorted = async |sort_target: SortTarget, sort_order: i32| {
        let request = pb::RangeRequest {
            sort_order,
            sort_target: sort_target.into(),
            ..prefix("s/")
        };
        names(etcd.range(request).await)
    };
    let none = SortOrder::None.into();
    assert_eq!(sorted(SortTarget::Value, none).await, ["s/2", "s/3", "s/1"]);
    assert_eq!(sorted(SortTarget::Value, 7).await, ["s/1", "s/2", "s/3"]);
    assert_eq!(sorted(SortTarget::Key, none).await, ["s/1", "s/2", "s/3"]);
}

pub(crate) async fn a_read_knows_the_past_and_not_the_future(etcd: &Etcd) {
    let first = etcd.set("past", "1").await;
    let second = etcd.set("past", "2").await;
    let third = etcd.set("past", "3").await;
    let at = async |revision| {
        let request = pb::RangeRequest {
            revision,
            ..range(b"past")
        };
        let reply: Answer<_> = etcd.range(request).await;
        reply.map(|reply| reply.kvs[0].value.clone())
    };
    let (outside, gone) = (
        refusal(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        refusal(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
    );
    assert_eq!(at(first).await.unwrap(), "1");
    etcd.compact(second).await.unwrap();
    assert_eq!(at(first).await, gone);
    assert_eq!(at(second).await.unwrap(), "2");
    assert_eq!(at(third).await.unwrap(), "3");
    assert_eq!(at(third + 1).await, outside);

    let again = etcd.compact(second).await.map(|_| ());
    assert_eq!(again, gone.map(|_| ()));
    let too_new = etcd.compact(third + 1).await.map(|_| ());
    assert_eq!(too_new, outside.map(|_| ()));
}

/// Nothing has been compacted yet, and it is below that all the same.
pub(crate) async fn the_first_compaction_may_be_at_zero(etcd: &Etcd) {
    let gone = refusal(
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
    );
    assert_eq!(etcd.compact(-1).await, gone);
    etcd.compact(0).await.unwrap();
    assert_eq!(etcd.compact(0).await, gone);
    etcd.compact(1).await.unwrap();
    assert_eq!(etcd.compact(1).await, gone);
}

pub(crate) async fn a_put_with_no_such_lease_is_not_found(etcd: &Etcd) {
    let put = pb::PutRequest {
        lease: 0xdead,
        ..put("leased", "")
    };
    let refused = refusal(Code::NotFound, "etcdserver: requested lease not found");
    assert_eq!(etcd.put(put).await, refused);
    assert!(etcd.get(b"leased").await.is_none());
}

/// What goes through the log is too large above a mebibyte and a half; what is only read is not.
pub(crate) async fn a_request_that_is_too_large_is_refused(etcd: &Etcd) {
    const LIMIT: usize = 3 << 19;
    let large = "v".repeat(LIMIT);
    let refused = refusal(Code::InvalidArgument, TOO_LARGE);
    assert_eq!(etcd.put(put("large", &large)).await, refused);
    etcd.put(put("large", &large[100..])).await.unwrap();
    let deleted = etcd.delete(deletion(&large)).await;
    assert_eq!(deleted.map(|_| ()), refused.map(|_| ()));
    let read = etcd.range(range(large.as_bytes())).await.unwrap();
    assert_eq!(read.count, 0);
}

fn names(reply: Answer<pb::RangeResponse>) -> Vec<String> {
    let kvs = reply.unwrap().kvs;
    let names = kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    names.collect()
}
