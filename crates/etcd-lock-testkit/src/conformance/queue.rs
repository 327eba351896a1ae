//! The queue: who comes first is served first, and every release lets the next one in.

use etcd_lock_core::kv::PutRequest;

use crate::{TestContext, store};

/// Waiters are granted the lock in the order in which they came.
pub async fn waiters_are_granted_in_order_of_arrival(test: &TestContext) {
    let (holder, name) = (test.contender().await, test.name("order"));
    let mut held = holder.lock(&name).await;
    let mut releaser = holder;
    let mut waiters = Vec::new();
    for place in 2..=5 {
        let contender = test.contender().await;
        waiters.push((contender.waiting(&name), contender));
        test.queue_has(&name, place).await;
    }

    for (waiting, contender) in waiters {
        assert!(!waiting.is_over());
        releaser.unlock(&held).await;
        held = waiting.granted().await;
        assert_eq!(test.queue(&name).await[0].key, held.key.as_bytes());
        releaser = contender;
    }
}

/// Waiters that share a connection are served in order, too.
pub async fn waiters_of_one_connection_are_granted_in_order(test: &TestContext) {
    let client = test.client().await;
    let (holder, name) = (test.contender_on(&client).await, test.name("order-shared"));
    let mut last = holder.lock(&name).await;
    let mut waiters = Vec::new();
    for place in 2..=4 {
        let contender = test.contender_on(&client).await;
        waiters.push(contender.waiting(&name));
        test.queue_has(&name, place).await;
    }

    for waiting in waiters {
        holder.unlock(&last).await;
        let held = waiting.granted().await;
        assert!(held.create_revision > last.create_revision);
        last = held;
    }
}

/// Nobody else is granted the lock while it is held, whoever leaves the queue behind the holder.
pub async fn waiter_that_leaves_does_not_let_the_next_one_in(test: &TestContext) {
    let (holder, leaver, next) = (
        test.contender().await,
        test.contender().await,
        test.contender().await,
    );
    let name = test.name("leaver");
    let held = holder.lock(&name).await;
    let leaving = leaver.waiting(&name);
    test.queue_has(&name, 2).await;
    let waiting = next.waiting(&name);
    test.queue_has(&name, 3).await;

    assert_eq!(leaving.give_up().await.map(Result::ok), None);
    test.queue_has(&name, 2).await;
    test.queue_stays(&name).await;
    assert!(!waiting.is_over());

    holder.unlock(&held).await;
    let held = waiting.granted().await;
    assert_eq!(held.key, name.key(next.lease()));
}

/// An entry that another kind of client made, as `etcdctl lock` does, is waited for like any other.
pub async fn entry_of_another_client_is_waited_for(test: &TestContext) {
    let (other, contender) = (test.contender().await, test.contender().await);
    let name = test.name("foreign");
    let entry = name.key(other.lease()).as_bytes().clone();
    let put = PutRequest::new(entry.clone(), "who I am").with_lease(other.lease());
    store::run(test.inspector(), put).await;

    let waiting = contender.waiting(&name);
    test.queue_has(&name, 2).await;
    test.queue_stays(&name).await;
    assert!(!waiting.is_over());

    store::delete(test.inspector(), entry).await;
    waiting.granted().await;
}

/// An entry that another kind of client makes behind ours doesn't hold us up.
pub async fn entry_of_another_client_behind_ours_is_not_waited_for(test: &TestContext) {
    let (other, first, second) = (
        test.contender().await,
        test.contender().await,
        test.contender().await,
    );
    let name = test.name("foreign-behind");
    let held = first.lock(&name).await;
    let waiting = second.waiting(&name);
    test.queue_has(&name, 2).await;
    let put = PutRequest::new(name.key(other.lease()).as_bytes().clone(), "");
    store::run(test.inspector(), put.with_lease(other.lease())).await;

    first.unlock(&held).await;

    assert_eq!(waiting.granted().await.key, name.key(second.lease()));
    assert_eq!(test.queue(&name).await.len(), 2);
}

/// However many wait on a connection, the holder's release gets through on the same one.
pub async fn unlock_while_many_wait_on_one_connection(test: &TestContext) {
    const WAITERS: usize = 200;
    let client = test.client().await;
    let (holder, name) = (test.contender_on(&client).await, test.name("crowd"));
    let held = holder.lock(&name).await;
    let first = test.contender_on(&client).await;
    let waiting = first.waiting(&name);
    test.queue_has(&name, 2).await;
    let mut crowd = Vec::new();
    for _ in 1..WAITERS {
        crowd.push(test.contender_on(&client).await.waiting(&name));
    }
    test.queue_has(&name, 1 + WAITERS).await;

    holder.unlock(&held).await;
    let held = waiting.granted().await;

    drop(crowd);
    test.queue_has(&name, 1).await;
    first.unlock(&held).await;
    test.queue_has(&name, 0).await;
}
