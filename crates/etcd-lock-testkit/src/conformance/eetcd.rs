//! The three cases of eetcd's own lock suite: whoever comes from there finds what they know.

use std::time::Duration;

use crate::Lab;
use crate::lab::name;

/// A lock is taken and given back: its key exists in between and not after.
pub async fn acquire_and_release(lab: &Lab) {
    let (party, name) = (lab.party().await, name("acquire"));

    let held = party.lock(&name).await;
    assert_eq!(lab.queue(&name).await.len(), 1);

    party.unlock(&held).await;
    assert_eq!(lab.queue(&name).await, []);
}

/// A lock whose holder let the lease expire can be had again, with another lease.
pub async fn reacquire_after_the_first_lease_expired(lab: &Lab) {
    let (first, second) = (lab.mortal().await, lab.party().await);
    let name = name("reacquire");

    first.lock(&name).await;
    let held = second.lock(&name).await;

    let queue = lab.queue(&name).await;
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].key, held.key.as_bytes());
}

/// While one session holds a lock, another's wait of 2 s ends in a timeout, and the holder can still release.
pub async fn second_session_times_out_and_the_holder_unlocks(lab: &Lab) {
    let (holder, second) = (lab.party().await, lab.party().await);
    let name = name("second-session");

    let held = holder.lock(&name).await;
    let error = second
        .lock_within(&name, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");

    holder.unlock(&held).await;
    lab.queue_has(&name, 0).await;
}
