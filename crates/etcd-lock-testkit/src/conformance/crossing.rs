//! Giving up in the moment of the grant: it ends in one or the other, and never in a lock that nobody knows of.

use std::time::Duration;

use etcd_lock_core::LockName;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::{Clock, Contender, TestContext, store};

const ROUNDS: u64 = 30;

/// How long the waiter waits.
const BOUND: Duration = Duration::from_millis(30);

/// The holder releases around the moment in which the waiter's time runs out.
pub async fn timeout_that_crosses_the_grant_is_one_or_the_other(test: &TestContext) {
    let all = Contenders::new(test).await;
    let mut outcomes = Outcomes::default();
    for round in 0..ROUNDS {
        let name = test.name(format!("timeout-{round}"));
        let held = all.holder.lock(&name).await;
        let (waiter, waited_for) = (all.waiter.clone(), name.clone());
        let wait = tokio::spawn(async move { waiter.lock_within(&waited_for, BOUND).await });

        sleep(around(BOUND, round)).await;
        all.holder.unlock(&held).await;

        let outcome = wait.await.unwrap();
        outcomes.count(outcome.is_ok());
        match outcome {
            Ok(grant) => {
                let kv = store::get(test.inspector(), grant.key.as_bytes().clone()).await;
                assert_eq!(kv.unwrap().create_revision, grant.create_revision);
                all.waiter.unlock(&grant).await;
            }
            Err(error) => assert!(error.is_timeout(), "{error:?}"),
        }
        all.drains(test, &name).await;
    }
    outcomes.both_occurred(test);
}

/// The holder releases around the moment in which the waiter's future is dropped.
pub async fn drop_that_crosses_the_grant_leaves_no_key(test: &TestContext) {
    let all = Contenders::new(test).await;
    let mut outcomes = Outcomes::default();
    for round in 0..ROUNDS {
        let name = test.name(format!("drop-{round}"));
        let held = all.holder.lock(&name).await;
        let waiting = all.waiter.waiting(&name);
        test.queued(&name, all.waiter.lease()).await;

        let holder = all.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        a_little(test, round).await;
        let outcome = waiting.give_up().await;
        outcomes.count(outcome.is_some());
        if let Some(granted) = outcome {
            all.waiter.unlock(&granted.unwrap()).await;
        }
        release.await.unwrap();

        all.drains(test, &name).await;
    }
    outcomes.both_occurred(test);
}

/// The waiter's lease is revoked around the moment of the grant.
pub async fn revoked_lease_that_crosses_the_grant_leaves_no_key(test: &TestContext) {
    let all = Contenders::new(test).await;
    let mut outcomes = Outcomes::default();
    for round in 0..ROUNDS {
        let name = test.name(format!("revoke-{round}"));
        let held = all.holder.lock(&name).await;
        let doomed = test.contender_on(all.waiter.client()).await;
        let waiting = doomed.waiting(&name);
        test.queued(&name, doomed.lease()).await;

        let holder = all.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        a_little(test, round).await;
        doomed.revoke().await;
        release.await.unwrap();

        // A grant before the lease ended is as good as an error after it.
        let outcome = waiting.outcome().await;
        outcomes.count(outcome.is_ok());
        if let Err(error) = outcome {
            assert!(error.is_session_lost(), "{error:?}");
        }
        all.drains(test, &name).await;
    }
    outcomes.both_occurred(test);
}

/// The same lease takes the same lock again and again: what an earlier hold left behind in a transport must not make it
/// forget to clean up.
pub async fn giving_up_after_an_earlier_hold_leaves_no_key(test: &TestContext) {
    let all = Contenders::new(test).await;
    let mut outcomes = Outcomes::default();
    let name = test.name("earlier-hold");
    for round in 0..ROUNDS {
        let earlier = all.waiter.lock(&name).await;
        all.waiter.unlock(&earlier).await;
        let held = all.holder.lock(&name).await;
        let waiting = all.waiter.waiting(&name);
        test.queued(&name, all.waiter.lease()).await;

        let holder = all.holder.clone();
        let release = tokio::spawn(async move { holder.unlock(&held).await });
        a_little(test, round).await;
        let outcome = waiting.give_up().await;
        outcomes.count(outcome.is_some());
        if let Some(granted) = outcome {
            all.waiter.unlock(&granted.unwrap()).await;
        }
        release.await.unwrap();

        all.drains(test, &name).await;
    }
    outcomes.both_occurred(test);
}

/// More in each round. Where time is paused nothing takes any, and what counts is how often the others get to run.
async fn a_little(test: &TestContext, round: u64) {
    match test.clock() {
        Clock::Paused => {
            for _ in 0..round {
                yield_now().await;
            }
        }
        Clock::Real => sleep(Duration::from_micros(round * 100)).await,
    }
}

/// How often the wait ended in one way and in the other.
#[derive(Debug, Default)]
struct Outcomes {
    granted: u32,
    given_up: u32,
}

impl Outcomes {
    fn count(&mut self, granted: bool) {
        match granted {
            true => self.granted += 1,
            false => self.given_up += 1,
        }
    }

    /// Rounds that all end alike have not crossed anything. Where time is real, the machine decides.
    fn both_occurred(&self, test: &TestContext) {
        let both = self.granted > 0 && self.given_up > 0;
        assert!(both || test.clock() == Clock::Real, "{self:?}");
    }
}

/// From a little before to a little after.
fn around(moment: Duration, round: u64) -> Duration {
    moment * 3 / 4 + Duration::from_micros(500 * round)
}

struct Contenders {
    holder: Contender,
    waiter: Contender,
    next: Contender,
}

impl Contenders {
    async fn new(test: &TestContext) -> Self {
        Self {
            holder: test.contender().await,
            waiter: test.contender().await,
            next: test.contender().await,
        }
    }

    /// The next one gets the lock in any case, and the queue is empty in the end.
    async fn drains(&self, test: &TestContext, name: &LockName) {
        let held = self.next.lock(name).await;
        self.next.unlock(&held).await;
        test.queue_has(name, 0).await;
    }
}
