//! Which locks are one and the same, and which have nothing to do with each other.

use std::time::Duration;

use etcd_lock_core::LockName;

use crate::lab::name;
use crate::{Lab, NestedNames, store};

/// Long enough to be granted a lock that is free, short enough to wait for one that isn't.
const MOMENT: Duration = Duration::from_millis(400);

/// Different names are different locks.
pub async fn different_names_are_independent(lab: &Lab) {
    let (first, second) = (lab.party().await, lab.party().await);
    let held = first.lock(&name("one")).await;
    let other = second.lock(&name("two")).await;
    first.unlock(&held).await;
    second.unlock(&other).await;
}

/// Two parties exclude each other although they share a connection.
pub async fn one_connection_two_leases_exclude_each_other(lab: &Lab) {
    let client = lab.client().await;
    let (first, second) = (lab.party_on(&client).await, lab.party_on(&client).await);
    let name = name("shared");

    let held = first.lock(&name).await;
    let error = second.lock_within(&name, MOMENT).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");

    first.unlock(&held).await;
    second.lock(&name).await;
}

/// A name that another begins with is another lock: only a slash nests.
pub async fn name_that_begins_like_another_is_independent(lab: &Lab) {
    let (first, second) = (lab.party().await, lab.party().await);
    first.lock(&name("job")).await;
    second.lock(&name("jo")).await;
    second.lock(&name("jobs")).await;
    second.lock(&name("job\0")).await;
}

/// A name may be any bytes, and names that differ in such a byte don't meet.
pub async fn names_of_any_bytes_work_and_do_not_clash(lab: &Lab) {
    let odd: [&[u8]; 7] = [
        b"odd\0",
        b"odd\0\0",
        b"odd\xff",
        b"\xff\xff",
        b"\0",
        b"\xf0\x9f\x94",
        b"odd ",
    ];
    let mut holds = Vec::new();
    for bytes in odd {
        let party = lab.party().await;
        let held = party.lock(&name(bytes)).await;
        assert_eq!(held.key.parts(), Some((name(bytes), party.lease())));
        holds.push((party, held));
    }
    for (party, held) in holds {
        party.unlock(&held).await;
    }
    for bytes in odd {
        assert_eq!(lab.queue(&name(bytes)).await, []);
    }
}

/// A name with slashes is one name: `a/b` doesn't wait for a holder of `a`.
pub async fn name_with_a_slash_does_not_wait_for_its_parent(lab: &Lab) {
    let (parent, child) = (lab.party().await, lab.party().await);
    parent.lock(&name("tree")).await;
    let held = child.lock(&name("tree/leaf")).await;
    child.unlock(&held).await;
}

/// `a` waits for a holder of `a/b` on etcd's own lock service, and doesn't on our queue.
pub async fn parent_waits_for_a_nested_name_or_not_as_promised(lab: &Lab) {
    let (parent, child) = (lab.party().await, lab.party().await);
    let (outer, inner) = (name("nest"), name("nest/leaf"));

    let held = child.lock(&inner).await;
    held_up_as_promised(lab, &parent, &outer).await;

    child.unlock(&held).await;
    parent.lock(&outer).await;
}

/// A key below the name that is no queue entry holds the lock up on etcd's own lock service, and not on our queue.
pub async fn foreign_key_below_the_name_blocks_or_not_as_promised(lab: &Lab) {
    let (party, name) = (lab.party().await, name("littered"));

    store::put(lab.inspector(), "littered/notes", "not a queue entry").await;
    held_up_as_promised(lab, &party, &name).await;

    store::delete(lab.inspector(), "littered/notes").await;
    party.lock(&name).await;
}

async fn held_up_as_promised(lab: &Lab, party: &crate::Party, name: &LockName) {
    let outcome = party.lock_within(name, MOMENT).await;
    match (outcome, lab.profile().nested_names) {
        (Ok(held), NestedNames::Apart | NestedNames::Either) => party.unlock(&held).await,
        (Err(error), NestedNames::Wait | NestedNames::Either) if error.is_timeout() => {}
        (outcome, promised) => panic!("{outcome:?}, not as promised: {promised:?}"),
    }
}
