//! Giving up in the moment of the grant: it ends in one or the other, and never in a lock that nobody knows of.

use std::time::Duration;

use etcd_lock_core::LockName;
use tokio::time::sleep;

use crate::lab::name;
use crate::{Lab, Party, store};

const ROUNDS: u64 = 30;

/// How long the waiter waits.
const BOUND: Duration = Duration::from_millis(30);

/// The holder releases around the moment in which the waiter's time runs out.
pub async fn timeout_that_crosses_the_grant_is_one_or_the_other(lab: &Lab) {
    let cast = Cast::new(lab).await;
    for round in 0..ROUNDS {
        let name = name(format!("timeout-{round}"));
        let held = cast.holder.lock(&name).await;
        let (waiter, waited_for) = (cast.waiter.clone(), name.clone());
        let wait = tokio::spawn(async move { waiter.lock_within(&waited_for, BOUND).await });

        sleep(around(BOUND, round)).await;
        cast.holder.unlock(&held).await;

        match wait.await.unwrap() {
            Ok(grant) => {
                let kv = store::get(lab.inspector(), grant.key.as_bytes().clone()).await;
                assert_eq!(kv.unwrap().create_revision, grant.create_revision);
                cast.waiter.unlock(&grant).await;
            }
            Err(error) => assert!(error.is_timeout(), "{error:?}"),
        }
        cast.drains(lab, &name).await;
    }
}

/// The holder releases around the moment in which the waiter's future is dropped.
pub async fn drop_that_crosses_the_grant_leaves_no_key(lab: &Lab) {
    let cast = Cast::new(lab).await;
    for round in 0..ROUNDS {
        let name = name(format!("drop-{round}"));
        let held = cast.holder.lock(&name).await;
        let waiting = cast.waiter.waiting(&name);
        lab.queued(&name, cast.waiter.lease()).await;

        let holder = cast.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        sleep(Duration::from_micros(round * 100)).await;
        if let Some(granted) = waiting.give_up().await {
            cast.waiter.unlock(&granted.unwrap()).await;
        }
        release.await.unwrap();

        cast.drains(lab, &name).await;
    }
}

/// The waiter's lease is revoked around the moment of the grant.
pub async fn revoked_lease_that_crosses_the_grant_leaves_no_key(lab: &Lab) {
    let cast = Cast::new(lab).await;
    for round in 0..ROUNDS {
        let name = name(format!("revoke-{round}"));
        let held = cast.holder.lock(&name).await;
        let doomed = lab.party_on(cast.waiter.client()).await;
        let waiting = doomed.waiting(&name);
        lab.queued(&name, doomed.lease()).await;

        let holder = cast.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        sleep(Duration::from_micros(round * 100)).await;
        doomed.revoke().await;
        release.await.unwrap();

        // A grant before the lease ended is as good as an error after it.
        if let Err(error) = waiting.outcome().await {
            assert!(error.is_session_lost(), "{error:?}");
        }
        cast.drains(lab, &name).await;
    }
}

/// The same lease takes the same lock again and again: what an earlier hold left behind in a transport must not make it
/// forget to clean up.
pub async fn giving_up_after_an_earlier_hold_leaves_no_key(lab: &Lab) {
    let cast = Cast::new(lab).await;
    let name = name("earlier-hold");
    for round in 0..ROUNDS {
        let earlier = cast.waiter.lock(&name).await;
        cast.waiter.unlock(&earlier).await;
        let held = cast.holder.lock(&name).await;
        let waiting = cast.waiter.waiting(&name);
        lab.queued(&name, cast.waiter.lease()).await;

        let holder = cast.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        sleep(Duration::from_micros(round * 100)).await;
        if let Some(granted) = waiting.give_up().await {
            cast.waiter.unlock(&granted.unwrap()).await;
        }
        release.await.unwrap();

        cast.drains(lab, &name).await;
    }
}

/// From a little before to a little after.
fn around(moment: Duration, round: u64) -> Duration {
    moment * 3 / 4 + Duration::from_micros(500 * round)
}

struct Cast {
    holder: Party,
    waiter: Party,
    next: Party,
}

impl Cast {
    async fn new(lab: &Lab) -> Self {
        Self {
            holder: lab.party().await,
            waiter: lab.party().await,
            next: lab.party().await,
        }
    }

    /// Whatever happened, the next one gets the lock, and the queue is empty in the end.
    async fn drains(&self, lab: &Lab, name: &LockName) {
        let held = self.next.lock(name).await;
        self.next.unlock(&held).await;
        lab.queue_has(name, 0).await;
    }
}
