//! The memory that the model takes: for each waiter, and in the course of a day.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::alloc::System;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use etcd_lock_memory::Code;
use etcd_lock_memory::model::{LockCall, LockWait, Model, ModelOptions};
use etcd_lock_proto::{etcdserverpb as pb, v3lockpb};
use pb::watch_request::RequestUnion;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const WAITERS: i64 = 10_000;

/// Each with a lease and a key of its own, by a call of `Lock`.
#[test]
fn a_waiting_call_of_lock_takes_less_than_two_kibibytes() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut model = Model::default();
    take(&mut model, 1);
    let region = Region::new(ALLOCATOR);
    for lease in 2..=WAITERS + 1 {
        wait(&mut model, lease);
    }
    is_below_two_kibibytes(grown(&region) / WAITERS as usize);
}

/// Each with a lease, a key and a stream of its own, on which it watches the key before it.
#[test]
fn a_waiter_that_watches_takes_less_than_two_kibibytes() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut model = Model::default();
    put_place(&mut model, 1);
    let region = Region::new(ALLOCATOR);
    for lease in 2..=WAITERS + 1 {
        put_place(&mut model, lease);
        let stream = model.open_watch_stream();
        let create = pb::WatchCreateRequest {
            key: key(lease - 1).into(),
            ..pb::WatchCreateRequest::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        model.watch(stream, pb::WatchRequest { request_union });
        assert!(model.next_watch_response(stream).unwrap().created);
    }
    is_below_two_kibibytes(grown(&region) / WAITERS as usize);
}

#[test]
fn a_day_of_locks_takes_no_more_than_its_first_hours() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (first, later) = peaks(ModelOptions::new());
    println!("at most {first} bytes in the first fifth of the day, {later} bytes in the rest");
    // The peak of one round of compactions may be a cycle further than that of another.
    assert!(later <= first + first / 100, "{later} after {first}");
    assert!(first < 32 << 20, "{first}");
}

/// Without compaction it grows, and that is noticed.
#[test]
fn a_day_without_compaction_takes_more_and_more() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (first, later) = peaks(ModelOptions::new().with_kept_revisions(usize::MAX));
    println!("at most {first} bytes in the first fifth of the day, {later} bytes in the rest");
    assert!(later > 4 * first, "{later} after {first}");
}

#[test]
fn the_last_revisions_are_kept_and_twice_as_many_are_not() {
    const KEPT: usize = 100;
    let mut model = Model::new(ModelOptions::new().with_kept_revisions(KEPT));
    for _ in 0..10 * KEPT {
        let put = pb::PutRequest {
            key: "key".into(),
            ..pb::PutRequest::default()
        };
        let revision = model.put(&put).unwrap().header.unwrap().revision;
        let back = |revisions: usize| pb::RangeRequest {
            key: "key".into(),
            revision: revision - i64::try_from(revisions).unwrap(),
            ..pb::RangeRequest::default()
        };
        if revision > 3 * KEPT as i64 {
            model.range(&back(KEPT)).unwrap();
            let refused = model.range(&back(2 * KEPT + 1)).unwrap_err();
            assert_eq!(refused.code, Code::OutOfRange);
        }
    }
}

/// The most that the model has taken in the first fifth of a day, and in the rest. In each cycle somebody comes with a new
/// lease and waits, and the holder renews its own, leaves the lock and ends the lease.
fn peaks(options: ModelOptions) -> (usize, usize) {
    const CYCLES: i64 = 100_000;
    const CYCLE: Duration = Duration::from_millis(24 * 60 * 60 * 1_000 / CYCLES as u64);
    let region = Region::new(ALLOCATOR);
    let mut model = Model::new(options);
    take(&mut model, 1);
    let (mut first, mut later, mut now) = (0, 0, Duration::ZERO);
    for holder in 1..=CYCLES {
        now += CYCLE;
        model.advance(now);
        let call = wait(&mut model, holder + 1);
        assert_eq!(renew(&mut model, holder), 60);
        let unlock = v3lockpb::UnlockRequest {
            key: key(holder).into(),
        };
        model.unlock(&unlock).unwrap();
        assert_eq!(model.take_lock(call).unwrap().unwrap().key, key(holder + 1));
        let revoke = pb::LeaseRevokeRequest { id: holder };
        model.lease_revoke(&revoke).unwrap();
        let peak = if holder <= CYCLES / 5 {
            &mut first
        } else {
            &mut later
        };
        *peak = grown(&region).max(*peak);
    }
    assert_eq!(now, Duration::from_secs(24 * 60 * 60));
    (first, later)
}

fn take(model: &mut Model, lease: i64) {
    match ask(model, lease) {
        LockWait::Done(answer) => assert_eq!(answer.unwrap().key, key(lease)),
        LockWait::Waiting(call) => panic!("{call:?} waits for a lock that is free"),
    }
}

fn wait(model: &mut Model, lease: i64) -> LockCall {
    match ask(model, lease) {
        LockWait::Waiting(call) => call,
        LockWait::Done(answer) => panic!("the lock is held, and the answer {answer:?}"),
    }
}

fn ask(model: &mut Model, lease: i64) -> LockWait {
    grant(model, lease);
    let name = "report".into();
    model.lock(&v3lockpb::LockRequest { name, lease })
}

fn put_place(model: &mut Model, lease: i64) {
    grant(model, lease);
    let put = pb::PutRequest {
        key: key(lease).into(),
        lease,
        ..pb::PutRequest::default()
    };
    model.put(&put).unwrap();
}

fn grant(model: &mut Model, id: i64) {
    let request = pb::LeaseGrantRequest { ttl: 60, id };
    model.lease_grant(&request).unwrap();
}

fn renew(model: &mut Model, id: i64) -> i64 {
    model
        .lease_keep_alive(&pb::LeaseKeepAliveRequest { id })
        .ttl
}

fn key(lease: i64) -> String {
    format!("report/{lease:x}")
}

fn grown(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

/// And above what the least of it takes: a key in the store, in the log and with its lease.
fn is_below_two_kibibytes(each: usize) {
    println!("{each} bytes for each waiter");
    assert!((100..2_048).contains(&each), "{each}");
}
