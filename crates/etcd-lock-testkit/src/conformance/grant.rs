//! The fields of a grant are true.

use etcd_lock_core::{LeaseId, lease};

use crate::{TestContext, store};

/// The key is the name, a slash and the lease in lower-case hex without padding: etcd's layout, byte for byte.
pub async fn key_is_the_name_and_the_lease_in_hex(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("layout"));

    let held = contender.lock(&name).await;

    let expected = format!("{name}/{:x}", contender.lease().get());
    assert_eq!(held.key.as_bytes(), expected.as_bytes());
    assert_eq!(test.queue(&name).await[0].key, expected.as_bytes());
}

/// The lease holds the key: that is what ends a dead holder's hold.
pub async fn key_is_attached_to_the_lease(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("attached"));

    let held = contender.lock(&name).await;

    assert_eq!(test.queue(&name).await[0].lease, Some(contender.lease()));
    let status = lease::time_to_live(test.inspector(), contender.lease()).await;
    assert_eq!(status.unwrap().keys, [held.key.as_bytes()]);
}

/// The token is the create revision of the very key, not the header's revision.
pub async fn token_is_the_create_revision_of_the_key(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    let name = test.name("token");

    let held = first.lock(&name).await;
    assert_eq!(
        test.queue(&name).await[0].create_revision,
        held.create_revision
    );

    let waiting = second.waiting(&name);
    test.queue_has(&name, 2).await;
    // Writes in between drive the header's revision away from the queue's.
    store::put(test.inspector(), &test.key("elsewhere"), "1").await;
    first.unlock(&held).await;
    let held = waiting.granted().await;
    assert_eq!(
        test.queue(&name).await[0].create_revision,
        held.create_revision
    );
    assert!(held.header.revision > held.create_revision, "{held:?}");
}

/// Each holder's token is greater than the one before, across names, too.
pub async fn tokens_grow_from_holder_to_holder(test: &TestContext) {
    let mut last = etcd_lock_core::Revision::ZERO;
    for round in 0..6 {
        let (contender, name) = (
            test.contender().await,
            test.name(format!("grow-{}", round % 2)),
        );
        let held = contender.lock(&name).await;
        assert!(held.create_revision > last, "{held:?} after {last}");
        last = held.create_revision;
        contender.unlock(&held).await;
    }
}

/// The header names the cluster and the member that answered, as in every reply of etcd.
pub async fn header_is_filled_in(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("header"));

    let header = contender.lock(&name).await.header;

    assert!(header.cluster_id > 0 && header.member_id > 0, "{header:?}");
    assert!(
        header.revision.get() > 0 && header.raft_term > 0,
        "{header:?}"
    );
}

/// Locking twice with one lease is a single acquisition, with one key and one token.
pub async fn same_lease_twice_is_one_acquisition(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("twice"));

    let first = contender.lock(&name).await;
    let second = contender.lock(&name).await;

    assert_eq!(first.key, second.key);
    assert_eq!(first.create_revision, second.create_revision);
    assert_eq!(test.queue(&name).await.len(), 1);

    contender.unlock(&second).await;
    assert_eq!(test.queue(&name).await, []);
}

/// One of the greatest lease numbers makes a key like any other.
pub async fn great_lease_number_works(test: &TestContext) {
    let client = test.client().await;
    // By chance, so that nobody else who uses this etcd has the same.
    let id = LeaseId::new(i64::MAX - fastrand::i64(0..1 << 32)).unwrap();
    let ttl = etcd_lock_core::Ttl::from_secs(60).unwrap();
    let request = lease::LeaseGrantRequest::new(ttl).with_id(id);
    let granted = client
        .transport()
        .lease_grant(request, store::options())
        .await;
    assert_eq!(granted.unwrap().id, id);

    let contender = crate::Contender::new(client, id);
    let name = test.name("greatest");
    let held = contender.lock(&name).await;
    let expected = format!("{name}/7fffffff{:08x}", id.get() & 0xffff_ffff);
    assert_eq!(held.key.as_bytes(), &expected);
    contender.unlock(&held).await;
}
