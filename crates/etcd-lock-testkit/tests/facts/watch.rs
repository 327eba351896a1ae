//! Facts of the `Watch` service.

use etcd_lock_proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;

use super::etcd::{Etcd, deletion, prefix};
use super::stream::{Stream, watch, watch_all};

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
