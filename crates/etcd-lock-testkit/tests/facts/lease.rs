//! Facts of the `Lease` service.

use etcd_lock_proto::etcdserverpb as pb;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};

use super::etcd::{Etcd, in_time, refusal};

const NO_LEASE: &str = "etcdserver: requested lease not found";

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

pub(crate) async fn a_revoke_of_no_lease_is_not_found(etcd: &Etcd) {
    for lease in [0, 0xdead, -1] {
        let refused = etcd.revoke(lease).await;
        assert_eq!(refused, refusal(Code::NotFound, NO_LEASE), "{lease}");
    }
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

pub(crate) async fn time_to_live_of_no_lease_is_below_zero(etcd: &Etcd) {
    for lease in [0xdead, 0] {
        let told = etcd.time_to_live(lease).await;
        assert_eq!((told.id, told.ttl, told.granted_ttl), (lease, -1, 0));
    }
}

async fn keep_alives(etcd: &Etcd, leases: Vec<i64>) -> Streaming<pb::LeaseKeepAliveResponse> {
    let requests = leases
        .into_iter()
        .map(|id| pb::LeaseKeepAliveRequest { id });
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    let replies = etcd.leases().lease_keep_alive(requests).await;
    replies.unwrap().into_inner()
}
