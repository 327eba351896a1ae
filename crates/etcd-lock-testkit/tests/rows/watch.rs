//! Rows of the `Watch` service.

use etcd_lock_proto::etcdserverpb as pb;
use etcd_lock_proto::mvccpb::KeyValue;
use etcd_lock_proto::mvccpb::event::EventType;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::etcd::{Etcd, deletion, prefix, put};
use super::stream::{Stream, watch, watch_all};
use super::txn::op;

pub(crate) async fn a_watch_tells_what_comes_after_its_revision(etcd: &Etcd) {
    let revision = etcd.set("w", "before").await;
    let (_, created) = Stream::open(etcd, watch("w")).await;
    assert!(created.created && !created.canceled);
    assert_eq!(created.header.unwrap().revision, revision);
    assert_eq!((created.watch_id, created.compact_revision), (0, 0));

    let mut stream = Stream::open(etcd, watch("w")).await.0;
    for (asked, given) in [(0, 1), (7, 7), (0, 2)] {
        let watch_id = asked;
        let create = pb::WatchCreateRequest {
            watch_id,
            ..watch("w")
        };
        assert_eq!(stream.create(create).await.watch_id, given);
    }
    etcd.set("w", "after").await;
    for _ in 0..4 {
        let events = stream.next().await.events;
        assert_eq!(&*events[0].kv.as_ref().unwrap().value, b"after");
    }
}

pub(crate) async fn an_id_twice_and_an_empty_range_are_refused(etcd: &Etcd) {
    let (mut stream, _) = Stream::open(etcd, watch("w")).await;
    let taken = pb::WatchCreateRequest {
        watch_id: 3,
        ..watch("w")
    };
    stream.create(taken.clone()).await;
    let empty = pb::WatchCreateRequest {
        range_end: "a".into(),
        ..watch("w")
    };
    for (create, reason) in [
        (
            taken,
            "mvcc: duplicate watch ID provided on the WatchStream",
        ),
        (empty, "mvcc: watcher range is empty"),
    ] {
        let refused = stream.create(create).await;
        assert!(refused.created && refused.canceled);
        assert_eq!((refused.watch_id, &*refused.cancel_reason), (-1, reason));
    }
}

/// The cancel of a watch that isn't there is answered with nothing: what comes next is the answer to what is asked next.
pub(crate) async fn a_cancel_is_answered_if_there_is_such_a_watch(etcd: &Etcd) {
    let (mut stream, created) = Stream::open(etcd, watch("w")).await;
    let cancel = |watch_id| RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    stream.ask(cancel(77));
    stream.ask(cancel(created.watch_id));
    let cancelled = stream.next().await;
    assert!(cancelled.canceled && !cancelled.created);
    assert_eq!((cancelled.watch_id, &*cancelled.cancel_reason), (0, ""));

    stream.ask(cancel(created.watch_id));
    assert!(stream.create(watch("other")).await.created);
    etcd.set("w", "unseen").await;
    etcd.set("other", "seen").await;
    assert_eq!(
        stream.next().await.events[0].kv.as_ref().unwrap().key,
        "other"
    );
}

pub(crate) async fn progress_is_told_of_the_whole_stream(etcd: &Etcd) {
    let (mut stream, _) = Stream::open(etcd, watch("w")).await;
    let revision = etcd.set("elsewhere", "").await;
    stream.ask(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    let progress = stream.next().await;
    assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
    assert_eq!(progress.header.unwrap().revision, revision);
}

pub(crate) async fn events_of_one_revision_come_together(etcd: &Etcd) {
    let (mut stream, _) = Stream::open(etcd, watch_all("w/")).await;
    let both = pb::TxnRequest {
        success: vec![op(put("w/1", "")), op(put("w/2", ""))],
        ..pb::TxnRequest::default()
    };
    etcd.txn(both).await.unwrap();
    let told = stream.next().await.events;
    let revisions = told
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision);
    let revisions: Vec<_> = revisions.collect();
    assert_eq!(revisions, [2, 2]);
}

