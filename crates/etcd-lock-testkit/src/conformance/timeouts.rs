//! Timeouts at the ends of what there is: the least, the greatest, and none.

use std::time::Duration;

use etcd_lock_core::{Timeout, new};

use crate::TestContext;

/// A timeout that is over before anything can be answered ends, one way or the other, and leaves nothing behind.
pub async fn least_timeout_ends(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("least"));
    match contender.lock_within(&name, Duration::from_nanos(1)).await {
        Ok(held) => contender.unlock(&held).await,
        Err(error) => assert!(error.is_timeout(), "{error:?}"),
    }
    test.queue_has(&name, 0).await;
    let held = contender.lock(&name).await;
    contender.unlock(&held).await;
    test.queue_has(&name, 0).await;
}

/// A timeout longer than any clock goes works: it is no overflow.
pub async fn greatest_timeout_works(test: &TestContext) {
    let (contender, name) = (test.contender().await, test.name("greatest"));
    for bound in [Timeout::After(Duration::MAX), Timeout::Infinity] {
        let held = contender
            .context(&name)
            .with_timeout(bound)
            .lock()
            .await
            .unwrap();
        let unlock = new(contender.client()).with_key(held.key.as_bytes().clone());
        unlock.with_timeout(bound).unlock().await.unwrap();
    }
}

/// A wait without a bound is granted when its time comes.
pub async fn endless_wait_is_granted(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("endless");
    let held = holder.lock(&name).await;
    let endless = waiter.context(&name).with_timeout(Timeout::Infinity);
    let wait = tokio::spawn(async move { endless.lock().await });
    test.queued(&name, waiter.lease()).await;

    holder.unlock(&held).await;

    wait.await.unwrap().unwrap();
}
