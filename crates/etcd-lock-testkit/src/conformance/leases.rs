//! Leases: granting, asking, revoking, and what their end does to keys.

use std::time::Duration;

use etcd_lock_core::kv::PutRequest;
use etcd_lock_core::lease::{self, LeaseGrantRequest};
use etcd_lock_core::{ErrorKind, LeaseId, Ttl};
use tokio::time::Instant;

use crate::{TestContext, store};

/// etcd grants two seconds at least: what counts is what the reply says.
pub async fn short_time_to_live_is_raised(test: &TestContext) {
    let client = test.client().await;
    let granted = lease::grant(&client, Duration::from_secs(1)).await.unwrap();
    assert_eq!(granted.ttl.as_secs(), 2);
    let granted = lease::grant(&client, Duration::from_secs(7)).await.unwrap();
    assert_eq!(granted.ttl.as_secs(), 7);
}

/// A number of our own is taken, once.
pub async fn own_number_is_taken_once(test: &TestContext) {
    let client = test.client().await;
    let id = LeaseId::new(0x1234).unwrap();
    let request = LeaseGrantRequest::new(Ttl::from_secs(60).unwrap()).with_id(id);
    let grant = |request| client.transport().lease_grant(request, store::options());

    assert_eq!(grant(request.clone()).await.unwrap().id, id);
    let error = grant(request).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert_eq!(
        error.server_text(),
        Some("etcdserver: lease already exists"),
        "{error:?}"
    );
}

/// The server's own numbers differ.
pub async fn numbers_of_the_server_differ(test: &TestContext) {
    let client = test.client().await;
    let ttl = Duration::from_secs(60);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        assert!(seen.insert(lease::grant(&client, ttl).await.unwrap().id));
    }
}

/// How much is left is told, with the keys, and never more than was granted.
pub async fn time_to_live_tells_what_is_left_and_the_keys(test: &TestContext) {
    let contender = test.contender().await;
    for key in ["ttl/b", "ttl/a"] {
        let put = PutRequest::new(key, "").with_lease(contender.lease());
        store::run(contender.client(), put).await;
    }
    let status = lease::time_to_live(contender.client(), contender.lease())
        .await
        .unwrap();
    let granted = Ttl::from_secs(60).unwrap();
    assert_eq!(
        (status.id, status.granted),
        (contender.lease(), Some(granted))
    );
    let left = status.remaining.unwrap();
    assert!(
        (Duration::from_secs(1)..=granted.into()).contains(&left),
        "{status:?}"
    );
    let mut keys = status.keys;
    keys.sort();
    assert_eq!(keys, ["ttl/a", "ttl/b"]);
}

/// Keys that weren't asked for don't come.
pub async fn time_to_live_leaves_keys_out_unless_asked(test: &TestContext) {
    let contender = test.contender().await;
    store::run(
        contender.client(),
        PutRequest::new("k", "").with_lease(contender.lease()),
    )
    .await;
    let request = lease::LeaseTimeToLiveRequest::new(contender.lease());
    let transport = contender.client().transport();
    let status = transport
        .lease_time_to_live(request, store::options())
        .await
        .unwrap();
    assert_eq!(status.keys.len(), 0);
}

/// A lease that isn't there has nothing left, and asking is no error.
pub async fn time_to_live_of_an_unknown_lease_is_none(test: &TestContext) {
    let client = test.client().await;
    let unknown = LeaseId::new(0xdead).unwrap();
    let status = lease::time_to_live(&client, unknown).await.unwrap();
    assert_eq!(
        (status.id, status.remaining, status.granted),
        (unknown, None, None)
    );
}

/// All leases are listed, until they end.
pub async fn leases_are_listed(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    let listed = async || lease::leases(first.client()).await.unwrap().leases;
    test.eventually("both leases listed", async || {
        let leases = listed().await;
        leases.contains(&first.lease()) && leases.contains(&second.lease())
    })
    .await;

    second.revoke().await;

    test.eventually("one lease listed", async || {
        !listed().await.contains(&second.lease())
    })
    .await;
}

/// The end of a lease deletes all its keys in one revision, and no others.
pub async fn revoke_deletes_the_keys_in_one_revision(test: &TestContext) {
    let contender = test.contender().await;
    let client = contender.client();
    let free = store::put(client, "r/free", "").await;
    for key in ["r/1", "r/2"] {
        store::run(
            client,
            PutRequest::new(key, "").with_lease(contender.lease()),
        )
        .await;
    }
    contender.revoke().await;

    let reply = store::range(client, etcd_lock_core::kv::RangeRequest::prefix("r/")).await;
    assert_eq!(store::keys(&reply.kvs), ["r/free"]);
    assert_eq!(reply.header.revision.get(), free.get() + 3);
}

/// A lease without keys ends without a revision.
pub async fn revoke_without_keys_makes_no_revision(test: &TestContext) {
    let contender = test.contender().await;
    let before = store::put(contender.client(), "k", "").await;
    contender.revoke().await;
    assert_eq!(store::put(contender.client(), "k", "").await, before.next());
}

/// A lease that isn't there can't be revoked.
pub async fn revoke_of_an_unknown_lease_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    contender.revoke().await;
    let error = lease::revoke(contender.client(), contender.lease())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
    assert_eq!(
        error.server_text(),
        Some("etcdserver: requested lease not found"),
        "{error:?}"
    );
}

/// A lease that nobody keeps alive ends, with its keys, and not before its time.
pub async fn expiry_deletes_the_keys_and_not_too_early(test: &TestContext) {
    let client = test.client().await;
    let asked = Instant::now();
    let contender = test.short_lived_contender().await;
    store::run(
        &client,
        PutRequest::new("e/1", "").with_lease(contender.lease()),
    )
    .await;

    test.eventually("the key gone", async || {
        store::get(&client, "e/1").await.is_none()
    })
    .await;

    assert!(
        asked.elapsed() >= Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    let status = lease::time_to_live(&client, contender.lease())
        .await
        .unwrap();
    assert_eq!(status.remaining, None);
}

/// A key that is put again without the lease, or with another, doesn't end with the first.
pub async fn key_put_again_leaves_its_lease(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    let client = first.client();
    for key in ["d/1", "d/2"] {
        store::run(client, PutRequest::new(key, "").with_lease(first.lease())).await;
    }
    store::put(client, "d/1", "").await;
    store::run(
        client,
        PutRequest::new("d/2", "").with_lease(second.lease()),
    )
    .await;

    first.revoke().await;
    assert_eq!(store::get(client, "d/1").await.unwrap().lease, None);
    assert_eq!(
        store::get(client, "d/2").await.unwrap().lease,
        Some(second.lease())
    );

    second.revoke().await;
    assert_eq!(store::get(client, "d/2").await, None);
}