/// Of what is deleted there are only the name and the revision, and what was there before where that is asked for.
pub(crate) async fn a_delete_is_told_by_name_and_revision(etcd: &Etcd) {
    etcd.set("w", "was here").await;
    let create = pb::WatchCreateRequest {
        prev_kv: true,
        ..watch("w")
    };
    let (mut stream, _) = Stream::open(etcd, create).await;
    let (mut other, _) = Stream::open(etcd, watch("w")).await;
    etcd.delete(deletion("w")).await.unwrap();
    let told = stream.next().await.events.remove(0);
    let expected = KeyValue {
        key: "w".into(),
        mod_revision: 3,
        ..KeyValue::default()
    };
    assert_eq!(told.r#type(), EventType::Delete);
    assert_eq!(told.kv, Some(expected.clone()));
    assert_eq!(&*told.prev_kv.unwrap().value, b"was here");
    let told = other.next().await.events.remove(0);
    assert_eq!((told.kv, told.prev_kv), (Some(expected), None));
}

pub(crate) async fn filters_leave_out_puts_or_deletes(etcd: &Etcd) {
    let without = |filter: FilterType| pb::WatchCreateRequest {
        filters: vec![filter.into()],
        ..watch("w")
    };
    let (mut no_put, _) = Stream::open(etcd, without(FilterType::Noput)).await;
    let (mut no_delete, _) = Stream::open(etcd, without(FilterType::Nodelete)).await;
    etcd.set("w", "1").await;
    etcd.delete(deletion("w")).await.unwrap();
    etcd.set("w", "2").await;
    etcd.delete(deletion("w")).await.unwrap();
    for (stream, expected) in [
        (&mut no_put, EventType::Delete),
        (&mut no_delete, EventType::Put),
    ] {
        for _ in 0..2 {
            assert_eq!(stream.next().await.events[0].r#type(), expected);
        }
    }
}

/// Only where the watch takes pieces, and there is more than one event and over two mebibytes of them.
pub(crate) async fn a_large_reply_comes_in_pieces_where_they_are_taken(etcd: &Etcd) {
    let large = "v".repeat(1 << 20);
    for key in ["w/1", "w/2", "w/3"] {
        etcd.set(key, &large).await;
    }
    let create = |fragment| pb::WatchCreateRequest {
        prev_kv: true,
        fragment,
        ..watch_all("w/")
    };
    let (mut pieces, _) = Stream::open(etcd, create(true)).await;
    let (mut whole, _) = Stream::open(etcd, create(false)).await;
    let all = pb::DeleteRangeRequest {
        range_end: prefix("w/").range_end,
        ..deletion("w/")
    };
    etcd.delete(all).await.unwrap();
    let told = whole.next().await;
    assert_eq!((told.events.len(), told.fragment), (3, false));
    let mut seen = Vec::new();
    for (events, fragment) in [(1, true), (1, true), (1, false)] {
        let piece = pieces.next().await;
        assert_eq!((piece.events.len(), piece.fragment), (events, fragment));
        assert_eq!((piece.watch_id, piece.header), (0, told.header));
        seen.extend(piece.events);
    }
    assert_eq!(seen, told.events);
}

pub(crate) async fn a_revoked_lease_is_told_at_one_revision(etcd: &Etcd) {
    let lease = etcd.lease().await;
    for key in ["w/2", "w/1"] {
        let put = pb::PutRequest {
            lease,
            ..put(key, "")
        };
        etcd.put(put).await.unwrap();
    }
    let (mut stream, created) = Stream::open(etcd, watch_all("w/")).await;
    etcd.revoke(lease).await.unwrap();
    let told = stream.next().await.events;
    let revision = created.header.unwrap().revision + 1;
    let told = told.iter().map(|event| {
        let kv = event.kv.as_ref().unwrap();
        (event.r#type(), &*kv.key, kv.mod_revision)
    });
    let expected = [&b"w/1"[..], b"w/2"].map(|key| (EventType::Delete, key, revision));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}
