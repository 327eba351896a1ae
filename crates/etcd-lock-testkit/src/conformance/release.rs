//! Giving a lock back, and giving back too late.

use etcd_lock_core::kv::PutRequest;

use crate::{TestContext, store};

/// A key that isn't there is released already: that is no error.
pub async fn unlock_of_an_unknown_key_is_fine(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("unknown"));
    let before = store::put(test.inspector(), &test.key("marker"), "1").await;

    let ctx = etcd_lock_core::new(contender.client());
    let key = name.key(contender.lease()).as_bytes().clone();
    let reply = etcd_lock_core::unlock(ctx, key).await.unwrap();

    assert!(reply.header.revision >= before, "{reply:?}");
    assert_eq!(test.queue(&name).await, []);
}

/// Releasing twice is as good as once.
pub async fn unlock_twice_is_fine(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("twice"));
    let held = contender.lock(&name).await;
    contender.unlock(&held).await;
    contender.unlock(&held).await;
    contender.unlock_exactly(&held).await;
    contender.lock(&name).await;
}

/// The key is all it takes: another client can release with it.
pub async fn another_client_can_unlock_with_the_key(test: &TestContext) {
    let (holder, helper) = (test.contender().await, test.contender().await);
    let name = test.name("helper");
    let held = holder.lock(&name).await;
    helper.unlock(&held).await;
    assert_eq!(test.queue(&name).await, []);
}

/// A release that names its hold works like any other.
pub async fn unlock_of_exactly_this_hold_releases_it(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("exactly"));
    let held = contender.lock(&name).await;
    contender.unlock_exactly(&held).await;
    assert_eq!(test.queue(&name).await, []);
}

/// A release that comes late, when the same lease holds the lock anew, leaves the newer hold alone.
pub async fn late_unlock_spares_a_newer_hold(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("late"));
    let old = contender.lock(&name).await;
    contender.unlock_exactly(&old).await;
    let new = contender.lock(&name).await;
    assert!(new.create_revision > old.create_revision);

    contender.unlock_exactly(&old).await;

    let queue = test.queue(&name).await;
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].create_revision, new.create_revision);
}

/// A value that somebody wrote into the key doesn't make it another hold: it can be released.
pub async fn hold_with_a_changed_value_can_be_released(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("changed"));
    let held = contender.lock(&name).await;
    let put =
        PutRequest::new(held.key.as_bytes().clone(), "who I am").with_lease(contender.lease());
    store::run(test.inspector(), put).await;

    contender.unlock_exactly(&held).await;

    assert_eq!(test.queue(&name).await, []);
}
