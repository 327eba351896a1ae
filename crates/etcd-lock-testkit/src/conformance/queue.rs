//! The queue: who comes first is served first, and every release lets the next one in.

use etcd_lock_core::kv::PutRequest;

use crate::lab::name;
use crate::{Lab, store};

/// Waiters are granted the lock in the order in which they came.
pub async fn waiters_are_granted_in_order_of_arrival(lab: &Lab) {
    let (holder, name) = (lab.party().await, name("order"));
    let mut held = holder.lock(&name).await;
    let mut releaser = holder;
    let mut waiters = Vec::new();
    for place in 2..=5 {
        let party = lab.party().await;
        waiters.push((party.waiting(&name), party));
        lab.queue_has(&name, place).await;
    }

    for (waiting, party) in waiters {
        assert!(!waiting.is_over());
        releaser.unlock(&held).await;
        held = waiting.granted().await;
        assert_eq!(lab.queue(&name).await[0].key, held.key.as_bytes());
        releaser = party;
    }
}

/// Waiters that share a connection are served in order, too.
pub async fn waiters_of_one_connection_are_granted_in_order(lab: &Lab) {
    let client = lab.client().await;
    let (holder, name) = (lab.party_on(&client).await, name("order-shared"));
    let mut last = holder.lock(&name).await;
    let mut waiters = Vec::new();
    for place in 2..=4 {
        let party = lab.party_on(&client).await;
        waiters.push(party.waiting(&name));
        lab.queue_has(&name, place).await;
    }

    for waiting in waiters {
        holder.unlock(&last).await;
        let held = waiting.granted().await;
        assert!(held.create_revision > last.create_revision);
        last = held;
    }
}

/// Nobody else is granted the lock while it is held, whoever leaves the queue behind the holder.
pub async fn waiter_that_leaves_does_not_let_the_next_one_in(lab: &Lab) {
    let (holder, leaver, next) = (lab.party().await, lab.party().await, lab.party().await);
    let name = name("leaver");
    let held = holder.lock(&name).await;
    let leaving = leaver.waiting(&name);
    lab.queue_has(&name, 2).await;
    let waiting = next.waiting(&name);
    lab.queue_has(&name, 3).await;

    assert_eq!(leaving.give_up().await.map(Result::ok), None);
    lab.queue_has(&name, 2).await;
    lab.stays(&name).await;
    assert!(!waiting.is_over());

    holder.unlock(&held).await;
    let held = waiting.granted().await;
    assert_eq!(held.key, name.key(next.lease()));
}

/// An entry that another kind of client made, as `etcdctl lock` does, is waited for like any other.
pub async fn entry_of_another_client_is_waited_for(lab: &Lab) {
    let (other, party) = (lab.party().await, lab.party().await);
    let name = name("foreign");
    let entry = name.key(other.lease()).as_bytes().clone();
    let put = PutRequest::new(entry.clone(), "who I am").with_lease(other.lease());
    store::run(lab.inspector(), put).await;

    let waiting = party.waiting(&name);
    lab.queue_has(&name, 2).await;
    lab.stays(&name).await;
    assert!(!waiting.is_over());

    store::delete(lab.inspector(), entry).await;
    waiting.granted().await;
}

/// An entry that another kind of client makes behind ours doesn't hold us up.
pub async fn entry_of_another_client_behind_ours_is_not_waited_for(lab: &Lab) {
    let (other, first, second) = (lab.party().await, lab.party().await, lab.party().await);
    let name = name("foreign-behind");
    let held = first.lock(&name).await;
    let waiting = second.waiting(&name);
    lab.queue_has(&name, 2).await;
    let put = PutRequest::new(name.key(other.lease()).as_bytes().clone(), "");
    store::run(lab.inspector(), put.with_lease(other.lease())).await;

    first.unlock(&held).await;

    assert_eq!(waiting.granted().await.key, name.key(second.lease()));
    assert_eq!(lab.queue(&name).await.len(), 2);
}

/// However many wait on a connection, the holder's release gets through on the same one.
pub async fn unlock_while_many_wait_on_one_connection(lab: &Lab) {
    const WAITERS: usize = 200;
    let client = lab.client().await;
    let (holder, name) = (lab.party_on(&client).await, name("crowd"));
    let held = holder.lock(&name).await;
    let first = lab.party_on(&client).await;
    let waiting = first.waiting(&name);
    lab.queue_has(&name, 2).await;
    let mut crowd = Vec::new();
    for _ in 1..WAITERS {
        crowd.push(lab.party_on(&client).await.waiting(&name));
    }
    lab.queue_has(&name, 1 + WAITERS).await;

    holder.unlock(&held).await;
    let held = waiting.granted().await;

    drop(crowd);
    lab.queue_has(&name, 1).await;
    first.unlock(&held).await;
    lab.queue_has(&name, 0).await;
}
