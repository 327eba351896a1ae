//! Names, keys, leases and times that can't be right are refused before anybody is asked: no connection is open here, and
//! none is missed.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use etcd_lock_core::{
    Context, Error, ErrorKind, LeaseId, LockKey, LockName, Result, Revision, Timeout, Ttl, lease,
    lock, lock_with, new, try_lock, unlock, with_key, with_lease, with_name, with_timeout,
};

#[test]
fn a_name_is_not_empty_and_not_too_long() {
    is_invalid(LockName::new(""), "the lock name is empty");
    let long = vec![b'x'; 2 << 20];
    is_invalid(
        LockName::new(long),
        "2097152 bytes, at most 131072 are allowed",
    );
}

#[test]
fn a_key_is_not_empty_and_not_too_long() {
    is_invalid(LockKey::new(""), "the lock key is empty");
    let long = vec![b'x'; 2 << 20];
    is_invalid(LockKey::new(long), "2097152 bytes, more than any lock's");
    let longest = LockName::new(vec![b'x'; LockName::MAX_LEN]).unwrap();
    let key = longest.key(LeaseId::new(i64::MAX).unwrap());
    assert_eq!(LockKey::new(key.as_bytes().clone()).unwrap(), key);
}

#[test]
fn a_lease_is_greater_than_zero() {
    for bad in [0, -1, i64::MIN] {
        is_invalid(LeaseId::new(bad), &format!("the lease id is {bad}"));
        is_invalid(LeaseId::new(bad), "grant a lease first");
    }
    assert!(LeaseId::new(1).is_ok() && LeaseId::new(i64::MAX).is_ok());
}

#[test]
fn a_time_to_live_is_one_that_etcd_grants() {
    for bad in [0, -1, i64::MIN, Ttl::MAX_SECS + 1, i64::MAX] {
        is_invalid(Ttl::from_secs(bad), "from 1 to 9000000000 s");
    }
    for bad in [Duration::ZERO, Duration::MAX] {
        is_invalid(Ttl::try_from(bad), "from 1 to 9000000000 s");
    }
    assert!(Ttl::from_secs(Ttl::MAX_SECS).is_ok());
}

#[test]
fn a_revision_is_not_negative() {
    is_invalid(Revision::new(-1), "the revision -1 is negative");
    assert_eq!(Revision::new(0).unwrap(), Revision::ZERO);
}

/// We take every name that etcd takes: it is up to the user what a name looks like.
#[test]
fn a_name_may_have_any_bytes() {
    let lease = LeaseId::new(0x1f).unwrap();
    for name in [
        &b"\0"[..],
        b"\xff",
        b"/",
        b"a/b",
        b"/a/",
        b"a\0b",
        b"\xff\xfe/1f",
        b" ",
    ] {
        let name = LockName::new(name).unwrap();
        let key = name.key(lease);
        assert_eq!(key.parts(), Some((name, lease)), "{key:?}");
    }
}

#[test]
fn a_lock_needs_a_name_and_a_lease() {
    let ctx = || new("never opened");
    let named = || with_name(ctx(), "name");
    is_invalid(now(lock(ctx())), "with_name");
    is_invalid(now(lock(named())), "with_lease");
    is_invalid(now(lock(with_lease(ctx(), 1))), "with_name");
    is_invalid(now(lock_with(ctx(), "", 1)), "name is empty");
    for bad in [0, -1] {
        is_invalid(now(lock_with(ctx(), "name", bad)), "lease id");
        is_invalid(now(lock(with_lease(named(), bad))), "lease id");
    }
}

#[test]
fn a_try_lock_needs_what_a_lock_needs() {
    is_invalid(
        now(try_lock(new("never opened").with_lease(1))),
        "with_name",
    );
    is_invalid(
        now(try_lock(new("never opened").with_name("a"))),
        "with_lease",
    );
}

#[test]
fn an_unlock_needs_a_key() {
    let ctx = new("never opened");
    is_invalid(now(ctx.unlock()), "with_key");
    is_invalid(now(unlock(&ctx, "")), "key is empty");
    is_invalid(now(with_key(ctx, "").unlock()), "key is empty");
}

#[test]
fn no_call_takes_a_timeout_of_zero() {
    let ctx = |timeout: Timeout| with_timeout(new("never opened"), timeout);
    let hasty = || ctx(Duration::ZERO.into());
    let id = LeaseId::new(1).unwrap();
    is_invalid(now(lock_with(hasty(), "name", id)), "zero");
    is_invalid(now(unlock(hasty(), "name/1")), "zero");
    is_invalid(now(lease::grant(hasty(), Duration::from_secs(9))), "zero");
    is_invalid(now(lease::revoke(hasty(), id)), "zero");
    is_invalid(now(lease::time_to_live(hasty(), id)), "zero");
    is_invalid(now(lease::leases(hasty())), "zero");

    for longer in [Timeout::After(Duration::from_nanos(1)), Timeout::Infinity] {
        let error = now(lock_with(ctx(longer), "name", id)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotOpen, "{longer}: {error:?}");
    }
}

/// A bad value is of no consequence once it is replaced.
#[test]
fn the_last_value_counts() {
    let ctx: Context = new("never opened").with_name("").with_lease(0);
    let error = now(ctx.with_name("name").with_lease(1).lock()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOpen, "{error:?}");
    assert!(error.to_string().contains("never opened"), "{error}");
}

/// The result that a call has at once, without waiting for anybody.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

#[track_caller]
fn is_invalid<T: Debug>(result: Result<T>, text: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains(text), "{text:?} not in: {error}");
    assert!(!error.is_outcome_unknown(), "{error:?}");
}
