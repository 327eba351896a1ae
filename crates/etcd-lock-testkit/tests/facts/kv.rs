//! Facts of the `KV` service, but for transactions.

use etcd_lock_proto::etcdserverpb as pb;
use tonic::Code;

use super::etcd::{Answer, Etcd, deletion, put, range, refusal};

const TOO_LARGE: &str = "etcdserver: request is too large";

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

pub(crate) async fn a_put_with_no_such_lease_is_not_found(etcd: &Etcd) {
    let put = pb::PutRequest {
        lease: 0xdead,
        ..put("leased", "")
    };
    let refused = refusal(Code::NotFound, "etcdserver: requested lease not found");
    assert_eq!(etcd.put(put).await, refused);
    assert!(etcd.get(b"leased").await.is_none());
}

/// A request that goes through the log is too large above a mebibyte and a half; one that only reads is not.
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
