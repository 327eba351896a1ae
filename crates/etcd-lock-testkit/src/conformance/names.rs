//! Which locks are one and the same, and which have nothing to do with each other.

use std::time::Duration;

use etcd_lock_core::LockName;

use crate::{Contender, NestedNames, TestContext, store};

/// How long a lock is waited for that isn't granted.
const MOMENT: Duration = Duration::from_millis(400);

/// Different names are different locks.
pub async fn different_names_are_independent(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    let held = first.lock(&test.name("one")).await;
    let other = second.lock(&test.name("two")).await;
    first.unlock(&held).await;
    second.unlock(&other).await;
}

/// Two parties exclude each other although they share a connection.
pub async fn one_connection_two_leases_exclude_each_other(test: &TestContext) {
    let client = test.client().await;
    let (first, second) = (
        test.contender_on(&client).await,
        test.contender_on(&client).await,
    );
    let name = test.name("shared");

    let held = first.lock(&name).await;
    let error = second.lock_within(&name, MOMENT).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");

    first.unlock(&held).await;
    second.lock(&name).await;
}

/// A name that another begins with is another lock: only a slash nests.
pub async fn name_that_begins_like_another_is_independent(test: &TestContext) {
    let (first, second) = (test.contender().await, test.contender().await);
    first.lock(&test.name("job")).await;
    second.lock(&test.name("jo")).await;
    second.lock(&test.name("jobs")).await;
    second.lock(&test.name("job\0")).await;
}

/// A name may be any bytes, and names that differ in such a byte don't meet.
pub async fn names_of_any_bytes_work_and_do_not_clash(test: &TestContext) {
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
        let contender = test.contender().await;
        let held = contender.lock(&test.name(bytes)).await;
        assert_eq!(
            held.key.parts(),
            Some((test.name(bytes), contender.lease()))
        );
        holds.push((contender, held));
    }
    for (contender, held) in holds {
        contender.unlock(&held).await;
    }
    for bytes in odd {
        assert_eq!(test.queue(&test.name(bytes)).await, []);
    }
}

/// The longest name that we allow works: what is refused is refused by us, and not by a server's limit.
pub async fn longest_name_works(test: &TestContext) {
    let contender = test.contender().await;
    let mut longest = test.name("x").as_bytes().to_vec();
    longest.resize(LockName::MAX_LEN, b'x');
    let longest = LockName::new(longest).unwrap();
    let held = contender.lock(&longest).await;
    contender.unlock(&held).await;
    test.queue_has(&longest, 0).await;
}

/// A name with slashes is one name: `a/b` doesn't wait for a holder of `a`.
pub async fn name_with_a_slash_does_not_wait_for_its_parent(test: &TestContext) {
    let (parent, child) = (test.contender().await, test.contender().await);
    parent.lock(&test.name("tree")).await;
    let held = child.lock(&test.name("tree/leaf")).await;
    child.unlock(&held).await;
}

/// `a` waits for a holder of `a/b` on etcd's own lock service, and doesn't on our queue.
pub async fn parent_waits_for_a_nested_name_or_not_as_promised(test: &TestContext) {
    for round in 0..2 {
        let (parent, promise) = test.contender_with_promise().await;
        // Where clients differ, the second round has one of the other kind.
        let (child, _) = test.contender_with_promise().await;
        let (outer, inner) = (format!("nest-{round}"), format!("nest-{round}/leaf"));
        let (outer, inner) = (test.name(outer), test.name(inner));

        let held = child.lock(&inner).await;
        waits_as_promised(&parent, &outer, promise).await;

        child.unlock(&held).await;
        parent.lock(&outer).await;
        test.client().await;
    }
}

/// A key below the name that is no queue entry holds the lock up on etcd's own lock service, and not on our queue.
pub async fn foreign_key_below_the_name_blocks_or_not_as_promised(test: &TestContext) {
    for round in 0..2 {
        let (contender, promise) = test.contender_with_promise().await;
        let name = test.name(format!("littered-{round}"));
        let foreign = format!("{name}/notes");

        store::put(test.inspector(), &foreign, "not a queue entry").await;
        waits_as_promised(&contender, &name, promise).await;

        store::delete(test.inspector(), foreign).await;
        contender.lock(&name).await;
    }
}

/// A lock that is not waited for must be granted, however long that takes on a busy machine.
async fn waits_as_promised(contender: &Contender, name: &LockName, promise: NestedNames) {
    match promise {
        NestedNames::Apart => {
            let held = contender.lock(name).await;
            contender.unlock(&held).await;
        }
        NestedNames::Wait => {
            let error = contender.lock_within(name, MOMENT).await.unwrap_err();
            assert!(error.is_timeout(), "{error:?}");
        }
    }
}
