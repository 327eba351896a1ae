//! The three cases of eetcd's own lock suite: whoever comes from there finds what they know.

use std::time::Duration;

use crate::TestContext;

/// A lock is taken and given back: its key exists in between and not after.
pub async fn acquire_and_release(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("acquire"));

    let held = contender.lock(&name).await;
    assert_eq!(test.queue(&name).await.len(), 1);

    contender.unlock(&held).await;
    assert_eq!(test.queue(&name).await, []);
}

/// A lock whose holder let the lease expire can be had again, with another lease.
pub async fn reacquire_after_the_first_lease_expired(test: &TestContext) {
    let (first, second) = (test.short_lived_contender().await, test.contender().await);
    let name = test.name("reacquire");

    first.lock(&name).await;
    let held = second.lock(&name).await;

    let queue = test.queue(&name).await;
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].key, held.key.as_bytes());
}

/// While one session holds a lock, another's wait of 2 s ends in a timeout, and the holder can still release.
pub async fn second_session_times_out_and_the_holder_unlocks(test: &TestContext) {
    let (holder, second) = (test.contender().await, test.contender().await);
    let name = test.name("second-session");

    let held = holder.lock(&name).await;
    let error = second
        .lock_within(&name, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");

    holder.unlock(&held).await;
    test.queue_has(&name, 0).await;
}
