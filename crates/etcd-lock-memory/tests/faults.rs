//! Faults that real etcds have, which the in-memory etcd has where it is asked for them: late and lost events, watches that
//! are cancelled or refused, late ends of leases, a new leader, a restored backup.

#![allow(clippy::unwrap_used, reason = "it is test code, helpers included")]

use std::time::Duration;

use etcd_lock_memory::model::{LockWait, Model, ModelOptions, StreamId, Version, WatchRefusal};
use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::v3lockpb;
use pb::watch_request::RequestUnion;

#[test]
fn a_delayed_watch_is_told_of_all_at_the_next_visit_in_one_reply() {
    let (mut model, delayed, prompt) = (Model::default(), 0, 1);
    let streams = [watch_stream(&mut model), watch_stream(&mut model)];
    model.advance(at(730));
    model.delay_watches(streams[delayed]);
    put(&mut model, "a");
    put(&mut model, "b");
    assert_eq!(told(&mut model, streams[delayed]), [] as [Vec<i64>; 0]);
    assert_eq!(told(&mut model, streams[prompt]), [[2], [3]]);
    assert_eq!(model.next_deadline(), Some(at(800)));
    model.advance(at(799));
    assert_eq!(told(&mut model, streams[delayed]), [] as [Vec<i64>; 0]);
    model.advance(at(800));
    assert_eq!(told(&mut model, streams[delayed]), [[2, 3]]);
    put(&mut model, "c");
    assert_eq!(told(&mut model, streams[delayed]), [[4]]);
    assert_eq!(model.next_deadline(), None);
}

#[test]
fn a_watch_that_starts_behind_is_told_of_what_came_after_its_creation() {
    let mut model = Model::default();
    let stream = model.open_watch_stream();
    model.delay_new_watches(stream, true);
    put(&mut model, "a");
    create(&mut model, stream, pb::WatchCreateRequest::default());
    put(&mut model, "b");
    let created = model.next_watch_response(stream).unwrap();
    assert!(created.created);
    assert_eq!(created.header.unwrap().revision, 2);
    assert!(model.next_watch_response(stream).is_none());
    model.advance(at(100));
    assert_eq!(told(&mut model, stream), [[3]]);
}

#[test]
fn a_restarted_watch_whose_next_revision_is_compacted_is_cancelled() {
    let mut model = Model::default();
    let stream = model.open_watch_stream();
    let on_a = pb::WatchCreateRequest {
        key: "a".into(),
        ..pb::WatchCreateRequest::default()
    };
    create(&mut model, stream, on_a);
    model.next_watch_response(stream).unwrap();
    // Other keys don't move it, so that it stays where it was created.
    put(&mut model, "b");
    put(&mut model, "b");
    put(&mut model, "b");
    compact(&mut model, 4);
    model.restart_watches(stream);
    model.advance(at(100));
    let reply = model.next_watch_response(stream).unwrap();
    assert!(reply.canceled);
    assert_eq!((reply.watch_id, reply.compact_revision), (0, 4));
    assert_eq!(reply.header.unwrap().revision, 0);
    put(&mut model, "a");
    assert!(model.next_watch_response(stream).is_none());
}

#[test]
fn a_restarted_watch_is_told_nothing_twice() {
    let mut model = Model::default();
    let stream = watch_stream(&mut model);
    put(&mut model, "a");
    compact(&mut model, 2);
    assert_eq!(told(&mut model, stream), [[2]]);
    model.restart_watches(stream);
    put(&mut model, "a");
    model.advance(at(100));
    assert_eq!(told(&mut model, stream), [[3]]);
}

