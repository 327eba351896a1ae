//! Holds and waits whose lease ends, or whose key somebody deletes.

use etcd_lock_core::{Error, ErrorKind, LeaseId};

use crate::{Contender, TestContext, store};

/// A lease that never was gets no place in the queue.
pub async fn unknown_lease_is_refused(test: &TestContext) {
    let nobody = Contender::new(test.client().await, LeaseId::new(0xdead).unwrap());
    let error = nobody
        .context(&test.name("unknown"))
        .lock()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}

/// A lease that is over gets none either.
pub async fn revoked_lease_is_refused(test: &TestContext) {
    let contender = test.contender().await;
    contender.revoke().await;
    let error = contender
        .context(&test.name("over"))
        .lock()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseNotFound, "{error:?}");
}

/// Revoking the holder's lease lets the next one in.
pub async fn lease_revoked_while_holding_frees_the_lock(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("revoked-holder");
    holder.lock(&name).await;
    let waiting = waiter.waiting(&name);
    test.queue_has(&name, 2).await;

    holder.revoke().await;

    assert_eq!(waiting.granted().await.key, name.key(waiter.lease()));
}

/// A holder that is dead holds nobody up for longer than its lease lives.
pub async fn lease_that_expires_while_holding_frees_the_lock(test: &TestContext) {
    let (holder, waiter) = (test.short_lived_contender().await, test.contender().await);
    let name = test.name("expired-holder");
    holder.lock(&name).await;
    waiter.lock(&name).await;
    assert_eq!(test.queue(&name).await.len(), 1);
}

/// Revoking a waiter's lease ends its wait, while the holder goes on.
pub async fn lease_revoked_while_waiting_ends_the_wait(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("revoked-waiter");
    let held = holder.lock(&name).await;
    let waiting = waiter.waiting(&name);
    test.queue_has(&name, 2).await;

    waiter.revoke().await;

    is_lost(&waiting.outcome().await.unwrap_err());
    assert_eq!(test.queue(&name).await[0].key, held.key.as_bytes());
}

/// A waiter whose lease expires is told so, while the holder goes on.
pub async fn lease_that_expires_while_waiting_ends_the_wait(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.short_lived_contender().await);
    let name = test.name("expired-waiter");
    holder.lock(&name).await;

    let error = waiter.context(&name).lock().await.unwrap_err();

    is_lost(&error);
    assert_eq!(test.queue(&name).await.len(), 1);
}

/// A waiter whose lease ended is never granted the lock: on etcd before 3.5 the server says OK then.
pub async fn waiter_without_a_lease_is_never_granted(test: &TestContext) {
    let (holder, next) = (test.contender().await, test.contender().await);
    // Often and on new connections, since it is a matter of which news comes first.
    for round in 0..20 {
        let name = test.name(format!("false-ok-{round}"));
        let held = holder.lock(&name).await;
        let waiter = test.contender().await;
        let waiting = waiter.waiting(&name);
        test.queue_has(&name, 2).await;

        waiter.revoke().await;
        // At once, before anybody can have told the waiter anything.
        holder.unlock(&held).await;

        is_lost(&waiting.outcome().await.unwrap_err());
        next.lock(&name).await;
    }
}

/// An operator who deletes a waiter's entry ends its wait.
pub async fn entry_deleted_while_waiting_ends_the_wait(test: &TestContext) {
    let (holder, waiter) = (test.contender().await, test.contender().await);
    let name = test.name("deleted-waiter");
    let held = holder.lock(&name).await;
    let waiting = waiter.waiting(&name);
    test.queue_has(&name, 2).await;

    store::delete(
        test.inspector(),
        name.key(waiter.lease()).as_bytes().clone(),
    )
    .await;

    let error = waiting.outcome().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error:?}");
    assert_eq!(test.queue(&name).await[0].key, held.key.as_bytes());
}

/// A client that lost one lease can go on with another one.
pub async fn new_lease_can_lock_after_the_old_one_was_lost(test: &TestContext) {
    let client = test.client().await;
    let name = test.name("anew");
    let first = test.contender_on(&client).await;
    let old = first.lock(&name).await;
    first.revoke().await;

    let held = test.contender_on(&client).await.lock(&name).await;

    assert!(held.create_revision > old.create_revision);
}

fn is_lost(error: &Error) {
    assert!(error.is_session_lost(), "{error:?}");
}
