//! The cost of an operation on one lock while many wait for it: it should not matter how many.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, and has nobody to report to"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use etcd_lock_memory::model::{LockCall, LockWait, Model, ModelOptions, StreamId};
use etcd_lock_proto::{etcdserverpb as pb, v3lockpb};
use pb::compare::{CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;
use pb::watch_request::RequestUnion;

/// How many wait.
const WAITERS: [usize; 3] = [10, 1_000, 10_000];

/// Few enough for compactions to be part of what is measured.
const KEPT: usize = 1_000;

criterion_group!(queue, operations);
criterion_main!(queue);

fn operations(criterion: &mut Criterion) {
    measure(criterion, "hand-over by Lock", hand_over_by_lock);
    measure(criterion, "hand-over by watch", hand_over_by_watch);
    measure(criterion, "enqueue", enqueue);
    measure(criterion, "keep-alive", keep_alive);
}

fn measure(criterion: &mut Criterion, name: &str, run: fn(&mut Bencher<'_>, usize)) {
    let mut group = criterion.benchmark_group(name);
    for waiters in WAITERS {
        let id = BenchmarkId::from_parameter(waiters);
        group.bench_function(id, |bencher| run(bencher, waiters));
    }
}

/// The holder's key is deleted, and the next call is answered. Another waiter comes for each that goes.
fn hand_over_by_lock(bencher: &mut Bencher<'_>, waiters: usize) {
    let mut queue = Queue::of_calls(waiters);
    bencher.iter_custom(|times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let key = queue.holder.clone().into();
            let call = queue.calls.pop_front().unwrap();
            let began = Instant::now();
            queue
                .model
                .unlock(&v3lockpb::UnlockRequest { key })
                .unwrap();
            let granted = queue.model.take_lock(call).unwrap().unwrap();
            took += began.elapsed();
            queue.holder = granted.key.to_vec();
            queue.leave();
            queue.call();
        }
        took
    });
}

/// The holder's key is deleted if it is as it was, who watches it is told, and reads who is first now.
fn hand_over_by_watch(bencher: &mut Bencher<'_>, waiters: usize) {
    let mut queue = Queue::of_watches(waiters);
    bencher.iter_custom(|times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let (key, created) = queue.places.pop_front().unwrap();
            let stream = queue.streams.pop_front().unwrap();
            let (delete, read) = (guarded_delete(&key, created), first());
            let began = Instant::now();
            assert!(queue.model.txn(&delete).unwrap().succeeded);
            let told = queue.model.next_watch_response(stream).unwrap();
            let next = queue.model.range(&read).unwrap();
            took += began.elapsed();
            assert_eq!((told.events.len(), next.kvs.len()), (1, 1));
            queue.model.close_watch_stream(stream);
            queue.leave();
            queue.watch();
        }
        took
    });
}

/// One more waits; it gives up afterwards.
fn enqueue(bencher: &mut Bencher<'_>, waiters: usize) {
    let mut queue = Queue::of_calls(waiters);
    bencher.iter_custom(|times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            let request = queue.request();
            let began = Instant::now();
            let wait = queue.model.lock(&request);
            took += began.elapsed();
            let LockWait::Waiting(call) = wait else {
                panic!("the lock is held");
            };
            queue.model.cancel_lock(call);
            let id = queue.last_lease;
            let revoke = pb::LeaseRevokeRequest { id };
            queue.model.lease_revoke(&revoke).unwrap();
        }
        took
    });
}

/// Each lease in its turn.
fn keep_alive(bencher: &mut Bencher<'_>, waiters: usize) {
    let mut queue = Queue::of_calls(waiters);
    let leases = i64::try_from(waiters).unwrap();
    let mut ids = (1..=leases).cycle();
    bencher.iter(|| {
        let id = ids.next().unwrap();
        let request = pb::LeaseKeepAliveRequest { id };
        black_box(queue.model.lease_keep_alive(&request))
    });
}

/// A lock that is held and waited for.
struct Queue {
    model: Model,
    /// All up to this one have ended.
    ended_lease: i64,
    last_lease: i64,
    holder: Vec<u8>,
    calls: VecDeque<LockCall>,
    /// The keys of those who watch, with their create revisions, the holder's first.
    places: VecDeque<(String, i64)>,
    streams: VecDeque<StreamId>,
}

impl Queue {
    fn new() -> Self {
        Self {
            model: Model::new(ModelOptions::new().with_kept_revisions(KEPT)),
            ended_lease: 0,
            last_lease: 0,
            holder: b"report/1".to_vec(),
            calls: VecDeque::new(),
            places: VecDeque::new(),
            streams: VecDeque::new(),
        }
    }

    fn of_calls(waiters: usize) -> Self {
        let mut queue = Self::new();
        let request = queue.request();
        assert!(matches!(queue.model.lock(&request), LockWait::Done(Ok(_))));
        for _ in 0..waiters {
            queue.call();
        }
        queue
    }

    fn of_watches(waiters: usize) -> Self {
        let mut queue = Self::new();
        queue.place();
        for _ in 0..waiters {
            queue.watch();
        }
        queue
    }

    fn call(&mut self) {
        let request = self.request();
        match self.model.lock(&request) {
            LockWait::Waiting(call) => self.calls.push_back(call),
            LockWait::Done(answer) => panic!("the lock is held, and the answer {answer:?}"),
        }
    }

    fn request(&mut self) -> v3lockpb::LockRequest {
        v3lockpb::LockRequest {
            name: "report".into(),
            lease: self.grant(),
        }
    }

    fn watch(&mut self) {
        let (before, _) = self.places.back().unwrap().clone();
        self.place();
        let stream = self.model.open_watch_stream();
        let create = pb::WatchCreateRequest {
            key: before.into(),
            ..pb::WatchCreateRequest::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        self.model.watch(stream, pb::WatchRequest { request_union });
        assert!(self.model.next_watch_response(stream).unwrap().created);
        self.streams.push_back(stream);
    }

    fn place(&mut self) {
        let lease = self.grant();
        let key = format!("report/{lease:x}");
        let put = pb::PutRequest {
            key: key.clone().into(),
            lease,
            ..pb::PutRequest::default()
        };
        let reply = self.model.put(&put).unwrap();
        self.places.push_back((key, reply.header.unwrap().revision));
    }

    /// The first lease ends.
    fn leave(&mut self) {
        self.ended_lease += 1;
        let id = self.ended_lease;
        let revoke = pb::LeaseRevokeRequest { id };
        self.model.lease_revoke(&revoke).unwrap();
    }

    fn grant(&mut self) -> i64 {
        self.last_lease += 1;
        let id = self.last_lease;
        let request = pb::LeaseGrantRequest { ttl: 60, id };
        self.model.lease_grant(&request).unwrap();
        id
    }
}

fn guarded_delete(key: &str, created: i64) -> pb::TxnRequest {
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    let is_as_it_was = pb::Compare {
        target: CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(created)),
        ..pb::Compare::default()
    };
    let delete = pb::DeleteRangeRequest {
        key,
        ..pb::DeleteRangeRequest::default()
    };
    pb::TxnRequest {
        compare: vec![is_as_it_was],
        success: vec![pb::RequestOp {
            request: Some(Request::RequestDeleteRange(delete)),
        }],
        failure: Vec::new(),
    }
}

fn first() -> pb::RangeRequest {
    pb::RangeRequest {
        key: "report/".into(),
        range_end: "report0".into(),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..pb::RangeRequest::default()
    }
}
