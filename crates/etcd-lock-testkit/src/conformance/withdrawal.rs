//! A waiter that gives up leaves the queue: by timeout, by dropping the future, by an error.

use std::time::Duration;

use etcd_lock_core::{ErrorKind, LeaseId, LockName};
use tokio::time::timeout;

use crate::{Contender, TestContext, poll};

const SHORT: Duration = Duration::from_millis(50);

/// More polls than any lock future needs.
const POLLS: usize = 100;

/// A wait that ran out of time leaves no key, and the lock goes to who still waits.
pub async fn timeout_leaves_no_key(test: &TestContext) {
    let (holder, waiter, next) = (
        test.contender().await,
        test.contender().await,
        test.contender().await,
    );
    let name = test.name("timeout");
    let held = holder.lock(&name).await;

    let error = waiter.lock_within(&name, SHORT).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    test.queue_has(&name, 1).await;

    holder.unlock(&held).await;
    let held = next.lock(&name).await;
    next.unlock(&held).await;
    test.queue_has(&name, 0).await;
}

/// A wait whose future was dropped leaves no key.
pub async fn dropped_wait_leaves_no_key(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("dropped");
    let held = holder.lock(&name).await;
    let waiting = waiter.waiting(&name);
    test.queued(&name, waiter.lease()).await;

    assert_eq!(waiting.give_up().await.map(Result::ok), None);

    test.queue_has(&name, 1).await;
    assert_eq!(test.queue(&name).await[0].key, held.key.as_bytes());
}

/// Wherever the future of a free lock is dropped, nobody is left holding it.
pub async fn drop_at_every_poll_of_a_free_lock_leaves_no_key(test: &TestContext) {
    let (contender, next) = (test.contender().await, test.contender().await);
    let mut names = Vec::new();
    for polls in 0..POLLS {
        let name = test.name(format!("free-{polls}"));
        let end = drop_after(&contender, &name, polls).await;
        can_be_had(test, &next, &name).await;
        names.push(name);
        if end == End::Granted {
            return all_stay_free(test, &names).await;
        }
    }
    panic!("{POLLS} polls are not enough for a free lock");
}

/// Wherever the future of a wait is dropped, no waiter is left behind.
pub async fn drop_at_every_poll_of_a_wait_leaves_no_key(test: &TestContext) {
    let (holder, contender, next) = (
        test.contender().await,
        test.contender().await,
        test.contender().await,
    );
    let mut names = Vec::new();
    for polls in 0..POLLS {
        let name = test.name(format!("wait-{polls}"));
        let held = holder.lock(&name).await;
        let end = drop_after(&contender, &name, polls).await;
        test.queue_has(&name, 1).await;
        holder.unlock(&held).await;
        can_be_had(test, &next, &name).await;
        names.push(name);
        if end == End::Waited {
            return all_stay_free(test, &names).await;
        }
    }
    panic!("{POLLS} polls are not enough to wait");
}

/// Many waiters that are dropped at once, each at another moment, all go.
pub async fn waits_dropped_at_random_moments_leave_no_key(test: &TestContext) {
    let holder = test.contender().await;
    let name = test.name("random");
    let held = holder.lock(&name).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (contender, name) = (test.contender_on(holder.client()).await, name.clone());
        let moment = Duration::from_micros(random.u64(0..30_000));
        waits.spawn(async move { timeout(moment, contender.lock(&name)).await.is_err() });
    }
    assert!(waits.join_all().await.iter().all(|gave_up| *gave_up));

    test.queue_has(&name, 1).await;
    holder.unlock(&held).await;
    can_be_had(test, &holder, &name).await;
}

/// A wait with a timeout that no clock can reach is withdrawn like any other.
pub async fn endless_wait_can_be_dropped(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("endless");
    holder.lock(&name).await;
    let endless = waiter.clone();
    let (waited_for, entered) = (name.clone(), waiter.lease());
    let wait = tokio::spawn(async move { endless.lock_within(&waited_for, Duration::MAX).await });
    test.queued(&name, entered).await;

    wait.abort();

    test.queue_has(&name, 1).await;
}

/// A lock that is refused leaves no key either.
pub async fn refused_lock_leaves_no_key(test: &TestContext) {
    let name = test.name("refused");
    let nobody = Contender::new(test.client().await, LeaseId::new(0x7ead).unwrap());

    let error = nobody.context(&name).lock().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
    assert_eq!(test.queue(&name).await, []);
}

/// After giving up, the same lease can wait again, is granted the lock, and keeps it.
pub async fn waiting_again_with_the_same_lease_is_granted_for_good(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("again");
    let held = holder.lock(&name).await;
    for _ in 0..10 {
        let moment = Duration::from_millis(10);
        let error = waiter.lock_within(&name, moment).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    }

    let waiting = waiter.waiting(&name);
    test.queued(&name, waiter.lease()).await;
    holder.unlock(&held).await;
    let held = waiting.granted().await;

    test.queue_stays(&name).await;
    assert_eq!(
        test.queue(&name).await[0].create_revision,
        held.create_revision
    );
}

/// How a lock future ended that got a number of polls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It needed more.
    Dropped,
    Granted,
    /// It needed no more, and had to wait.
    Waited,
}

async fn drop_after(contender: &Contender, name: &LockName, polls: usize) -> End {
    let context = contender.context(name);
    match timeout(SHORT, poll::at_most(context.lock(), polls)).await {
        Ok(None) => End::Dropped,
        Ok(Some(held)) => {
            contender.unlock(&held.unwrap()).await;
            End::Granted
        }
        Err(_) => End::Waited,
    }
}

async fn can_be_had(test: &TestContext, contender: &Contender, name: &LockName) {
    let held = contender.lock(name).await;
    contender.unlock(&held).await;
    test.queue_has(name, 0).await;
}

/// An entry that was already given up may come in late: it must not stay.
async fn all_stay_free(test: &TestContext, names: &[LockName]) {
    for name in names {
        test.queue_has(name, 0).await;
    }
}
