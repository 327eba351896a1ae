//! Giving a lock back, and giving back too late.

use etcd_lock_core::kv::PutRequest;

use crate::lab::name;
use crate::{Lab, store};

/// A key that isn't there is released already: that is no error, and changes nothing.
pub async fn unlock_of_an_unknown_key_is_fine(lab: &Lab) {
    let (party, name) = (lab.party().await, name("unknown"));
    let before = store::put(lab.inspector(), "marker", "1").await;

    let ctx = etcd_lock_core::new(party.client());
    let key = name.key(party.lease()).as_bytes().clone();
    let reply = etcd_lock_core::unlock(ctx, key).await.unwrap();

    assert_eq!(reply.header.revision, before);
}

/// Releasing twice is as good as once.
pub async fn unlock_twice_is_fine(lab: &Lab) {
    let (party, name) = (lab.party().await, name("twice"));
    let held = party.lock(&name).await;
    party.unlock(&held).await;
    party.unlock(&held).await;
    party.unlock_exactly(&held).await;
    party.lock(&name).await;
}

/// The key is all it takes: another client can release with it.
pub async fn another_client_can_unlock_with_the_key(lab: &Lab) {
    let (holder, helper) = (lab.party().await, lab.party().await);
    let name = name("helper");
    let held = holder.lock(&name).await;
    helper.unlock(&held).await;
    assert_eq!(lab.queue(&name).await, []);
}

/// A release that names its hold works like any other.
pub async fn unlock_of_exactly_this_hold_releases_it(lab: &Lab) {
    let (party, name) = (lab.party().await, name("exactly"));
    let held = party.lock(&name).await;
    party.unlock_exactly(&held).await;
    assert_eq!(lab.queue(&name).await, []);
}

/// A release that comes late, when the same lease holds the lock anew, leaves the newer hold alone.
pub async fn late_unlock_spares_a_newer_hold(lab: &Lab) {
    let (party, name) = (lab.party().await, name("late"));
    let old = party.lock(&name).await;
    party.unlock_exactly(&old).await;
    let new = party.lock(&name).await;
    assert!(new.create_revision > old.create_revision);

    party.unlock_exactly(&old).await;

    let queue = lab.queue(&name).await;
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].create_revision, new.create_revision);
}

/// A value that somebody wrote into the key doesn't make it another hold: it can be released.
pub async fn hold_with_a_changed_value_can_be_released(lab: &Lab) {
    let (party, name) = (lab.party().await, name("changed"));
    let held = party.lock(&name).await;
    let put = PutRequest::new(held.key.as_bytes().clone(), "who I am").with_lease(party.lease());
    store::run(lab.inspector(), put).await;

    party.unlock_exactly(&held).await;

    assert_eq!(lab.queue(&name).await, []);
}
