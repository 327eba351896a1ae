//! Rows of the `Lease` service.

use std::time::Duration;

use bytes::Bytes;
use etcd_lock_proto::etcdserverpb as pb;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};

use super::etcd::{Etcd, deletion, eventually, in_time, prefix, put, refusal};

const NO_LEASE: &str = "etcdserver: requested lease not found";

pub(crate) async fn the_least_time_to_live_is_two_seconds(etcd: &Etcd) {
    for ttl in [2, 1, 0, -5, i64::MIN] {
        let granted = etcd.grant(ttl, 0).await.unwrap();
        assert_eq!(granted.ttl, 2, "{ttl}");
        assert_eq!(granted.error, "");
    }
}

pub(crate) async fn the_greatest_time_to_live_is_nine_billion_seconds(etcd: &Etcd) {
    let granted = etcd.grant(9_000_000_000, 0).await.unwrap();
    assert_eq!(granted.ttl, 9_000_000_000);
    let refused = refusal(Code::OutOfRange, "etcdserver: too large lease TTL");
    for ttl in [9_000_000_001, i64::MAX] {
        assert_eq!(etcd.grant(ttl, 0).await, refused, "{ttl}");
    }
}

pub(crate) async fn a_number_is_picked_or_taken_once(etcd: &Etcd) {
    assert!(etcd.grant(60, 0).await.unwrap().id > 0);
    let refused = refusal(Code::FailedPrecondition, "etcdserver: lease already exists");
    for id in [0x1234, -5] {
        assert_eq!(etcd.grant(60, id).await.unwrap().id, id);
        assert_eq!(etcd.grant(60, id).await, refused, "{id}");
    }
}

pub(crate) async fn a_revoke_deletes_all_keys_at_one_revision(etcd: &Etcd) {
    let lease = etcd.lease().await;
    for key in ["r/b", "r/a"] {
        let put = pb::PutRequest {
            lease,
            ..put(key, "")
        };
        etcd.put(put).await.unwrap();
    }
    let before = etcd.revision().await;

    let reply = etcd.revoke(lease).await.unwrap();

    assert_eq!(reply.header.unwrap().revision, before + 1);
    assert_eq!(etcd.range(prefix("r/")).await.unwrap().count, 0);
}

pub(crate) async fn a_revoke_of_no_lease_is_not_found(etcd: &Etcd) {
    for lease in [0, 0xdead, -1] {
        let refused = etcd.revoke(lease).await;
        assert_eq!(refused, refusal(Code::NotFound, NO_LEASE), "{lease}");
    }
}

pub(crate) async fn a_keep_alive_tells_the_time_granted(etcd: &Etcd) {
    let lease = etcd.grant(77, 0).await.unwrap().id;
    let mut replies = keep_alives(etcd, vec![lease]).await;
    let reply = in_time(replies.message()).await.unwrap().unwrap();
    assert_eq!((reply.id, reply.ttl), (lease, 77));
    assert_eq!(reply.header.unwrap().revision, etcd.revision().await);
}

/// One that ended included; the stream goes on.
pub(crate) async fn a_keep_alive_of_no_lease_tells_zero(etcd: &Etcd) {
    let (ended, alive) = (etcd.lease().await, etcd.lease().await);
    etcd.revoke(ended).await.unwrap();
    let mut replies = keep_alives(etcd, vec![0xdead, ended, 0, alive]).await;
    for expected in [(0xdead, 0), (ended, 0), (0, 0), (alive, 60)] {
        let reply = in_time(replies.message()).await.unwrap().unwrap();
        assert_eq!((reply.id, reply.ttl), expected);
    }
}

pub(crate) async fn time_to_live_tells_what_is_left_and_the_keys(etcd: &Etcd) {
    let lease = etcd.lease().await;
    let put = pb::PutRequest {
        lease,
        ..put("owned", "")
    };
    etcd.put(put).await.unwrap();
    let told = etcd.time_to_live(lease).await;
    assert_eq!((told.id, told.granted_ttl), (lease, 60));
    assert_eq!(told.keys, [Bytes::from("owned")]);
    // Whole seconds that are left: less than granted as soon as a moment has passed.
    assert!((0..60).contains(&told.ttl), "{told:?}");
}

pub(crate) async fn time_to_live_of_no_lease_is_below_zero(etcd: &Etcd) {
    for lease in [0xdead, 0] {
        let told = etcd.time_to_live(lease).await;
        assert_eq!((told.id, told.ttl, told.granted_ttl), (lease, -1, 0));
    }
}

pub(crate) async fn leases_are_listed_by_number_alone(etcd: &Etcd) {
    let mut granted = vec![etcd.lease().await, etcd.lease().await];
    let request = pb::LeaseLeasesRequest {};
    let reply = etcd.leases().lease_leases(request).await.unwrap();
    let listed = reply.into_inner().leases;
    let mut listed: Vec<_> = listed.iter().map(|lease| lease.id).collect();
    granted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, granted);
}

/// Not too early; how late depends on the etcd.
pub(crate) async fn an_end_takes_the_keys_and_not_too_early(etcd: &Etcd) {
    let since = Instant::now();
    let lease = etcd.grant(2, 0).await.unwrap().id;
    let put = pb::PutRequest {
        lease,
        ..put("mortal", "")
    };
    etcd.put(put).await.unwrap();
    eventually(async || etcd.get(b"mortal").await.is_none()).await;
    assert!(since.elapsed() >= Duration::from_secs(2));
    assert_eq!(etcd.time_to_live(lease).await.ttl, -1);
}

pub(crate) async fn a_key_put_again_leaves_its_lease(etcd: &Etcd) {
    let (first, second) = (etcd.lease().await, etcd.lease().await);
    let put_with = async |lease| {
        let put = pb::PutRequest {
            lease,
            ..put("moved", "")
        };
        etcd.put(put).await.unwrap()
    };
    put_with(first).await;
    put_with(second).await;
    etcd.revoke(first).await.unwrap();
    assert_eq!(etcd.get(b"moved").await.unwrap().lease, second);

    put_with(0).await;
    etcd.revoke(second).await.unwrap();
    assert_eq!(etcd.get(b"moved").await.unwrap().lease, 0);
}

/// What changes no key: a grant, a revoke without keys, a delete of nothing, a transaction that only reads.
pub(crate) async fn what_changes_no_key_makes_no_revision(etcd: &Etcd) {
    assert_eq!(etcd.revision().await, 1);
    let lease = etcd.grant(60, 0).await.unwrap();
    let revoked = etcd.revoke(lease.id).await.unwrap();
    let deleted = etcd.delete(deletion("nothing")).await.unwrap();
    let read = etcd.txn(pb::TxnRequest::default()).await.unwrap();
    for header in [lease.header, revoked.header, deleted.header, read.header] {
        let header = header.unwrap();
        assert_eq!(header.revision, 1);
        assert!(header.cluster_id != 0 && header.member_id != 0 && header.raft_term != 0);
    }
    assert_eq!(etcd.set("something", "").await, 2);
}

async fn keep_alives(etcd: &Etcd, leases: Vec<i64>) -> Streaming<pb::LeaseKeepAliveResponse> {
    let requests = leases
        .into_iter()
        .map(|id| pb::LeaseKeepAliveRequest { id });
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    let replies = etcd.leases().lease_keep_alive(requests).await;
    replies.unwrap().into_inner()
}