#[test]
fn a_refused_watch_has_the_reason_of_its_version_and_those_that_are_on_stay() {
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let ended = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    for (version, refusal, reason) in [
        (Version::V3_4, WatchRefusal::LoginEnded, denied),
        (Version::V3_5, WatchRefusal::LoginEnded, denied),
        (Version::V3_6, WatchRefusal::LoginEnded, ended),
        (Version::V3_6, WatchRefusal::PermissionDenied, denied),
    ] {
        let mut model = Model::new(ModelOptions::new().with_version(version));
        let stream = watch_stream(&mut model);
        model.refuse_watches(stream, Some(refusal));
        create(&mut model, stream, pb::WatchCreateRequest::default());
        let reply = model.next_watch_response(stream).unwrap();
        assert!(reply.created && reply.canceled);
        assert_eq!((reply.watch_id, &*reply.cancel_reason), (-1, reason));
        put(&mut model, "a");
        assert_eq!(told(&mut model, stream), [[2]]);
        model.refuse_watches(stream, None);
        create(&mut model, stream, pb::WatchCreateRequest::default());
        assert!(!model.next_watch_response(stream).unwrap().canceled);
    }
}

#[test]
fn dropped_events_are_lost_for_good() {
    let mut model = Model::default();
    let stream = watch_stream(&mut model);
    model.drop_events(stream, Some("a".into()));
    put(&mut model, "ab");
    put(&mut model, "b");
    assert_eq!(told(&mut model, stream), [[3]]);
    model.drop_events(stream, None);
    model.restart_watches(stream);
    put(&mut model, "ab");
    model.advance(at(100));
    assert_eq!(told(&mut model, stream), [[4]]);
    let lost = model.take_dropped_events(stream);
    assert_eq!(lost[0].kv.as_ref().unwrap().mod_revision, 2);
    assert_eq!(lost.len(), 1);
}

#[test]
fn progress_is_not_told_of_while_a_watch_is_behind() {
    let mut model = Model::default();
    let stream = watch_stream(&mut model);
    model.delay_watches(stream);
    put(&mut model, "a");
    ask_for_progress(&mut model, stream);
    assert!(model.next_watch_response(stream).is_none());
    model.advance(at(100));
    assert_eq!(told(&mut model, stream), [[2]]);
    ask_for_progress(&mut model, stream);
    let reply = model.next_watch_response(stream).unwrap();
    assert_eq!((reply.watch_id, reply.header.unwrap().revision), (-1, 2));
}

#[test]
fn a_watch_that_wants_to_know_of_progress_is_told_every_ten_silent_minutes() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let mut model = Model::default();
    let stream = model.open_watch_stream();
    let request = pb::WatchCreateRequest {
        progress_notify: true,
        ..pb::WatchCreateRequest::default()
    };
    create(&mut model, stream, request);
    create(&mut model, stream, pb::WatchCreateRequest::default());
    model.next_watch_response(stream).unwrap();
    model.next_watch_response(stream).unwrap();
    assert_eq!(model.next_deadline(), Some(minutes(10)));
    model.advance(minutes(10));
    let reply = model.next_watch_response(stream).unwrap();
    assert_eq!((reply.watch_id, reply.events.len()), (0, 0));
    assert!(!reply.canceled && !reply.created);
    put(&mut model, "\0");
    while model.next_watch_response(stream).is_some() {}
    model.advance(minutes(29));
    assert!(model.next_watch_response(stream).is_none());
    model.advance(minutes(30));
    assert_eq!(model.next_watch_response(stream).unwrap().watch_id, 0);
}

#[test]
fn a_lease_ends_when_etcd_looks_and_is_not_renewed_before() {
    let every = Duration::from_millis(500);
    let mut model = Model::new(ModelOptions::new().with_expiry_checks(every));
    model.advance(at(130));
    for id in [1, 2] {
        grant(&mut model, id);
        put_with_lease(&mut model, &id.to_string(), id);
    }
    assert_eq!(model.next_deadline(), Some(at(2_500)));
    model.advance(at(2_499));
    assert_eq!(keys(&mut model), 2);
    // The renewal waits for the end of the lease.
    assert_eq!(renew(&mut model, 1), 0);
    assert_eq!(keys(&mut model), 1);
    model.advance(at(2_500));
    assert_eq!(keys(&mut model), 0);
}

