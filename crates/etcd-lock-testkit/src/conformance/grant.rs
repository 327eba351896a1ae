//! What a grant says, and that it is true.

use etcd_lock_core::{LeaseId, lease};

use crate::lab::name;
use crate::{Lab, store};

/// The key is the name, a slash and the lease in lower-case hex without padding: etcd's layout, byte for byte.
pub async fn key_is_the_name_and_the_lease_in_hex(lab: &Lab) {
    let (party, name) = (lab.party().await, name("layout"));

    let held = party.lock(&name).await;

    let expected = format!("layout/{:x}", party.lease().get());
    assert_eq!(held.key.as_bytes(), expected.as_bytes());
    assert_eq!(lab.queue(&name).await[0].key, expected.as_bytes());
}

/// The lease holds the key: that is what ends a dead holder's hold.
pub async fn key_is_attached_to_the_lease(lab: &Lab) {
    let (party, name) = (lab.party().await, name("attached"));

    let held = party.lock(&name).await;

    assert_eq!(lab.queue(&name).await[0].lease, party.lease().get());
    let status = lease::time_to_live(lab.inspector(), party.lease()).await;
    assert_eq!(status.unwrap().keys, [held.key.as_bytes()]);
}

/// The token is the create revision of the very key, not the header's revision.
pub async fn token_is_the_create_revision_of_the_key(lab: &Lab) {
    let (first, second) = (lab.party().await, lab.party().await);
    let name = name("token");

    let held = first.lock(&name).await;
    assert_eq!(
        lab.queue(&name).await[0].create_revision,
        held.create_revision
    );

    let waiting = second.waiting(&name);
    lab.queue_has(&name, 2).await;
    // Writes in between drive the header's revision away from the queue's.
    store::put(lab.inspector(), "elsewhere", "1").await;
    first.unlock(&held).await;
    let held = waiting.granted().await;
    assert_eq!(
        lab.queue(&name).await[0].create_revision,
        held.create_revision
    );
    assert!(held.header.revision > held.create_revision, "{held:?}");
}

/// Each holder's token is greater than the one before, across names, too.
pub async fn tokens_grow_from_holder_to_holder(lab: &Lab) {
    let mut last = etcd_lock_core::Revision::ZERO;
    for round in 0..6 {
        let (party, name) = (lab.party().await, name(format!("grow-{}", round % 2)));
        let held = party.lock(&name).await;
        assert!(held.create_revision > last, "{held:?} after {last}");
        last = held.create_revision;
        party.unlock(&held).await;
    }
}

/// Who answered is told, as in every reply of etcd.
pub async fn header_is_filled_in(lab: &Lab) {
    let (party, name) = (lab.party().await, name("header"));

    let header = party.lock(&name).await.header;

    assert!(header.cluster_id > 0 && header.member_id > 0, "{header:?}");
    assert!(
        header.revision.get() > 0 && header.raft_term > 0,
        "{header:?}"
    );
}

/// Locking twice with one lease is a single acquisition, with one key and one token.
pub async fn same_lease_twice_is_one_acquisition(lab: &Lab) {
    let (party, name) = (lab.party().await, name("twice"));

    let first = party.lock(&name).await;
    let second = party.lock(&name).await;

    assert_eq!(first.key, second.key);
    assert_eq!(first.create_revision, second.create_revision);
    assert_eq!(lab.queue(&name).await.len(), 1);

    party.unlock(&second).await;
    assert_eq!(lab.queue(&name).await, []);
}

/// The greatest lease number makes a key like any other.
pub async fn greatest_lease_number_works(lab: &Lab) {
    let client = lab.client().await;
    let id = LeaseId::new(i64::MAX).unwrap();
    let ttl = etcd_lock_core::Ttl::from_secs(60).unwrap();
    let request = lease::LeaseGrantRequest::new(ttl).with_id(id);
    let granted = client
        .transport()
        .lease_grant(request, store::options())
        .await;
    assert_eq!(granted.unwrap().id, id);

    let party = crate::Party::new(client, id);
    let held = party.lock(&name("greatest")).await;
    assert_eq!(held.key.as_bytes(), "greatest/7fffffffffffffff");
    party.unlock(&held).await;
}
