//! Whoever gives up leaves the queue: by timeout, by dropping the future, by an error.

use std::time::Duration;

use etcd_lock_core::{ErrorKind, LeaseId, LockName};
use tokio::time::timeout;

use crate::lab::name;
use crate::{Lab, Party, poll};

const SHORT: Duration = Duration::from_millis(50);

/// How many polls a lock future is given at most. The longest takes fewer.
const POLLS: usize = 12;

/// A wait that ran out of time leaves no key, and the lock goes to who still waits.
pub async fn timeout_leaves_no_key(lab: &Lab) {
    let (holder, waiter, next) = (lab.party().await, lab.party().await, lab.party().await);
    let name = name("timeout");
    let held = holder.lock(&name).await;

    let error = waiter.lock_within(&name, SHORT).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    lab.queue_has(&name, 1).await;

    holder.unlock(&held).await;
    let held = next.lock(&name).await;
    next.unlock(&held).await;
    lab.queue_has(&name, 0).await;
}

/// A wait whose future was dropped leaves no key.
pub async fn dropped_wait_leaves_no_key(lab: &Lab) {
    let (holder, waiter) = (lab.party().await, lab.party().await);
    let name = name("dropped");
    let held = holder.lock(&name).await;
    let waiting = waiter.waiting(&name);
    lab.queued(&name, waiter.lease()).await;

    assert_eq!(waiting.give_up().await.map(Result::ok), None);

    lab.queue_has(&name, 1).await;
    assert_eq!(lab.queue(&name).await[0].key, held.key.as_bytes());
}

/// Wherever the future of a free lock is dropped, nobody is left holding it.
pub async fn drop_at_every_poll_of_a_free_lock_leaves_no_key(lab: &Lab) {
    let (party, next) = (lab.party().await, lab.party().await);
    for polls in 0..=POLLS {
        let name = name(format!("free-{polls}"));
        drop_after(&party, &name, polls).await;
        can_be_had(lab, &next, &name).await;
    }
    all_stay_free(lab, "free").await;
}

/// Wherever the future of a wait is dropped, no waiter is left behind.
pub async fn drop_at_every_poll_of_a_wait_leaves_no_key(lab: &Lab) {
    let (holder, party, next) = (lab.party().await, lab.party().await, lab.party().await);
    for polls in 0..=POLLS {
        let name = name(format!("wait-{polls}"));
        let held = holder.lock(&name).await;
        drop_after(&party, &name, polls).await;
        lab.queue_has(&name, 1).await;
        holder.unlock(&held).await;
        can_be_had(lab, &next, &name).await;
    }
    all_stay_free(lab, "wait").await;
}

/// Many waiters that are dropped at once, each at another moment, all go.
pub async fn waits_dropped_at_random_moments_leave_no_key(lab: &Lab) {
    let holder = lab.party().await;
    let name = name("random");
    let held = holder.lock(&name).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (party, name) = (lab.party_on(holder.client()).await, name.clone());
        let moment = Duration::from_micros(random.u64(0..30_000));
        waits.spawn(async move { timeout(moment, party.lock(&name)).await.is_err() });
    }
    assert!(waits.join_all().await.iter().all(|gave_up| *gave_up));

    lab.queue_has(&name, 1).await;
    holder.unlock(&held).await;
    can_be_had(lab, &holder, &name).await;
}

/// A wait with a timeout that no clock can reach is withdrawn like any other.
pub async fn endless_wait_can_be_dropped(lab: &Lab) {
    let (holder, waiter) = (lab.party().await, lab.party().await);
    let name = name("endless");
    holder.lock(&name).await;
    let endless = waiter.clone();
    let (waited_for, entered) = (name.clone(), waiter.lease());
    let wait = tokio::spawn(async move { endless.lock_within(&waited_for, Duration::MAX).await });
    lab.queued(&name, entered).await;

    wait.abort();

    lab.queue_has(&name, 1).await;
}

/// A lock that is refused leaves no key either.
pub async fn refused_lock_leaves_no_key(lab: &Lab) {
    let name = name("refused");
    let nobody = Party::new(lab.client().await, LeaseId::new(0x7ead).unwrap());

    let error = nobody.context(&name).lock().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
    assert_eq!(lab.queue(&name).await, []);
}

/// After giving up, the same lease can wait again, is granted the lock, and keeps it.
pub async fn waiting_again_with_the_same_lease_is_granted_for_good(lab: &Lab) {
    let (holder, waiter) = (lab.party().await, lab.party().await);
    let name = name("again");
    let held = holder.lock(&name).await;
    for _ in 0..10 {
        let moment = Duration::from_millis(10);
        let error = waiter.lock_within(&name, moment).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    }

    let waiting = waiter.waiting(&name);
    lab.queued(&name, waiter.lease()).await;
    holder.unlock(&held).await;
    let held = waiting.granted().await;

    lab.stays(&name).await;
    assert_eq!(
        lab.queue(&name).await[0].create_revision,
        held.create_revision
    );
}

/// The time limit is for waits that need no more polls than they got.
async fn drop_after(party: &Party, name: &LockName, polls: usize) {
    let context = party.context(name);
    let outcome = timeout(SHORT, poll::at_most(context.lock(), polls)).await;
    if let Ok(Some(held)) = outcome {
        party.unlock(&held.unwrap()).await;
    }
}

async fn can_be_had(lab: &Lab, party: &Party, name: &LockName) {
    let held = party.lock(name).await;
    party.unlock(&held).await;
    lab.queue_has(name, 0).await;
}

/// An entry that was already given up may come in late: it must not stay.
async fn all_stay_free(lab: &Lab, label: &str) {
    for polls in 0..=POLLS {
        lab.queue_has(&name(format!("{label}-{polls}")), 0).await;
    }
}