#[test]
fn a_new_leader_gives_every_lease_its_whole_time_and_a_second_more() {
    let mut model = Model::default();
    grant(&mut model, 1);
    put_with_lease(&mut model, "a", 1);
    model.advance(at(1_999));
    let term = put(&mut model, "b").raft_term;
    model.change_leader();
    assert_eq!(put(&mut model, "b").raft_term, term + 1);
    model.advance(at(1_999 + 2_999));
    assert_eq!(keys(&mut model), 2);
    model.advance(at(1_999 + 3_000));
    assert_eq!(keys(&mut model), 1);
}

#[test]
fn a_restored_backup_brings_back_keys_leases_and_the_revision() {
    let mut model = Model::default();
    grant(&mut model, 1);
    put_with_lease(&mut model, "a", 1);
    let backup = model.clone();
    model.advance(at(1_000));
    let revoke = pb::LeaseRevokeRequest { id: 1 };
    model.lease_revoke(&revoke).unwrap();
    let stream = watch_stream(&mut model);
    model.restore(&backup);
    assert_eq!((model.revision(), keys(&mut model)), (2, 1));
    put(&mut model, "b");
    assert!(model.next_watch_response(stream).is_none());
    model.advance(at(4_000));
    assert_eq!(keys(&mut model), 1);
}

#[test]
fn a_negative_lease_holds_a_lock() {
    let mut model = Model::default();
    grant(&mut model, -5);
    grant(&mut model, 7);
    let mut lock = |lease| {
        let name = "a".into();
        model.lock(&v3lockpb::LockRequest { name, lease })
    };
    let LockWait::Done(Ok(held)) = lock(-5) else {
        panic!("the lock is free");
    };
    assert_eq!(held.key, "a/-5");
    assert!(matches!(lock(7), LockWait::Waiting(_)));
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A stream with one watch, on all keys, that has said so.
fn watch_stream(model: &mut Model) -> StreamId {
    let stream = model.open_watch_stream();
    create(model, stream, pb::WatchCreateRequest::default());
    assert!(model.next_watch_response(stream).unwrap().created);
    stream
}

/// Creates a watch on all keys, where no key is asked for.
fn create(model: &mut Model, stream: StreamId, mut request: pb::WatchCreateRequest) {
    if request.key.is_empty() {
        request.range_end = vec![0].into();
    }
    let request_union = Some(RequestUnion::CreateRequest(request));
    model.watch(stream, pb::WatchRequest { request_union });
}

fn ask_for_progress(model: &mut Model, stream: StreamId) {
    let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    let request_union = Some(progress);
    model.watch(stream, pb::WatchRequest { request_union });
}

/// The revisions of the events of each reply.
fn told(model: &mut Model, stream: StreamId) -> Vec<Vec<i64>> {
    let replies = std::iter::from_fn(|| model.next_watch_response(stream));
    let revisions = replies.map(|reply| {
        let events = reply.events.into_iter();
        events.map(|event| event.kv.unwrap().mod_revision).collect()
    });
    revisions.collect()
}

fn put(model: &mut Model, key: &str) -> pb::ResponseHeader {
    put_with_lease(model, key, 0)
}

fn put_with_lease(model: &mut Model, key: &str, lease: i64) -> pb::ResponseHeader {
    let put = pb::PutRequest {
        key: key.to_owned().into(),
        lease,
        ..pb::PutRequest::default()
    };
    model.put(&put).unwrap().header.unwrap()
}

fn grant(model: &mut Model, id: i64) {
    let request = pb::LeaseGrantRequest { ttl: 2, id };
    assert_eq!(model.lease_grant(&request).unwrap().id, id);
}

fn renew(model: &mut Model, id: i64) -> i64 {
    model
        .lease_keep_alive(&pb::LeaseKeepAliveRequest { id })
        .ttl
}

fn compact(model: &mut Model, revision: i64) {
    let request = pb::CompactionRequest {
        revision,
        physical: false,
    };
    model.compact(&request).unwrap();
}

/// How many keys there are.
fn keys(model: &mut Model) -> i64 {
    let all = pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..pb::RangeRequest::default()
    };
    model.range(&all).unwrap().count
}
